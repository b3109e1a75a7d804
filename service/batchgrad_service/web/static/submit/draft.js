// Ask the service, one request at a time: what a change makes of the text, and what a text means.

import { lines, replace, text } from "./editor.js";
import { showErrors } from "./errors.js";
import { moves, showForm } from "./form.js";
import { planned, showPlan } from "./plan.js";
import { locate } from "../service.js";

const WAIT_MILLISECONDS = 300; // after the last key
const changes = [];
const waiting = []; // for the last change to be in the text
let timer = null, stale = false, running = false, planning = null;

// The text has changed.
export function typed() {
  lines();
  soon(WAIT_MILLISECONDS);
}

// A field has changed: the service makes the change in the text. While items are moving, a click that
// moves another is dropped: it would hit the item that comes to stand there.
export function change(action, pointer, value) {
  const made = { action, pointer, value };
  if (moves(made) && changes.some(moves)) return;
  changes.push(made);
  soon(0);
}

// A promise of whether all changes are in the text; null if they are.
export function settled() {
  return changes.length ? new Promise((resolve) => waiting.push(resolve)) : null;
}

function soon(milliseconds) {
  stale = true;
  planned(false);
  planning?.abort();
  clearTimeout(timer);
  timer = setTimeout(run, milliseconds);
}

async function run() {
  if (running) return;
  running = true;
  try {
    while (stale) {
      stale = false;
      if (await draft() && !stale && !changes.length) await plan();
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const lost = changes.splice(0).length;
    showErrors([{ detail: `The service does not answer.${lost ? " The last change is not in the YAML." : ""} Change something to try again.` }]);
    for (const resolve of waiting.splice(0)) resolve(false);
  } finally {
    running = false;
  }
}

// Make the next change, if there is one, and show the text's form; whether the text is right so far.
async function draft() {
  const sent = text.value, made = changes[0];
  const answer = await ask("submit/draft", { spec: sent, ...made });
  if (text.value !== sent) { stale = true; return false; } // the same change, in the newer text
  if (made) changes.shift();
  if (answer.text !== sent) replace(answer.text);
  showForm(answer.form, made);
  if (changes.length) stale = true;
  else for (const resolve of waiting.splice(0)) resolve(true);
  if (answer.errors.length) showErrors(answer.errors);
  return answer.errors.length === 0;
}

async function plan() {
  planning = new AbortController();
  const sent = text.value;
  try {
    const answer = await ask("submit/plan", { spec: sent }, planning.signal);
    if (text.value !== sent || stale) return;
    showErrors(answer.errors);
    if (answer.plan !== null) showPlan(answer.plan);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    planning = null;
  }
}

export async function ask(path, fields, signal) {
  const answer = await fetch(locate(path), { method: "POST", body: new URLSearchParams(fields), signal });
  if (!answer.ok) throw new TypeError(`status ${answer.status}`);
  return answer.json();
}
