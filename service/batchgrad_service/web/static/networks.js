// Preset networks, and the shapes of a network's parameters.

const linear = (out_features) => ({ kind: "linear", out_features });
const once = (rows) => new Array(rows.length).fill(1);

function preset(layers, loss, examples, parameters, rate) {
  return {
    layers, loss, parameters, rate,
    inputs: examples.map(([input]) => input), targets: examples.map(([, target]) => target),
    weights: once(examples),
  };
}

export const PRESETS = {
  "a line fit": preset([linear(1)], "squared_error",
    [[[-2], [-3]], [[-1], [-1]], [[0], [0]], [[1], [1]], [[2], [3]]],
    { "0.weight": [[0]], "0.bias": [0] }, 0.05),
  "one sigmoid neuron": preset([linear(1), { kind: "sigmoid" }], "linear_error",
    [[[0], [0]], [[1], [0]]],
    { "0.weight": [[1]], "0.bias": [0] }, 0.1),
  "a linear error": preset([linear(1)], "linear_error",
    [[[0.5], [1]], [[1], [0]], [[2], [2]]],
    { "0.weight": [[1]], "0.bias": [0] }, 0.02),
  "two layers": preset([linear(2), { kind: "tanh" }, linear(1)], "squared_error",
    [[[-1], [1]], [[0.5], [0]], [[2], [1]]],
    { "0.weight": [[1], [-0.5]], "0.bias": [0.2, 0], "2.weight": [[0.7, -1]], "2.bias": [0] }, 0.1),
  "three classes": preset([linear(3)], "softmax_cross_entropy",
    [[[1, 0], [0]], [[0, 1], [1]], [[-1, -1], [2]]],
    { "0.weight": [[0.5, 0], [0, 0.5], [-0.2, 0.1]], "0.bias": [0, 0, 0] }, 0.5),
};

export function shapes({ layers, inputs }) {
  let width = inputs[0].length;
  const parameters = {};
  layers.forEach((layer, index) => {
    if (layer.kind !== "linear") return;
    parameters[`${index}.weight`] = [layer.out_features, width];
    parameters[`${index}.bias`] = [layer.out_features];
    width = layer.out_features;
  });
  return { width, parameters };
}

// Different but reproducible values: biases 0, weights between -1 and 1.
export function start(name, [rows, columns]) {
  if (columns === undefined) return new Array(rows).fill(0);
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => Number(Math.sin(2 + 3 * i + 5 * j + name.length).toFixed(2))));
}

// [{ name: "0.weight[0,1]", layer: 0, out: 0, input: 1, value }, …]; `input` is null for a bias.
export function flat(gradient) {
  return Object.entries(gradient).flatMap(([name, value]) => {
    const layer = parseInt(name, 10), single = value.flat().length === 1;
    return value.flatMap((row, out) => (Array.isArray(row)
      ? row.map((one, input) => ({ name: single ? name : `${name}[${out},${input}]`, layer, out, input, value: one }))
      : [{ name: single ? name : `${name}[${out}]`, layer, out, input: null, value: row }]));
  });
}
