// The examples and the model: its curve over one input, or its classes over two.

import { build, signed } from "./elements.js";
import { shapes } from "./networks.js";
import { Axes, around, draw, path } from "./svg.js";
import { Points } from "./try_points.js";
import { outputs } from "./try_service.js";

const SAMPLES = 80, NEAR = 1e-4; // points of a curve; distance for a slope
const COLUMNS = 28, ROWS = 20; // of the plane of two inputs
const at = (id) => document.getElementById(id);

let axes = null, ranges = {}, shown = null, points = null;

// `moved(n, x, y)`: a point was moved; it answers where the point may be.
export function listen(moved) {
  points = new Points(at("points"), () => axes, moved);
}

// "curve": one input, one value; "plane": two inputs; "table": anything else.
function kindOf(state, loss) {
  const inputs = state.inputs[0].length;
  if (inputs === 2) return "plane";
  return inputs === 1 && shapes(state).width === 1 && loss.targets !== "class" ? "curve" : "table";
}

// Whether y of the plot is the target, or the second input.
export const isPlane = (state) => state.inputs[0].length === 2;

// While a point is dragged the axes stay where they are.
function range(name, values) {
  if (points.dragged === null || !ranges[name]) ranges[name] = around(values);
  return ranges[name];
}

const spread = ([low, high], count) =>
  Array.from({ length: count + 1 }, (_, k) => low + ((high - low) * k) / count);

// Layers whose outputs can be compared to the targets.
const linked = (state, loss) => (loss.link === "sigmoid" ? [...state.layers, { kind: "sigmoid" }] : state.layers);

// What the service says about the model, for `show`.
export async function prepare(state, loss) {
  const kind = kindOf(state, loss), { layers, parameters, inputs, weights } = state;
  if (kind === "table") return { kind, outputs: await outputs(layers, parameters, inputs) };
  const first = range("x", inputs.map(([x]) => x));
  if (kind === "plane") {
    const second = range("y", inputs.map(([, y]) => y));
    if (loss.targets !== "class") return { kind, classes: [] };
    const centres = spread(second, ROWS - 1).flatMap((y) => spread(first, COLUMNS - 1).map((x) => [x, y]));
    const found = await outputs(layers, parameters, centres);
    return { kind, classes: found.map((row) => row.indexOf(Math.max(...row))) };
  }
  const total = weights.reduce((sum, one) => sum + one, 0);
  const mean = inputs.reduce((sum, [x], n) => sum + (weights[n] * x) / total, 0);
  const beside = [...inputs.map(([x]) => x), mean];
  const line = spread(first, SAMPLES);
  const all = [...line, ...beside.flatMap((x) => [x, x - NEAR, x + NEAR])];
  const found = (await outputs(linked(state, loss), parameters, all.map((x) => [x]))).map(([y]) => y);
  const [rest, left, right] = [0, 1, 2].map((k) => beside.map((_, n) => found[line.length + 3 * n + k]));
  return {
    kind, line: line.map((x, k) => [x, found[k]]),
    beside: beside.map((x, n) => ({ x, y: rest[n], slope: (right[n] - left[n]) / (2 * NEAR) })),
  };
}

// The curve of other parameters, on the axes of `prepare`; null if there is none.
export async function curve(state, loss, parameters) {
  if (kindOf(state, loss) !== "curve") return null;
  const line = spread(ranges.x, SAMPLES);
  const found = await outputs(linked(state, loss), parameters, line.map((x) => [x]));
  return line.map((x, k) => [x, found[k][0]]);
}

// `found` of `prepare`; `race` has curves by name.
export function show(state, found, race = {}) {
  shown = [state, found, race];
  redraw();
}

export function redraw() {
  if (!shown) return;
  const [state, found, race] = shown, running = Object.entries(race).filter(([, one]) => one);
  at("plot-key").hidden = found.kind !== "curve" || running.length > 0;
  at("plot").toggleAttribute("hidden", found.kind === "table");
  at("drag-hint").hidden = found.kind === "table";
  at("outputs-box").hidden = found.kind !== "table";
  ({ curve: showCurve, plane: showPlane, table: showTable })[found.kind](state, found, running);
}

function showCurve({ inputs, targets }, { line, beside }, running) {
  const places = inputs.map(([x], n) => ({ x, y: targets[n][0] }));
  const y = range("y", [...places, ...beside.slice(0, places.length)].map((one) => one.y));
  axes = new Axes(at("plot"), { x: ranges.x, y, xTitle: "input x", yTitle: "target, output" });
  const add = (found, tone) => axes.back.append(
    draw("path", { class: `curve ${tone}`, d: path(found.map(([a, b]) => [axes.x(a), axes.y(b)])) }));
  add(line, running.length ? "before" : "model");
  if (running.length === 0) slopes(places, beside);
  for (const [name, found] of running) add(found, name);
  points.show(places, ["x", "target"]);
}

// Bars from the examples to the curve; where it bends, its slope at each example and at the mean
// input, which is the last of `beside`.
function slopes(places, beside) {
  places.forEach(({ x, y }, n) => axes.back.append(draw("line", { class: "residual",
    x1: axes.x(x), x2: axes.x(x), y1: axes.y(y), y2: axes.y(beside[n].y) })));
  const mean = beside.at(-1), bent = beside.some(({ slope }) => Math.abs(slope - mean.slope) > 1e-6);
  for (const key of at("plot-key").querySelectorAll(".slope, .mean-input")) key.hidden = !bent;
  if (!bent) return;
  beside.slice(0, -1).forEach((one) => tangent(one, "truth"));
  tangent(mean, "averaged_error");
  const size = 0.35 * axes.em;
  axes.front.append(draw("rect", { class: "mean-input", x: -size, y: -size, width: 2 * size, height: 2 * size,
    transform: `translate(${axes.x(mean.x)} ${axes.y(mean.y)}) rotate(45)` }));
}

function tangent({ x, y, slope }, tone) {
  const [a, b] = [axes.x(x), axes.y(y)], [dx, dy] = [axes.x(x + 1) - a, axes.y(y + slope) - b];
  const scale = (3.6 * axes.em) / Math.hypot(dx, dy);
  axes.back.append(draw("line", { class: `slope ${tone}`,
    x1: a - dx * scale, y1: b - dy * scale, x2: a + dx * scale, y2: b + dy * scale }));
}

function showPlane({ inputs, targets }, { classes }) {
  axes = new Axes(at("plot"), { x: ranges.x, y: ranges.y, xTitle: "input x1", yTitle: "input x2" });
  const width = (axes.right - axes.left) / COLUMNS, height = (axes.bottom - axes.top) / ROWS;
  classes.forEach((found, k) => axes.back.append(draw("rect", { class: `class-${found}`,
    x: axes.left + (k % COLUMNS) * width, y: axes.bottom - (Math.floor(k / COLUMNS) + 1) * height,
    width, height, "shape-rendering": "crispEdges" })));
  const tone = (n) => (classes.length ? `class-${targets[n][0]}` : "");
  points.show(inputs.map(([x, y], n) => ({ x, y, tone: tone(n) })), ["x1", "x2"]);
}

function showTable({ targets }, found) {
  const row = (cell, texts) => build("tr", {}, texts.map((text, i) =>
    build(cell === "th" || i === 0 ? "th" : "td", { scope: cell === "th" ? "col" : "row" }, [text])));
  at("outputs").replaceChildren(
    build("thead", {}, [row("th", ["Example", "output", "target"])]),
    build("tbody", {}, found.outputs.map((values, n) =>
      row("td", [String(n + 1), values.map(signed).join("  "), targets[n].join("  ")]))));
}
