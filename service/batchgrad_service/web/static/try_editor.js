// The tables in which examples and network are edited.

import { build, number } from "./elements.js";
import { flat, shapes, start } from "./networks.js";

export const LIMITS = { examples: 12, layers: 6, outputs: 4, value: 1000 };
const at = (id) => document.getElementById(id);
const limits = { min: -LIMITS.value, max: LIMITS.value };

// Parameters keep their values if their shape stays, else they get new ones; targets become some
// that the loss takes.
export function fit(state, loss) {
  const before = state.parameters, { width, parameters } = shapes(state);
  state.parameters = {};
  for (const [name, shape] of Object.entries(parameters)) {
    const kept = before[name]?.length === shape[0] && (before[name][0].length ?? 0) === (shape[1] ?? 0);
    state.parameters[name] = kept ? before[name] : start(name, shape);
  }
  const classes = loss.targets === "class", highest = { class: width - 1, probability: 1 }[loss.targets];
  const within = (value) => (highest === undefined ? value
    : Math.max(0, Math.min(highest, classes ? Math.round(value) : value)));
  state.targets = state.targets.map((target) =>
    Array.from({ length: classes ? 1 : width }, (_, k) => within(target[k] ?? 0)));
}

// `edited()` is called after a number changed, `rebuilt()` after the shape of something changed.
export function showExamples(state, loss, { edited, rebuilt }) {
  const classes = loss.targets === "class", { inputs, targets, weights } = state;
  const names = ["", ...inputs[0].map((_, i) => (inputs[0].length > 1 ? `x${i + 1}` : "x")),
    ...targets[0].map((_, i) => (classes ? "class" : `target${targets[0].length > 1 ? ` ${i + 1}` : ""}`)), "weight", ""];
  const cell = (name, list, index, step, more = limits) => build("td", {}, [
    number(name, list[index], (value) => { list[index] = value; edited(); }, step, more)]);
  const rows = inputs.map((input, n) => build("tr", {}, [
    build("th", { scope: "row" }, [String(n + 1)]),
    ...input.map((_, i) => cell(`x${i + 1} of example ${n + 1}`, input, i)),
    ...targets[n].map((_, i) => cell(`target ${i + 1} of example ${n + 1}`, targets[n], i, classes ? 1 : 0.1)),
    cell(`weight of example ${n + 1}`, weights, n, 0.1, { min: 0, max: LIMITS.value }),
    build("td", {}, [remove(`Remove example ${n + 1}`, inputs.length > 1, () => {
      for (const list of [inputs, targets, weights]) list.splice(n, 1);
      rebuilt();
    })]),
  ]));
  at("examples").replaceChildren(
    build("thead", {}, [build("tr", {}, names.map((name) => build("th", { scope: "col" }, [name])))]),
    build("tbody", {}, rows));
  at("add-example").disabled = inputs.length >= LIMITS.examples;
}

// Do `work`, which makes the tables anew. The focus stays on the element of the same label; after the
// last row was removed it is on the button that adds one.
export function keepFocus(work) {
  const focused = document.activeElement, table = focused.closest("#examples, #network");
  work();
  if (!table) return;
  const label = CSS.escape(focused.getAttribute("aria-label"));
  const same = table.querySelector(`[aria-label="${label}"]:enabled`);
  const next = same ?? at(table.id === "examples" ? "add-example" : "add-layer");
  next.focus();
  next.select?.(); // the next digit replaces the number
}

function remove(label, possible, act) {
  const button = build("button", { type: "button", class: "remove", "aria-label": label }, ["×"]);
  button.disabled = !possible;
  button.addEventListener("click", act);
  return button;
}

export function showNetwork(state, { edited, rebuilt }) {
  at("network").replaceChildren(...state.layers.map((layer, index) => {
    const kind = build("select", { "aria-label": `kind of layer ${index}` },
      [at("layer-kinds").content.cloneNode(true)]);
    kind.value = layer.kind;
    kind.addEventListener("change", () => {
      state.layers[index] = kind.value === "linear" ? { kind: "linear", out_features: 1 } : { kind: kind.value };
      rebuilt();
    });
    const parts = [kind];
    if (layer.kind === "linear") {
      parts.push(build("label", {}, ["outputs ", number(`outputs of layer ${index}`, layer.out_features, (value) => {
        layer.out_features = value;
        rebuilt();
      }, 1, { min: 1, max: LIMITS.outputs })]));
    }
    parts.push(remove(`Remove layer ${index}`, state.layers.length > 1, () => {
      state.layers.splice(index, 1);
      rebuilt();
    }));
    const values = Object.entries(state.parameters).filter(([name]) => name.startsWith(`${index}.`))
      .flatMap(([name, value]) => parameterInputs(name, value, edited));
    return build("li", {}, [build("div", { class: "layer" }, parts),
      ...(values.length ? [build("div", { class: "values" }, values)] : [])]);
  }));
  at("add-layer").disabled = state.layers.length >= LIMITS.layers;
}

function parameterInputs(name, value, edited) {
  return flat({ [name]: value }).map(({ name: label, out, input, value: one }) => build("label", {}, [`${label} `,
    number(label, one, (now) => {
      if (input === null) value[out] = now; else value[out][input] = now;
      edited();
    }, 0.1, limits)]));
}
