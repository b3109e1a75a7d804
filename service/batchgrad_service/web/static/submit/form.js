// The fields: what a user changes in them, and new fields from the service.

import { morph } from "./morph.js";

const form = document.getElementById("form");
const WAIT_MILLISECONDS = 300; // after the last key
const waiting = new Map(); // the timers of fields whose text changes

// Call `change(action, pointer, value)` for what a user does in the form; return a function that
// does so at once for what is still being typed.
export function listen(change) {
  const send = (control, value) => {
    clearTimeout(waiting.get(control));
    waiting.delete(control);
    change(control.dataset.edit, control.dataset.pointer, value);
  };
  form.addEventListener("input", ({ target }) => {
    if (!target.matches("input[data-edit]:not([type=checkbox])")) return;
    clearTimeout(waiting.get(target));
    waiting.delete(target);
    if (target.validity.badInput) return; // "1e-" on the way to 1e-5
    waiting.set(target, setTimeout(() => send(target, target.value), WAIT_MILLISECONDS));
  });
  form.addEventListener("change", ({ target }) => {
    if (!target.dataset.edit) return;
    if (target.type === "checkbox") send(target, target.dataset.edit === "set" && target.value === "on" ? String(target.checked) : target.value);
    else if (target.tagName === "SELECT" || waiting.has(target)) send(target, target.value);
  });
  form.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-edit]");
    if (!button) return;
    const kind = document.getElementById(`kind-of-new${button.dataset.pointer}`);
    send(button, kind ? kind.value : "");
  });
  return () => { for (const control of [...waiting.keys()]) send(control, control.value); };
}

// Whether a change moves items of a list, so that pointers of the form as shown are wrong until it is made.
export const moves = ({ action, pointer }) => /\/\d+$/.test(pointer) && ["up", "down", "remove"].includes(action);

// Show new fields; after an item has moved or gone the focus follows, if it still was on the item's button.
export function showForm(html, made) {
  document.getElementById("no-form").hidden = html !== null;
  form.classList.toggle("stale", html === null);
  if (html === null) return;
  const next = document.createElement("div");
  next.id = form.id;
  next.className = form.className;
  next.innerHTML = html; // the service's own template
  const { edit, pointer } = document.activeElement.dataset;
  morph(form, next);
  if (made && moves(made) && edit === made.action && pointer === made.pointer) focusAfter(made);
}

function focusAfter({ action, pointer }) {
  const [, list, index] = pointer.match(/^(.*)\/(\d+)$/);
  const at = action === "up" ? index - 1 : action === "down" ? Number(index) + 1 : index;
  const item = document.getElementById(`group${list}/${at}`);
  const button = item?.querySelector(`button[data-edit=${action}]`);
  const other = item?.querySelector("button[data-edit=remove]");
  (button && !button.disabled ? button : other ?? document.getElementById(`field${list}`))?.focus();
}

// Bring the field of a pointer into sight, or what holds it.
export function showField(pointer) {
  const field = document.getElementById(`field${pointer}`) ?? document.getElementById(`group${pointer}`);
  const folded = field?.closest("details.section");
  if (folded) folded.open = true;
  field?.scrollIntoView({ block: "center" });
  field?.focus();
}

export function closeHelp() {
  for (const open of form.querySelectorAll("details.help[open]")) open.open = false;
}
