// Errors of the spec: a list, a mark at the line, and the sentence beside the field.

import { build } from "../elements.js";
import { mark } from "./editor.js";
import { brief, planned } from "./plan.js";

const list = document.getElementById("errors");
const refused = list.hidden ? "" : "The job was not submitted. ";

export function showErrors(errors) {
  for (const old of document.querySelectorAll("p.wrong:not([hidden])")) place(old, "");
  mark(errors.map((one) => one.line).filter(Boolean));
  list.hidden = errors.length === 0;
  const count = errors.length === 1 ? "One thing to correct" : `${errors.length} things to correct`;
  list.querySelector("p").textContent = `${refused}${count}:`;
  list.querySelector("ul").replaceChildren(...errors.map(item));
  if (errors.length) { planned(true); brief(count); }
}

function item({ line, pointer, detail }) {
  const field = nearest(pointer);
  const parts = line ? [build("a", { href: "#spec", "data-line": line }, [`Line ${line}`]), ": "] : [];
  parts.push(detail);
  if (field) {
    place(field, detail);
    const at = field.id.slice("error".length);
    parts.push(" ", build("a", { href: `#field${at}`, "data-field": at }, ["Field"]));
  }
  return build("li", {}, parts);
}

// Where the error of a pointer is shown: beside its field, or beside the closest that holds it.
function nearest(pointer) {
  for (let at = pointer ?? ""; at; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = document.getElementById(`error${at}`);
    if (found) return found;
  }
  return null;
}

function place(beside, detail) {
  beside.textContent = detail;
  beside.hidden = !detail;
  const field = document.getElementById(beside.id.replace("error", "field"));
  if (detail) field?.setAttribute("aria-invalid", "true");
  else field?.removeAttribute("aria-invalid");
}
