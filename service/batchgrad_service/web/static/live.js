// Parts of a page that follow what they show: the page is asked for again, and every element with
// data-live is replaced by the new one. So there is one place that renders, the server.

export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) { location.reload(); return; }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = fresh.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
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

// What finds the focused element again: its id, or what its link points to.
function place(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const target = element.getAttribute("href");
  return target && `a[href="${CSS.escape(target)}"]`;
}

// `work` at most once in `milliseconds`, never two at a time, and once more after the last call.
export function atMostEvery(milliseconds, work) {
  let timer = null, running = false, again = false;
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    const began = performance.now();
    try { await work(); } catch (error) { if (!(error instanceof TypeError)) throw error; } // offline
    running = false;
    // What takes long is done more rarely: a slow browser keeps half its time for the reader.
    if (again) timer = setTimeout(run, Math.max(milliseconds, performance.now() - began));
  };
  return () => {
    again = true;
    if (timer === null && !running) timer = setTimeout(run, 0);
  };
}
