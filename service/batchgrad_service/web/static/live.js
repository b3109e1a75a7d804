// Keep parts of a page current: fetch the page again and replace every element that has data-live.
// So only the server renders.

import { localize } from "./moments.js";

export async function refresh() {
  const url = location.href;
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (answer.redirected) { location.reload(); return; }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (location.href !== url) return; // who changed the URL asks again
  document.title = fresh.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now) replace(old, now);
  }
}

// Put `now` in the place of `old`, with what the user did to the elements that have an id: those
// unfolded stay unfolded, what was typed stays, scrolled ones stay scrolled.
function replace(old, now) {
  localize(now);
  const scrolled = [];
  for (const one of [old, ...old.querySelectorAll("[id]")]) {
    const next = one === old ? now : now.querySelector(`#${CSS.escape(one.id)}`);
    if (!next) continue;
    if (one.matches("details")) next.open = one.open;
    if (one.matches("input") && one.value !== one.defaultValue) next.value = one.value;
    if (one.scrollLeft || one.scrollTop) scrolled.push([next, one.scrollLeft, one.scrollTop]);
  }
  if (now.isEqualNode(old)) return;
  const focused = old.contains(document.activeElement) ? place(document.activeElement) : null;
  old.replaceWith(now);
  for (const [next, left, top] of scrolled) Object.assign(next, { scrollLeft: left, scrollTop: top });
  if (focused) (now.matches(focused) ? now : now.querySelector(focused))?.focus({ preventScroll: true });
}

// A selector that finds the focused element again: its id, or the target of its link.
function place(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const target = element.getAttribute("href");
  return target && `a[href="${CSS.escape(target)}"]`;
}

// Run `work` at most once in `milliseconds`, never twice at a time, and once after the last call.
export function atMostEvery(milliseconds, work) {
  let timer = null, running = false, again = false, next = 0;
  const plan = () => { timer = setTimeout(run, Math.max(0, next - performance.now())); };
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    const began = performance.now();
    try {
      await work();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // offline
    } finally {
      running = false;
      const ended = performance.now();
      next = ended + Math.max(milliseconds - (ended - began), ended - began); // half of the time is free
      if (again) plan();
    }
  };
  return () => {
    again = true;
    if (timer === null && !running) plan();
  };
}
