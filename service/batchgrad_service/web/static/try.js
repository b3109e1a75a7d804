// Examples and a network to edit; POST /v1/gradients computes their gradients.

import { changed, chart, colour, ready } from "./charts.js";
import { build, number, signed } from "./elements.js";
import { atMostEvery } from "./live.js";
import { PRESETS, shapes, start } from "./networks.js";
import { locate } from "./service.js";

const at = (id) => document.getElementById(id);
let state = null; // { layers, loss, inputs, targets, weights, parameters }
let answer = null;

const outputs = () => shapes(state).width;
const classes = () => [...at("loss").options].find((loss) => loss.value === state.loss).dataset.targets === "class";
const targetsNeeded = () => (classes() ? 1 : outputs());

// Parameters keep their values if their shape stays, else they get new ones.
function fit() {
  const before = state.parameters;
  state.parameters = {};
  for (const [name, shape] of Object.entries(shapes(state).parameters)) {
    const kept = before[name]?.length === shape[0] && (before[name][0].length ?? 0) === (shape[1] ?? 0);
    state.parameters[name] = kept ? before[name] : start(name, shape);
  }
  state.targets = state.targets.map((target) =>
    Array.from({ length: targetsNeeded() }, (_, index) => target[index] ?? 0));
}

function rebuild() {
  fit();
  showExamples();
  showNetwork();
  at("loss").value = state.loss;
  compute();
}

function showExamples() {
  const names = [...state.inputs[0].map((_, i) => `x${i + 1}`),
    ...state.targets[0].map((_, i) => (classes() ? "class" : `target ${targetsNeeded() > 1 ? i + 1 : ""}`)),
    "weight", ""];
  const head = build("tr", {}, [build("th", { scope: "col" }, ["Example"]),
    ...names.map((name) => build("th", { scope: "col" }, [name]))]);
  const rows = state.inputs.map((input, n) => build("tr", {}, [
    build("th", { scope: "row" }, [String(n + 1)]),
    ...input.map((_, i) => {
      const label = `x${i + 1} of example ${n + 1}`;
      const exact = number(label, input[i], (value) => { input[i] = value; slide.value = value; compute(); });
      const slide = build("input", { type: "range", min: -3, max: 3, step: 0.05, "aria-label": `${label}, slider` });
      slide.value = input[i];
      slide.addEventListener("input", () => { input[i] = Number(slide.value); exact.value = slide.value; compute(); });
      return build("td", {}, [exact, " ", slide]);
    }),
    ...state.targets[n].map((value, i) => build("td", {}, [
      number(`target ${i + 1} of example ${n + 1}`, value, (now) => { state.targets[n][i] = now; compute(); },
        classes() ? 1 : 0.1)])),
    build("td", {}, [number(`weight of example ${n + 1}`, state.weights[n],
      (now) => { state.weights[n] = now; compute(); })]),
    build("td", {}, [remove(`Remove example ${n + 1}`, state.inputs.length > 1, () => {
      for (const list of [state.inputs, state.targets, state.weights]) list.splice(n, 1);
    })]),
  ]));
  at("examples").replaceChildren(build("thead", {}, [head]), build("tbody", {}, rows));
}

function remove(label, possible, act) {
  const button = build("button", { type: "button", "aria-label": label }, ["×"]);
  button.disabled = !possible;
  button.addEventListener("click", () => { act(); rebuild(); });
  return button;
}

function showNetwork() {
  at("network").replaceChildren(...state.layers.map((layer, index) => {
    const kind = build("select", { "aria-label": `kind of layer ${index}` },
      [at("layer-kinds").content.cloneNode(true)]);
    kind.value = layer.kind;
    kind.addEventListener("change", () => {
      state.layers[index] = kind.value === "linear" ? { kind: "linear", out_features: 1 } : { kind: kind.value };
      rebuild();
    });
    const parts = [kind, " "];
    if (layer.kind === "linear") {
      const width = number(`outputs of layer ${index}`, layer.out_features, (value) => {
        if (!(value >= 1 && value <= 4)) return;
        layer.out_features = Math.round(value);
        rebuild();
      }, 1, { min: 1, max: 4 });
      parts.push(build("label", {}, ["outputs ", width]), " ");
    }
    parts.push(remove(`Remove layer ${index}`, state.layers.length > 1, () => state.layers.splice(index, 1)));
    const values = Object.entries(state.parameters).filter(([name]) => name.startsWith(`${index}.`))
      .flatMap(([name, value]) => parameterInputs(name, value));
    return build("li", { value: index }, [...parts, build("div", { class: "values" }, values)]);
  }));
}

function parameterInputs(name, value) {
  const single = value.flat().length === 1;
  return value.flatMap((row, i) => (Array.isArray(row)
    ? row.map((one, j) => [single ? name : `${name}[${i},${j}]`, one, (now) => { row[j] = now; }])
    : [[single ? name : `${name}[${i}]`, row, (now) => { value[i] = now; }]]))
    .map(([label, one, set]) => build("label", {},
      [`${label} `, number(label, one, (now) => { set(now); compute(); })]));
}

const compute = atMostEvery(60, async () => {
  const sent = state;
  const request = {
    model: { layers: sent.layers }, loss: sent.loss, inputs: sent.inputs, weights: sent.weights,
    targets: targetsNeeded() === 1 ? sent.targets.map((one) => one[0]) : sent.targets,
    parameters: sent.parameters, per_example: true,
  };
  const reply = await fetch(locate("v1/gradients"), {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
  });
  const body = await reply.json();
  at("refused").hidden = reply.ok;
  if (!reply.ok) { at("refused").textContent = body.detail; return; }
  answer = body;
  showAnswer();
});

// [["0.weight[0,1]", value], …] of a gradient.
const flat = (gradient) => Object.entries(gradient).flatMap(([name, value]) => {
  const all = value.flat();
  const index = (k) => (Array.isArray(value[0]) ? [Math.floor(k / value[0].length), k % value[0].length] : [k]);
  return all.map((one, k) => [all.length === 1 ? name : `${name}[${index(k)}]`, one]);
});

// Equal up to rounding.
const same = (one, other) => Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(other));

function showAnswer() {
  const truth = flat(answer.mean_gradient);
  const row = (title, gradient, more, kind = "") => build("tr", { class: kind }, [
    build("th", { scope: "row" }, [title]),
    ...flat(gradient).map(([, value], i) => build("td",
      { class: kind === "shortcut" && !same(value, truth[i][1]) ? "number off" : "number" }, [signed(value)])),
    ...more.map((text) => build("td", { class: "number" }, [text])),
  ]);
  const figure = (value) => (value === null ? "–" : signed(value));
  const head = build("tr", {}, ["", ...truth.map(([name]) => name), "relative error", "cosine"]
    .map((name, i) => build("th", { scope: "col", class: i ? "number" : "" }, [name])));
  at("gradients").replaceChildren(build("thead", {}, [head]), build("tbody", {}, [
    ...answer.per_example.map((gradient, n) => row(`example ${n + 1}`, gradient, ["", ""])),
    row("mean gradient", answer.mean_gradient, ["", ""], "mean"),
    ...Object.entries(answer.shortcuts).map(([name, shortcut]) => row(name, shortcut.gradient,
      [figure(shortcut.relative_error), figure(shortcut.cosine_similarity)], "shortcut")),
  ]));
  const [name, value] = truth.at(-1);
  const shortcut = answer.shortcuts.averaged_error;
  const theirs = flat(shortcut.gradient).at(-1)[1];
  const whole = shortcut.relative_error === null ? "" : same(shortcut.relative_error, 0)
    ? " Over all parameters it is exact for these examples."
    : ` Over all parameters its error is ${(100 * shortcut.relative_error).toPrecision(3)} % of the gradient.`;
  at("summary").textContent = `At ${name} the gradient is ${signed(value)}. Averaging the errors first `
    + `gives ${signed(theirs)}.${whole}`;
  ready.then(changed);
}

chart("bars", () => {
  if (!answer) return null;
  const traces = [["mean gradient", answer.mean_gradient, "truth"],
    ...Object.entries(answer.shortcuts).map(([name, one]) => [name, one.gradient, name])]
    .map(([name, gradient, tone]) => ({
      type: "bar", name, x: flat(gradient).map(([at]) => at), y: flat(gradient).map(([, value]) => value),
      marker: { color: colour(tone) },
    }));
  const each = answer.per_example.flatMap(flat);
  traces.push({
    type: "scatter", mode: "markers", name: "examples", x: each.map(([at]) => at),
    y: each.map(([, value]) => value), marker: { color: colour("text"), size: 8, symbol: "circle-open" },
  });
  return { traces, layout: { barmode: "group", xaxis: { type: "category" }, hovermode: "closest" } };
});

at("preset").replaceChildren(...Object.keys(PRESETS).map((name) => build("option", {}, [name])));
at("preset").addEventListener("change", () => { state = structuredClone(PRESETS[at("preset").value]); rebuild(); });
at("loss").addEventListener("change", () => { state.loss = at("loss").value; rebuild(); });
at("add-example").addEventListener("click", () => {
  state.inputs.push(state.inputs.at(-1).map((value) => value + 1));
  state.targets.push([...state.targets.at(-1)]);
  state.weights.push(1);
  rebuild();
});
at("add-layer").addEventListener("click", () => { state.layers.push({ kind: "tanh" }); rebuild(); });
state = structuredClone(PRESETS[at("preset").value]);
rebuild();
