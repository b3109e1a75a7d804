// The plan of the text, and whether it still is that of the text.

const shown = document.getElementById("plan");
const computing = document.getElementById("computing");

export function showPlan(html) {
  shown.innerHTML = html; // the service's own template
  planned(true);
  const figure = (name) => shown.querySelector(`[data-figure=${name}]`).textContent;
  brief(`${figure("parameters")} parameters · ${figure("steps_planned")} steps`);
  shown.classList.remove("stale");
}

// Whether the service has answered about the text that stands there.
export function planned(done) {
  computing.hidden = done;
  shown.setAttribute("aria-busy", String(!done));
  shown.classList.add("stale");
}

export function brief(words) {
  document.getElementById("brief").textContent = words;
}
