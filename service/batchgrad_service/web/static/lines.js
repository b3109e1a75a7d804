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
const DECADES = 100; // a ratio from which a logarithmic axis is easier to read

// Whether all values are positive and span more than two decades.
export function spansDecades(lines) {
  const values = lines.flatMap((line) => line.y);
  return Math.min(...values) > 0 && Math.max(...values) > DECADES * Math.min(...values);
}

// A logarithmic axis for these values: powers of ten, about six of them, where there are some.
export function logAxis(lines) {
  const values = lines.flatMap((line) => line.y).filter((value) => value > 0);
  const decades = Math.log10(Math.max(...values) / Math.min(...values));
  return { type: "log", ...(decades >= 2 && { dtick: Math.ceil(decades / 6) }) };
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
    line: { color: colour(tone), width: 1.8, dash: dash ?? "solid" },
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
