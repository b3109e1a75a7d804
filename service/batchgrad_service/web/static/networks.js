// Preset networks, and the shapes of a network's parameters.

const linear = (out_features) => ({ kind: "linear", out_features });
export const PRESETS = {
  "one sigmoid neuron": {
    layers: [linear(1), { kind: "sigmoid" }], loss: "linear_error",
    inputs: [[0], [1]], targets: [[0], [0]], weights: [1, 1],
    parameters: { "0.weight": [[1]], "0.bias": [0] },
  },
  "a line fit": {
    layers: [linear(1)], loss: "squared_error",
    inputs: [[0], [1], [2]], targets: [[0], [1], [3]], weights: [1, 1, 1],
    parameters: { "0.weight": [[0.5]], "0.bias": [0] },
  },
  "a linear error": {
    layers: [linear(1)], loss: "linear_error",
    inputs: [[0.5], [1], [2]], targets: [[1], [0], [2]], weights: [1, 1, 1],
    parameters: { "0.weight": [[1]], "0.bias": [0] },
  },
  "two layers": {
    layers: [linear(2), { kind: "tanh" }, linear(1)], loss: "squared_error",
    inputs: [[-1], [0.5], [2]], targets: [[1], [0], [1]], weights: [1, 1, 1],
    parameters: { "0.weight": [[1], [-0.5]], "0.bias": [0.2, 0], "2.weight": [[0.7, -1]], "2.bias": [0] },
  },
  "three classes": {
    layers: [linear(3)], loss: "softmax_cross_entropy",
    inputs: [[1, 0], [0, 1], [-1, -1]], targets: [[0], [1], [2]], weights: [1, 1, 1],
    parameters: { "0.weight": [[0.5, 0], [0, 0.5], [-0.2, 0.1]], "0.bias": [0, 0, 0] },
  },
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
