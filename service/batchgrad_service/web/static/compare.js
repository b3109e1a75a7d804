// Jobs laid over one another: curves in the colours of the table, which follow running jobs.

import { changed, chart, colour, ready } from "./charts.js";
import { History } from "./history.js";
import { atMostEvery, refresh } from "./live.js";
import { elapsed, unitOf } from "./elapsed.js";
import { drawParallel, emphasize } from "./parallel.js";

const SECONDS = 2;
const ENDED_SECONDS = 10; // jobs that have ended may be made longer
const COLOURS = 10; // then the same ones again, dotted
const FEW = 6;
const DECADES = 100; // a ratio from which a logarithmic scale is easier to read
const jobs = new Map(); // id → { name, series, stepsPerEpoch, history }
const rows = () => [...document.querySelectorAll("#results tr[data-job]")];
const gapOf = document.getElementById("gap-of");

// The horizontal axes: its title, and a job's places by step.
const AXES = {
  step: () => ({ title: "step", place: () => (step) => step }),
  epoch: () => ({ title: "epoch", place: (job) => (step) => step / (job.stepsPerEpoch || 1) }),
  time: () => {
    const times = new Map([...jobs.values()].map((job) => [job, elapsed(job.history.rows)]));
    const ends = [...times].map(([job, at]) => at(job.history.rows.at(-1)?.step ?? 0));
    const [unit, seconds] = unitOf(Math.max(...ends));
    return { title: `time, ${unit}`, place: (job) => (step) => times.get(job)(step) / seconds };
  },
};

// A line for each job that has the figure; `points` gives its rows, `value` one row's figure.
function chartLines(id, points, value) {
  chart(id, () => {
    const { title, place } = AXES[document.querySelector('[name="by"]:checked').value]();
    const traces = [...jobs.values()].map((job) => line(job, points(job.history), value, place(job)))
      .filter((trace) => trace.y.some((one) => one !== null));
    if (traces.length === 0) return null;
    const layout = {
      showlegend: false, // the table shows the colours
      hovermode: traces.length > FEW ? "closest" : "x unified",
      xaxis: { title: { text: title } },
      yaxis: id === "validation_accuracy" ? { tickformat: ".0%" } : { type: scale(traces) },
    };
    return { traces, layout };
  });
}

function line({ name, series }, points, value, place) {
  return {
    name, mode: points.length === 1 ? "markers" : "lines",
    x: points.map((row) => place(row.step)), y: points.map((row) => value(row) ?? null),
    line: {
      color: colour(`series-${series % COLOURS}`), width: 1.8, dash: series < COLOURS ? "solid" : "dot",
    },
  };
}

function scale(traces) {
  const values = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  return Math.min(...values) > 0 && Math.max(...values) > DECADES * Math.min(...values) ? "log" : "linear";
}

chartLines("loss", (history) => history.rows, (row) => row.loss);
for (const figure of ["validation_loss", "validation_accuracy", "validation_r2"]) {
  chartLines(figure, (history) => history.evaluations, (one) => one[figure]);
}
chartLines("gap", (history) => history.rows, (row) => {
  const name = gapOf?.value ?? Object.keys(row.shortcuts)[0];
  return row.shortcuts[name]?.relative_error;
});

// What the table shows is what the charts show: load what is new in it, extend what has grown.
async function follow() {
  const shown = rows().filter((row) => row.dataset.series);
  for (const id of jobs.keys()) if (!shown.some((row) => row.dataset.job === id)) jobs.delete(id);
  const changes = await Promise.all(shown.map(async ({ dataset }) => {
    const known = jobs.get(dataset.job);
    const history = known?.history ?? new History(dataset.job);
    const grown = Number(dataset.step) > (history.rows.at(-1)?.step ?? 0);
    if (!known) await history.load();
    else if (grown) await extend(history);
    const series = Number(dataset.series);
    const stepsPerEpoch = Number(dataset.stepsPerEpoch);
    jobs.set(dataset.job, { name: dataset.name, series, stepsPerEpoch, history });
    return !known || grown || known.series !== series;
  }));
  await ready;
  if (changes.some(Boolean)) show();
}

async function extend(history) {
  const evaluations = history.read("events?type=evaluation&max_points=300");
  await history.append();
  history.evaluations = (await evaluations).map((event) => event.data);
}

function show() {
  const empty = [...jobs.values()].every((job) => job.history.rows.length === 0);
  document.getElementById("no-steps").hidden = !empty;
  document.getElementById("charts").hidden = empty;
  changed();
}

function draw() {
  const { axes, lines } = document.getElementById("results").dataset;
  drawParallel(document.getElementById("parallel"), JSON.parse(axes), JSON.parse(lines));
}

const update = atMostEvery(SECONDS * 1000, async () => {
  await refresh();
  draw();
  await follow();
});

let slept = 0;
setInterval(() => {
  const live = rows().some((row) => row.dataset.ended === "false");
  slept = live ? ENDED_SECONDS : slept + SECONDS;
  if (document.hidden || slept < ENDED_SECONDS) return;
  slept = 0;
  update();
}, SECONDS * 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });

document.getElementById("by").addEventListener("change", ({ target }) => {
  changed();
  if (target.name !== "by") return;
  const url = new URL(location.href);
  url.searchParams.set("by", target.value);
  history.replaceState(null, "", url);
  update(); // the links of the table have it too
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-sort]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  update();
});
addEventListener("popstate", update);
for (const [type, over] of [["pointerover", true], ["pointerout", false]]) {
  document.addEventListener(type, ({ target }) => {
    const job = target.closest?.("[data-job]")?.dataset.job;
    if (job) emphasize(over ? job : null);
  });
}
new ResizeObserver(draw).observe(document.getElementById("results"));

await follow();
show();
