// The form, the YAML and the plan of a job: each follows the other. The YAML is what is submitted.

import { closeHelp, listen, showField } from "./submit/form.js";
import { change, settled, typed } from "./submit/draft.js";
import { complete } from "./submit/completion.js";
import { select, text } from "./submit/editor.js";

const flush = listen(change);
complete(text, typed);
text.addEventListener("input", typed);

// What was just typed into a field is submitted too.
text.form.addEventListener("submit", async (event) => {
  flush();
  const made = settled();
  if (!made) return;
  event.preventDefault();
  const { target, submitter } = event;
  if (await made) target.requestSubmit(submitter);
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("details.help")) closeHelp();
  const { line, field } = event.target.closest("[data-line], [data-field]")?.dataset ?? {};
  if (!line && !field) return;
  event.preventDefault();
  show(line ? "yaml" : "form");
  if (line) select(Number(line));
  else showField(field);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeHelp();
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  text.form.requestSubmit(document.querySelector("button[name=action][value=submit]"));
});

// On a narrow window one of form, YAML and plan is shown.
const views = document.querySelectorAll("button[data-view]");
function show(view) {
  document.getElementById("workbench").dataset.view = view;
  for (const button of views) button.setAttribute("aria-pressed", button.dataset.view === view);
}
for (const button of views) button.addEventListener("click", () => show(button.dataset.view));

typed();
