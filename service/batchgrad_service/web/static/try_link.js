// The setup as the query of the page's address, and back.

import { PRESETS, shapes } from "./networks.js";
import { LIMITS } from "./try_editor.js";

const FIRST = Object.keys(PRESETS)[0];
const list = (values) => values.join(",");
const rows = (values) => values.map(list).join(";");
const layerText = (layer) => (layer.kind === "linear" ? `linear:${layer.out_features}` : layer.kind);

export const preset = (name) => ({ preset: name, ...structuredClone(PRESETS[name]) });

const fields = (state) => ({
  layers: list(state.layers.map(layerText)), loss: state.loss, x: rows(state.inputs), y: rows(state.targets),
  w: list(state.weights), p: list(Object.values(state.parameters).flat(2)), rate: String(state.rate),
});

// "?start=…&layers=…"; without what is the preset's own; "" for the first preset.
export function write(state, large) {
  const own = fields(PRESETS[state.preset]);
  const changed = Object.entries(fields(state)).some(([name, text]) => text !== own[name]);
  const parts = state.preset === FIRST ? [] : [`start=${state.preset.replaceAll(" ", "-")}`];
  if (changed) parts.push(...Object.entries(fields(state)).map(([name, text]) => `${name}=${text}`));
  if (large) parts.push("size=large");
  return parts.length ? `?${parts.join("&")}` : "";
}

// { state, large, wrong }: `wrong` says why the address could not be read; then state is a preset.
export function read(search, losses, kinds) {
  const query = new URLSearchParams(search), large = query.get("size") === "large";
  const name = (query.get("start") ?? FIRST).replaceAll("-", " ");
  try {
    if (!Object.hasOwn(PRESETS, name)) throw new Error(wanted("start", name, `one of ${list(Object.keys(PRESETS).map((one) => one.replaceAll(" ", "-")))}`));
    const state = query.has("layers") ? parse(query, losses, kinds) : preset(name);
    return { state: { ...state, preset: name }, large, wrong: null };
  } catch (error) {
    return { state: preset(Object.hasOwn(PRESETS, name) ? name : FIRST), large, wrong: `${error.message} The page starts from a preset instead.` };
  }
}

const wanted = (name, text, expected) => `In this link, ${name} is “${text.slice(0, 60)}”; expected ${expected}.`;

function parse(query, losses, kinds) {
  const text = (name) => query.get(name) ?? "";
  const check = (good, name, expected) => { if (!good) throw new Error(wanted(name, text(name), expected)); };
  const numbers = (one) => one.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const usable = (values, low = -LIMITS.value) => values.every((one) => one >= low && one <= LIMITS.value);
  const range = `numbers from −${LIMITS.value} to ${LIMITS.value}`;

  const layers = text("layers").split(",").map((one) => {
    const [kind, width] = one.split(":");
    return kind === "linear" ? { kind, out_features: Number(width) } : { kind };
  });
  check(layers.length <= LIMITS.layers && layers.every(({ kind, out_features: width }) => (kind === "linear"
    ? Number.isInteger(width) && width >= 1 && width <= LIMITS.outputs : kinds.includes(kind))),
  "layers", `up to ${LIMITS.layers} of linear:1 to linear:${LIMITS.outputs}, ${kinds.filter((kind) => kind !== "linear").join(", ")}`);
  const loss = text("loss");
  check(Object.hasOwn(losses, loss), "loss", `one of ${list(Object.keys(losses))}`);

  const inputs = text("x").split(";").map(numbers), count = inputs.length;
  check(count <= LIMITS.examples && inputs[0].length <= 2
    && inputs.every((row) => row.length === inputs[0].length && usable(row)),
  "x", `up to ${LIMITS.examples} examples of one or two ${range}`);
  const known = shapes({ layers, inputs });
  const targets = text("y").split(";").map(numbers), needed = losses[loss].targets === "class" ? 1 : known.width;
  check(targets.length === count && targets.every((row) => row.length === needed && usable(row)),
    "y", `${needed} for each of the ${count} examples, ${range}`);
  const weights = numbers(text("w"));
  check(weights.length === count && usable(weights, 0), "w", `${count} numbers from 0 to ${LIMITS.value}`);

  const values = numbers(text("p")), sizes = Object.values(known.parameters);
  const total = sizes.reduce((sum, [out, input = 1]) => sum + out * input, 0);
  check(values.length === total && usable(values), "p", `${total} ${range}`);
  const rate = Number(text("rate"));
  check(rate > 0 && rate <= 10, "rate", "a learning rate from 0 to 10");
  return { layers, loss, inputs, targets, weights, rate, parameters: unpack(known.parameters, values) };
}

function unpack(shapesByName, values) {
  let from = 0;
  const take = (count) => values.slice(from, from += count);
  return Object.fromEntries(Object.entries(shapesByName).map(([name, [out, input]]) =>
    [name, input === undefined ? take(out) : Array.from({ length: out }, () => take(input))]));
}
