// Lines over steps, with the band between the extremes of each bucket of steps.
// A line is { name, tone, x, y } with, if they are wanted, `low` and `high` of each point, `show`,
// which writes a value, `note` for the legend, `dash`, and `more` of Plotly's own keys.

import { number } from "./numbers.js";
import { colour, faint } from "./theme_colours.js";

const BAND = 0.18; // the opacity of a band

// The line of a figure by its path, such as shortcuts.averaged_error.relative_error; steps without
// the figure are left out.
export function lineOf(history, figure, name, tone, more = {}) {
  const path = figure.split(".");
  const { x, low, high } = history.band(figure);
  const places = new Map(x.map((step, i) => [step, i]));
  const line = { name, tone, x: [], y: [], low: [], high: [], ...more };
  for (const row of history.rows) {
    const value = path.reduce((inside, key) => inside?.[key], row) ?? null;
    if (value === null) continue;
    const i = places.get(row.step);
    line.x.push(row.step);
    line.y.push(value);
    line.low.push(low[i] ?? null);
    line.high.push(high[i] ?? null);
  }
  return line;
}

// The value of a line at place `i`, with the extremes of its bucket.
export function valueAt({ y, low, high, show = number }, i) {
  const wide = low?.[i] != null && low[i] !== high[i];
  return wide ? `${show(y[i])} (${show(low[i])} to ${show(high[i])})` : show(y[i]);
}

export const isLine = (line) => line.y.length > 0;

// The vertical axis of a chart with a box "log scale", if it has one: a job's loss is shown so when
// it spans two decades, a gap when it spans one. The box has the last word.
const DECADES = { loss: 2, gap: 1 };
export function scaled(id, changed) {
  const box = document.getElementById(`log-${id}`);
  let chosen = false;
  box?.addEventListener("change", () => { chosen = true; changed(); });
  return (lines) => {
    if (box && !chosen) box.checked = decades(lines) > DECADES[id] && (id === "gap" || above0(lines));
    return box?.checked ? logAxis(lines) : { rangemode: id === "gap" ? "tozero" : "normal" };
  };
}

// How many decades the positive values span. A log scale has no 0, which an exact shortcut has.
export function decades(lines) {
  const values = lines.flatMap((line) => line.y).filter((value) => value > 0);
  return values.length ? Math.log10(Math.max(...values) / Math.min(...values)) : 0;
}
const above0 = (lines) => lines.every((line) => line.y.every((value) => value > 0));

// A logarithmic axis for these values: powers of ten, about six of them, where there are some.
export function logAxis(lines) {
  const span = decades(lines);
  return { type: "log", dtick: span >= 2 ? Math.ceil(span / 6) : "D2" };
}

// Plotly's traces: the lines first, then the bands, which are drawn below.
export function plotted(lines, type) {
  const positive = type === "log" ? (value) => value > 0 : () => true;
  const floor = Math.min(...lines.flatMap((line) => [...line.y, ...(line.low ?? [])]
    .filter((value) => value !== null && positive(value))));
  const drawn = lines.map((line) => traceOf(line, positive));
  const bands = lines.map((line) => bandOf(line, positive, floor)).filter(Boolean);
  return [...drawn, ...bands];
}

function traceOf(line, positive) {
  const { name, tone, x, y, dash, more } = line;
  const at = y.flatMap((value, i) => (positive(value) ? [i] : []));
  const text = at.map((i) => valueAt(line, i));
  return {
    name, x: at.map((i) => x[i]), y: at.map((i) => y[i]), text, zorder: 1,
    mode: at.length === 1 ? "markers" : "lines", hovertemplate: "%{text}",
    line: { color: colour(tone), width: 2, dash: dash ?? "solid" },
    marker: { color: colour(tone), size: 9 }, ...more,
  };
}

function bandOf({ tone, x, low, high }, positive, floor) {
  const at = x.flatMap((_, i) => (low?.[i] != null && positive(high[i]) ? [i] : []));
  if (!at.some((i) => low[i] !== high[i])) return null;
  const back = at.toReversed();
  return {
    x: [...at, ...back].map((i) => x[i]),
    y: [...at.map((i) => high[i]), ...back.map((i) => (positive(low[i]) ? low[i] : floor))],
    mode: "lines", fill: "toself", fillcolor: faint(tone, BAND), line: { width: 0 },
    hoverinfo: "skip", showlegend: false, zorder: 0,
  };
}
