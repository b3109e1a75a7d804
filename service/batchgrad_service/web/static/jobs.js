// The list of jobs: it follows its jobs, filters while one types, and keeps what is chosen.

import { atMostEvery, refresh } from "./live.js";

const SECONDS = 1.5;
const MOST = 20; // as many as /jobs/compare takes
const filter = document.getElementById("filter");
const compare = document.getElementById("compare");
const chosen = new Set(JSON.parse(sessionStorage.getItem("compare") ?? "[]"));

// Mark the chosen jobs, of which some may be on other pages of the list.
function mark() {
  for (const box of document.querySelectorAll('[name="ids"]')) {
    box.checked = chosen.has(box.value);
    box.closest("tr").classList.toggle("chosen", box.checked);
  }
  sessionStorage.setItem("compare", JSON.stringify([...chosen]));
  compare.hidden = !document.querySelector('[name="ids"]') && chosen.size === 0;
  compare.querySelector(".primary").disabled = chosen.size < 2 || chosen.size > MOST;
  document.getElementById("clear").hidden = chosen.size === 0;
  const count = chosen.size === 0
    ? "Choose two jobs or more" : `${chosen.size} chosen${chosen.size > MOST ? `, at most ${MOST}` : ""}`;
  const said = document.getElementById("count");
  if (said.textContent !== count) said.textContent = count; // a screen reader reads what is written
}

const update = atMostEvery(SECONDS * 1000, async () => { await refresh(); mark(); });
setInterval(() => { if (!document.hidden) update(); }, SECONDS * 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });

document.addEventListener("change", ({ target }) => {
  if (target.name !== "ids") return;
  if (target.checked) chosen.add(target.value);
  else chosen.delete(target.value);
  mark();
});
document.getElementById("clear").addEventListener("click", () => { chosen.clear(); mark(); });
compare.addEventListener("submit", (event) => {
  event.preventDefault();
  location.href = `${compare.action}?ids=${[...chosen].join(",")}`;
});

// The URL has the filter, as it has without a script: the first page of what is found.
const find = atMostEvery(300, async () => {
  const given = [...new FormData(filter)].filter(([, value]) => value);
  history.replaceState(null, "", `?${new URLSearchParams(given)}`);
  await refresh();
  mark();
});
filter.addEventListener("input", find);
filter.addEventListener("submit", (event) => { event.preventDefault(); find(); });

mark();
