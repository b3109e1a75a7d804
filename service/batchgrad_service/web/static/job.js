import { changed, chart, colour, ready } from "./charts.js";
import { History } from "./history.js";
import { atMostEvery, refresh } from "./live.js";
import { locate } from "./service.js";

const { job, batchSize, budget, normBounds } = document.getElementById("charts").dataset;
const history = new History(job);
const bounds = JSON.parse(normBounds);
const PHASES = ["shard", "compute", "reduce", "update", "compare", "checkpoint"];
const last = () => history.rows.at(-1);
const linear = () => ({});
const log = () => ({ yaxis: { type: "log" } });
const steps = { title: { text: "step" } };

function line(name, of, rows = history.rows, tone = name, more = {}) {
  return {
    name, mode: "lines", x: rows.map((row) => row.step), y: rows.map(of),
    line: { color: colour(tone), width: 1.8 }, ...more,
  };
}

function chartLines(id, traces, layout = linear) {
  chart(id, () => {
    const made = traces().filter((trace) => trace.y.some((value) => value !== null));
    return made.length ? { traces: made, layout: { xaxis: steps, ...layout() } } : null;
  });
}

const shortcuts = () => Object.keys(last()?.shortcuts ?? {});
const ofEach = (figure) => () =>
  shortcuts().map((name) => line(name, (row) => row.shortcuts[name]?.[figure] ?? null));

// A chart with a line for each figure of a step; some charts have a second line.
const logLoss = document.getElementById("log-loss");
const secondLines = {
  loss: () => [
    line("validation loss", (one) => one.validation_loss, history.evaluations, "averaged_error"),
  ],
  noise_scale: () => {
    const size = Number(batchSize);
    if (!size || !history.rows.some((row) => row.noise_scale !== null)) return [];
    const dashed = { line: { color: colour("averaged_error"), dash: "dash", width: 1.8 } };
    const ends = [history.rows[0], last()];
    return [line(`batch size ${size}`, () => size, ends, "averaged_error", dashed)];
  },
};
for (const { id, dataset } of document.querySelectorAll("[data-figure]")) {
  const logarithmic = () => dataset.log === "true" || (id === "loss" && logLoss?.checked);
  chartLines(id, () => [
    line(dataset.figure, (row) => row[id] ?? null, history.rows, "truth"),
    ...(secondLines[id]?.() ?? []),
  ], () => (logarithmic() ? log() : linear()));
}

chartLines("accuracy", () => [
  line("validation", (one) => one.validation_accuracy, history.evaluations, "averaged_error"),
], () => ({ yaxis: { tickformat: ".0%" } }));
chartLines("r2", () => [
  line("validation", (one) => one.validation_r2 ?? null, history.evaluations, "averaged_error"),
]);
chartLines("epsilon", () => {
  const spent = line("ε spent", (row) => row.epsilon ?? null, history.rows, "truth");
  if (!budget || !spent.y.some((value) => value !== null)) return [spent];
  const dashed = { line: { color: colour("averaged_error"), dash: "dash", width: 1.8 } };
  return [spent, line("budget", () => Number(budget), [history.rows[0], last()], "averaged_error", dashed)];
}, () => ({ yaxis: { rangemode: "tozero" } }));
// A log scale cannot show 0 (exact shortcuts); the figures above do.
const positive = (value) => (value > 0 ? value : null);
chartLines("gap", () => shortcuts().map((name) =>
  line(name, (row) => positive(row.shortcuts[name]?.relative_error))), log);
chartLines("cosine", ofEach("cosine_similarity"));
chartLines("phases", () => PHASES.map((phase, index) => ({
  ...line(phase, (row) => (row.phases[phase] === undefined ? null : row.phases[phase] * 1000)),
  stackgroup: "phases",
  line: { width: 0.8, color: colour(["mean_of_means", "truth", "averaged_error", "mean_example",
    "still", "bad"][index]) },
})), () => ({ yaxis: { ticksuffix: " ms" } }));

const layersOf = document.getElementById("layers-of");
chart("layers", () => {
  const layers = last()?.shortcuts[layersOf.value]?.layers;
  if (!layers) return null;
  const bar = (name, tone) => ({
    type: "bar", name, x: layers.map((layer) => layer.name), y: layers.map((layer) => layer[`${name}_norm`]),
    marker: { color: colour(tone) },
  });
  return {
    traces: [bar("covariance", "averaged_error"), bar("propagation", "mean_example")],
    layout: { barmode: "group", xaxis: { type: "category", title: { text: `layer, at step ${last().step}` } } },
  };
});
chart("norms", () => {
  const counts = last()?.norms.histogram ?? [];
  const first = counts.findIndex((count) => count > 0);
  if (first < 0) return null;
  const end = counts.findLastIndex((count) => count > 0) + 1;
  const name = (index) => (index < bounds.length ? String(bounds[index]) : "more");
  return {
    traces: [{
      type: "bar", name: "examples", x: counts.slice(first, end).map((_, index) => name(first + index)),
      y: counts.slice(first, end), marker: { color: colour("truth") },
    }],
    layout: { bargap: 0.05, xaxis: { type: "category", automargin: true, title: { text: `‖g‖ up to, at step ${last().step}` } } },
  };
});
logLoss?.addEventListener("change", changed);
layersOf?.addEventListener("change", changed);

function show() {
  document.getElementById("no-steps").hidden = history.rows.length > 0;
  document.getElementById("charts").hidden = history.rows.length === 0;
  for (const name of shortcuts()) {
    if (![...layersOf.options].some((option) => option.value === name)) layersOf.add(new Option(name));
  }
  changed();
}

const append = atMostEvery(500, async () => { await history.append(); show(); });
const redo = atMostEvery(1000, refresh);

// Hidden pages close their stream: browsers limit the connections to one host.
const head = () => document.getElementById("head").dataset;
let stream = null, seen = Number(head().lastEvent), ended = head().ended === "true";
function follow() {
  if (ended || stream || document.hidden) return;
  stream = new EventSource(locate(`v1/jobs/${job}/events?after=${seen}`));
  for (const type of ["state", "plan", "executor", "progress", "evaluation", "checkpoint",
    "worker_joined", "worker_lost", "retry", "warning", "end"]) {
    stream.addEventListener(type, (event) => {
      seen = Number(event.lastEventId);
      if (type === "evaluation") history.evaluated(JSON.parse(event.data).data);
      if (type === "progress" || type === "end") append();
      redo();
      if (type === "end") { ended = true; leave(); }
    });
  }
}
function leave() { stream?.close(); stream = null; }

// A job that has ended may be made longer, from here or elsewhere: then it has newer events.
async function lookAgain() {
  await refresh();
  if (!ended || Number(head().lastEvent) <= seen) return;
  ended = false;
  follow();
}
const look = atMostEvery(1000, lookAgain);
const ENDED_SECONDS = 10;
setInterval(() => { if (ended && !document.hidden) look(); }, ENDED_SECONDS * 1000);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) leave();
  else if (ended) look();
  else follow();
});

async function send(action, body) {
  const json = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const request = { method: "POST", ...(body && json) };
  const answer = await fetch(locate(`v1/jobs/${job}/${action}`), request);
  await lookAgain();
  if (!answer.ok) {
    const refused = document.getElementById("refused");
    refused.textContent = (await answer.json()).detail;
    refused.hidden = false;
  }
}
document.addEventListener("click", (event) => {
  const action = event.target.closest("[data-do]")?.dataset.do;
  if (!action) return;
  if (action === "cancel" && !confirm("Cancel this job? It ends at this step.")) return;
  send(action);
});
document.addEventListener("submit", (event) => {
  if (event.target.id !== "longer") return;
  event.preventDefault();
  send("resume", { more_epochs: document.getElementById("more-epochs").valueAsNumber });
});

await Promise.all([history.load(), ready]);
show();
follow();
