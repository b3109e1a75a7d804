// Draw charts when they become visible, and again when their data or the theme changes.
// A page's own script runs before Plotly's, so that data load while Plotly is compiled: await
// `ready` before the first `changed()`.

import { tellLegend } from "./legend.js";
import { plotted } from "./lines.js";
import { tick } from "./numbers.js";
import { tabulate } from "./tables.js";
import { colour } from "./theme_colours.js";

export { colour };
export const ready = document.readyState === "complete" || globalThis.Plotly
  ? Promise.resolve()
  : new Promise((done) => { document.addEventListener("DOMContentLoaded", done, { once: true }); });

const CONFIG = { displayModeBar: false, responsive: true, showTips: false };
const NARROW = 480; // pixels: a chart on a phone
const touched = matchMedia("(pointer: coarse)").matches; // a drag scrolls the page

const charts = new Map(); // element → { make, stale, seen, hidden, width }

// `make()` returns what the chart shows of the current data, or null if there is nothing: a
// `layout`, and `lines` (see lines.js) or Plotly's own `traces`; `told` is a sentence about them.
export function chart(id, make) {
  const element = document.getElementById(id);
  if (!element) return; // a private job's page has fewer charts
  charts.set(element, { make, stale: true, seen: false, hidden: new Set() });
  const table = element.closest("figure").querySelector("details.as-table");
  table?.addEventListener("toggle", () => fillTable(element, make()));
}

const paper = matchMedia("print");

// Redraw visible charts now, on paper all; the others when they become visible.
export function changed() {
  for (const [element, one] of charts) {
    one.stale = true;
    watcher.observe(element);
    const figure = element.closest("figure");
    if (figure.hidden || !(one.seen || (paper.matches && element.clientWidth))) figure.hidden = one.make() === null;
    else draw(element, one);
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const one = charts.get(entry.target);
    one.seen = entry.isIntersecting;
    // Plotly leaves a chart that is folded away as wide as it was.
    if (one.seen && (one.stale || one.width !== entry.target.clientWidth)) draw(entry.target, one);
  }
}, { rootMargin: "200px" });

document.addEventListener("theme", changed);

function draw(element, one) {
  const made = one.make();
  const figure = element.closest("figure");
  figure.hidden = made === null;
  one.stale = false;
  one.width = element.clientWidth;
  if (made === null) return;
  const lines = made.lines?.filter((line) => !one.hidden.has(line.name));
  const traces = made.traces ?? plotted(lines, made.layout.yaxis?.type);
  const first = !element.dataset.drawn;
  Plotly.react(element, traces, layout(element, traces, made), CONFIG);
  if (first) element.on("plotly_afterplot", () => typeset(element));
  typeset(element);
  tellLegend(figure, made, one.hidden, () => draw(element, one));
  fillTable(element, made);
  element.dataset.drawn = performance.now(); // milliseconds after the navigation began
  element.dataset.points = Math.max(0, ...traces.map(({ name, x }) => (name ? x.length : 0)));
}

function fillTable(element, made) {
  const table = element.closest("figure").querySelector("details.as-table[open] .wide");
  if (table && made) table.replaceChildren(tabulate(made));
}

// Plotly's 2e-7 becomes 2 × 10⁻⁷, as everywhere: its own powers of ten would need inline styles.
function typeset(element) {
  for (const text of element.querySelectorAll(".xtick text, .ytick text")) {
    const written = tick(text.textContent);
    if (written !== text.textContent) text.textContent = written;
  }
}

function layout(element, traces, { lines, layout: { xaxis, yaxis, ...rest } }) {
  const [text, grid, edge, raised] = ["text", "grid", "edge", "raised"].map(colour);
  const narrow = element.clientWidth < NARROW;
  const axis = { gridcolor: grid, linecolor: edge, zerolinecolor: edge, fixedrange: touched,
    nticks: narrow ? 5 : 8 };
  const plain = { exponentformat: "e", minexponent: 4 };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    margin: { l: narrow ? 54 : 60, r: 12, t: lines ? 8 : 26, b: 40 }, // automargin draws twice
    showlegend: !lines && traces.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    dragmode: touched ? false : "zoom",
    hovermode: "x unified",
    uirevision: JSON.stringify([yaxis?.type, lines && xaxis?.title?.text]), // while it stays, so does a zoom
    hoverlabel: { bgcolor: raised, bordercolor: edge, font: { color: text } },
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...plain, ...yaxis },
    ...rest,
  };
}
