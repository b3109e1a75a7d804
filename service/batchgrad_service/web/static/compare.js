// Jobs laid over one another: the table says which jobs, and the curves follow it.

import { changed, ready } from "./charts.js";
import { defineCurves, emphasizeCurve } from "./curves.js";
import { History } from "./history.js";
import { atMostEvery, refresh } from "./live.js";
import { drawParallel, emphasize } from "./parallel.js";

const SECONDS = document.querySelectorAll("#results tr[data-job]").length > 100 ? 10 : 2;
const ENDED_SECONDS = 10; // jobs that have ended may be made longer
const jobs = new Map(); // id → { name, series, stepsPerEpoch, attempts, history }
const rows = () => [...document.querySelectorAll("#results tr[data-job]")];

// Load the history of a job that is new in the table, extend one that has grown.
async function follow() {
  const shown = rows().filter((row) => row.dataset.series);
  for (const id of jobs.keys()) if (!shown.some((row) => row.dataset.job === id)) jobs.delete(id);
  const changes = await Promise.all(shown.map(async ({ dataset }) => {
    const known = jobs.get(dataset.job);
    const history = known?.history ?? new History(dataset.job);
    const ended = dataset.ended === "true";
    const [series, stepsPerEpoch, attempts] = ["series", "stepsPerEpoch", "attempts"].map((key) => Number(dataset[key]));
    const begun = known?.attempts !== attempts;
    const grown = Number(dataset.step) > (history.last?.step ?? 0) || (ended && history.stale);
    if (begun) {
      await history.load();
      history.stale = attempts > 1 && !ended; // the last steps may be those of the attempt before
    } else if (grown) await history.append();
    jobs.set(dataset.job, { name: dataset.name, series, stepsPerEpoch, attempts, history });
    return begun || grown || known.series !== series;
  }));
  await ready;
  if (changes.some(Boolean)) show();
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

let waited = 0;
setInterval(() => {
  waited += SECONDS;
  const live = rows().some((row) => row.dataset.ended === "false");
  if (document.hidden || (!live && waited < ENDED_SECONDS)) return;
  waited = 0;
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
const OVER = { pointerover: true, pointerout: false, focusin: true, focusout: false };
for (const [type, over] of Object.entries(OVER)) {
  document.addEventListener(type, ({ target }) => {
    const job = target.closest?.("[data-job]")?.dataset.job;
    if (!job) return;
    emphasize(over ? job : null);
    emphasizeCurve(over ? jobs.get(job)?.series ?? null : null);
  });
}

defineCurves(() => [...jobs.values()].sort((one, other) => one.series - other.series));
draw();
addEventListener("resize", draw);
await follow();
show();
