// The search of Ctrl K: the pages and, by name, the jobs; Enter opens the chosen one.

import { build } from "./elements.js";
import { locate } from "./service.js";

const MOST = 12;
const dialog = document.getElementById("palette");
const input = dialog.querySelector("input");
const found = document.getElementById("found");
let asked = new AbortController();

export function open() {
  if (dialog.open) return;
  document.querySelector("dialog[open]")?.close();
  input.value = "";
  dialog.showModal();
  search();
}

// Pages at once, jobs when they have come.
function search() {
  found.replaceChildren();
  show();
  update();
}

async function update() {
  asked.abort();
  asked = new AbortController();
  const text = input.value.trim();
  try {
    show(await askJobs(text, asked.signal));
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof TypeError)) throw error; // offline
  }
}

async function askJobs(search, signal) {
  const query = new URLSearchParams({ search, limit: MOST });
  const answer = await fetch(locate(`v1/jobs?${query}`), { signal });
  return answer.ok ? (await answer.json()).data : []; // a stranger sees the pages only
}

function show(jobs) {
  const text = input.value.trim().toLowerCase();
  const pages = [...document.querySelectorAll("#pages a")]
    .filter((link) => link.textContent.toLowerCase().includes(text))
    .map((link) => option(link.textContent, "page", link.href));
  const chosen = found.querySelector("[aria-selected=true]")?.dataset.href; // before jobs came
  found.replaceChildren(
    ...pages, ...(jobs ?? []).map((job) => option(job.name, job.status, locate(`jobs/${job.id}`).href)),
  );
  if (jobs && !found.children.length) found.append(build("li", { "aria-disabled": "true" }, ["Nothing found"]));
  [...found.children].forEach((item, index) => { item.id = `found-${index}`; });
  const options = [...found.querySelectorAll("[data-href]")];
  choose(options.find((item) => item.dataset.href === chosen) ?? options[0]);
}

function option(name, kind, href) {
  return build("li", { role: "option", "data-href": href }, [name, build("small", {}, [kind])]);
}

function choose(item) {
  found.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  item?.setAttribute("aria-selected", "true");
  item?.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", item?.id ?? "");
}

const follow = (item) => { if (item?.dataset.href) location.assign(item.dataset.href); };

input.addEventListener("input", search);
input.addEventListener("keydown", (event) => {
  const chosen = found.querySelector("[aria-selected=true]");
  if (event.key === "Enter" && !event.isComposing) follow(chosen);
  const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!way) return;
  event.preventDefault();
  choose(chosen?.[way] ?? chosen);
});
found.addEventListener("click", (event) => follow(event.target.closest("[data-href]")));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
