// The form, the YAML and the plan of a job: each follows the other. The YAML is what is submitted.

import { closeAbout, listen, showField } from "./submit/form.js";
import { change, typed } from "./submit/draft.js";
import { complete } from "./submit/completion.js";
import { select, text } from "./submit/editor.js";

listen(change);
complete(text, typed);
text.addEventListener("input", typed);

document.addEventListener("click", (event) => {
  const { line, field } = event.target.closest("[data-line], [data-field]")?.dataset ?? {};
  if (!line && !field) return;
  event.preventDefault();
  show(line ? "yaml" : "form");
  if (line) select(Number(line));
  else showField(field);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeAbout();
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  const form = text.form;
  form.requestSubmit(document.querySelector("button[name=action][value=submit]"));
});

// On a narrow window one of form, YAML and plan is shown.
const views = document.querySelectorAll("button[data-view]");
function show(view) {
  document.getElementById("workbench").dataset.view = view;
  for (const button of views) button.setAttribute("aria-pressed", button.dataset.view === view);
}
for (const button of views) button.addEventListener("click", () => show(button.dataset.view));

typed();
