// Sections of a page that are folded: which are open is remembered in this browser.

const KEY = "batchgrad.open";

export function keepOpen() {
  const open = new Set(JSON.parse(localStorage.getItem(KEY) ?? "[]"));
  for (const details of document.querySelectorAll("details[data-section]")) {
    details.open ||= open.has(details.dataset.section);
    details.addEventListener("toggle", () => {
      if (details.open) open.add(details.dataset.section);
      else open.delete(details.dataset.section);
      localStorage.setItem(KEY, JSON.stringify([...open]));
    });
  }
}
