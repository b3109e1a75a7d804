// Parallel coordinates: an upright axis for each setting and result, a line across for each job.

import { number, percent } from "./numbers.js";

const HEIGHT = 340, TOP = 44, BOTTOM = 16, LEFT = 96, RIGHT = 88, APART = 120;
const LOGARITHMIC = 50; // the ratio of values from which an axis has a logarithmic scale
const TICKS = 6, TICK_APART = 16;

function make(tag, attributes, children = []) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// `axes`: [{ label, percent, values }], `lines`: [{ id, name, series }] in the order of the values.
export function drawParallel(svg, axes, lines) {
  if (!svg) return;
  const width = Math.max(svg.parentElement.clientWidth, LEFT + RIGHT + APART * (axes.length - 1));
  const apart = (width - LEFT - RIGHT) / Math.max(axes.length - 1, 1);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", HEIGHT);
  const drawn = axes.map((axis, index) => ({ axis, x: LEFT + index * apart, ...scaled(axis) }));
  svg.replaceChildren(...lines.map((line, index) => crossing(line, drawn, index)),
    ...drawn.map((one) => upright(one, apart)));
}

// Emphasize one job's line and its row of the table, or none.
export function emphasize(job) {
  document.getElementById("parallel")?.classList.toggle("some", job !== null);
  for (const one of document.querySelectorAll("[data-job]")) {
    one.classList.toggle("strong", one.dataset.job === job);
  }
}

function crossing({ id, name, series }, drawn, index) {
  const points = drawn.map(({ axis, x, place }) => [x, axis.values[index], place])
    .filter(([, value]) => value !== null)
    .map(([x, value, place]) => `${x},${place(value)}`);
  const shape = { d: points.length > 1 ? `M${points.join("L")}` : "" };
  const colour = series === null ? "line" : `line series-${series}`;
  return make("g", { "data-job": id, class: colour }, [
    make("title", {}, [name]), make("path", { ...shape, class: "reach" }), make("path", shape),
  ]);
}

function upright({ axis, x, place, ticks }, apart) {
  const short = axis.label.length * 8 < apart ? axis.label : axis.label.split(".").at(-1);
  let last = Infinity;
  const marks = ticks.flatMap((value) => {
    const y = place(value);
    if (last - y < TICK_APART) return [];
    last = y;
    return [make("text", { x: x - 8, y: y + 4, class: "tick" }, [told(value, axis.percent)])];
  });
  return make("g", { class: "axis" }, [
    make("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
    make("text", { x, y: TOP - 20, class: "name" }, [short, make("title", {}, [axis.label])]),
    ...marks,
  ]);
}

// Where a value is on the axis, and which values it names, from below.
function scaled({ values }) {
  const known = [...new Set(values.filter((value) => value !== null))];
  const at = (part) => HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);
  if (known.some((value) => typeof value === "string")) {
    const order = known.sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
    const place = (value) => at(order.length === 1 ? 0.5 : order.indexOf(value) / (order.length - 1));
    return { place, ticks: order };
  }
  known.sort((a, b) => a - b);
  const [low, high] = [known[0], known.at(-1)];
  const log = low > 0 && high >= LOGARITHMIC * low;
  const [size, value] = log ? [Math.log, Math.exp] : [Number, Number];
  const part = (one) => (low === high ? 0.5 : (size(one) - size(low)) / (size(high) - size(low)));
  const even = Array.from({ length: TICKS }, (_, index) =>
    value(size(low) + (index / (TICKS - 1)) * (size(high) - size(low))));
  return { place: (one) => at(part(one)), ticks: known.length <= TICKS ? known : even };
}

const told = (value, isPart) => (typeof value === "string" ? value
  : isPart ? percent(value, 1) : number(value, 3));
