// A job's page: its charts, and what changes while it is open.

import { changed, ready } from "./charts.js";
import { History } from "./history.js";
import { defineCharts } from "./job_charts.js";
import { atMostEvery, refresh } from "./live.js";
import { keepOpen } from "./sections.js";
import { locate } from "./service.js";

const { job } = document.getElementById("charts").dataset;
const history = new History(job);
defineCharts(history);
keepOpen();

function show() {
  document.getElementById("no-steps").hidden = history.rows.length > 0;
  document.getElementById("charts").hidden = history.rows.length === 0;
  changed();
}

let behind = true; // whether the charts lack points that an answer should have brought
const append = atMostEvery(500, async () => {
  behind = true;
  await Promise.all([history.append(), ready]);
  behind = false;
  show();
});
const redo = atMostEvery(1000, refresh);

// Hidden pages close their stream: browsers limit the connections to one host.
const head = () => document.getElementById("head").dataset;
let stream = null, seen = Number(head().lastEvent), ended = head().ended === "true";
function follow() {
  if (ended || stream || document.hidden) return;
  stream = new EventSource(locate(`v1/jobs/${job}/events?after=${seen}`));
  // A browser gives a stream up when it is refused, as by a service that restarts.
  stream.onerror = () => { if (stream?.readyState === EventSource.CLOSED) leave(); };
  for (const type of ["state", "plan", "executor", "progress", "evaluation", "checkpoint",
    "worker_joined", "worker_lost", "retry", "warning", "end"]) {
    stream.addEventListener(type, (event) => {
      seen = Number(event.lastEventId);
      if (type === "state") history.stale = true; // a new attempt computes steps again
      if (["progress", "evaluation", "end"].includes(type)) append();
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
const LOOK_SECONDS = 10;
setInterval(() => {
  if (document.hidden) return;
  if (behind) append();
  if (ended) look();
  else if (!stream) { follow(); redo(); }
}, LOOK_SECONDS * 1000);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) leave();
  else if (ended) look();
  else follow();
});

const refused = document.getElementById("refused");
async function send(action, body) {
  refused.hidden = true;
  const json = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const request = { method: "POST", ...(body && json) };
  const answer = await fetch(locate(`v1/jobs/${job}/${action}`), request);
  await lookAgain();
  if (!answer.ok) {
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

append();
follow();
