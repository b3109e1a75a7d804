// Keep parts of a page current: fetch the page again and replace every element that has data-live.
// So only the server renders.

import { localize } from "./moments.js";

export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) { location.reload(); return; }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = fresh.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now) localize(now);
    if (now && !now.isEqualNode(old)) replace(old, document.adoptNode(now));
  }
}

function replace(old, now) {
  const focused = old.contains(document.activeElement) ? place(document.activeElement) : null;
  const scrolled = old.scrollTop;
  old.replaceWith(now);
  now.scrollTop = scrolled;
  if (focused) now.querySelector(focused)?.focus();
}

// A selector that finds the focused element again: its id, or the target of its link.
function place(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const target = element.getAttribute("href");
  return target && `a[href="${CSS.escape(target)}"]`;
}

// Run `work` at most once in `milliseconds`, never twice at a time, and once after the last call.
export function atMostEvery(milliseconds, work) {
  let timer = null, running = false, again = false;
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    const began = performance.now();
    try { await work(); } catch (error) { if (!(error instanceof TypeError)) throw error; } // offline
    running = false;
    // Slow work runs less often: at least half of the browser's time stays free.
    if (again) timer = setTimeout(run, Math.max(milliseconds, performance.now() - began));
  };
  return () => {
    again = true;
    if (timer === null && !running) timer = setTimeout(run, 0);
  };
}
