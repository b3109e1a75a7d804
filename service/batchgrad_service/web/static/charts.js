// Draw charts when they become visible, and again when their data or the theme changes.
// A page's own script runs before Plotly's, so that data load while Plotly is compiled: await
// `ready` before the first `changed()`.

export const ready = document.readyState === "complete" || globalThis.Plotly
  ? Promise.resolve()
  : new Promise((done) => { document.addEventListener("DOMContentLoaded", done, { once: true }); });

const CONFIG = { displayModeBar: false, responsive: true, showTips: false };
export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const charts = new Map(); // element → { make, stale, seen }

// `make()` returns { traces, layout } for the current data, or null if there is nothing to show.
export function chart(id, make) {
  const element = document.getElementById(id);
  if (!element) return; // a private job's page has fewer charts
  charts.set(element, { make, stale: true, seen: false });
}

// Redraw visible charts now, the others when they become visible.
export function changed() {
  for (const [element, one] of charts) {
    one.stale = true;
    watcher.observe(element);
    const figure = element.closest("figure");
    if (figure.hidden) figure.hidden = one.make() === null;
    else if (one.seen) draw(element, one);
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const one = charts.get(entry.target);
    one.seen = entry.isIntersecting;
    if (one.seen && one.stale) draw(entry.target, one);
  }
}, { rootMargin: "200px" });

document.addEventListener("theme", changed);

function draw(element, one) {
  const made = one.make();
  element.closest("figure").hidden = made === null;
  one.stale = false;
  if (made === null) return;
  Plotly.react(element, made.traces, layout(made), CONFIG);
  element.dataset.drawn = performance.now(); // milliseconds after the navigation began
  element.dataset.points = Math.max(0, ...made.traces.map((trace) => trace.x.length));
}

function layout({ traces, layout: { xaxis, yaxis, ...rest } }) {
  const [text, grid, edge, raised] = ["text", "grid", "edge", "raised"].map(colour);
  const axis = { gridcolor: grid, linecolor: edge, zerolinecolor: edge };
  const plain = { exponentformat: "e", minexponent: 4 }; // "power" would need inline styles
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    margin: { l: 54, r: 10, t: 26, b: 40 }, // fixed: automargin draws everything twice
    showlegend: traces.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: raised, bordercolor: edge, font: { color: text } },
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...plain, ...yaxis },
    ...rest,
  };
}
