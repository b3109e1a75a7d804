// Keyboard shortcuts: Ctrl K everywhere; letters alone outside of inputs, unless turned off.

const PATIENCE = 1500; // milliseconds between g and the page's letter
const dialog = document.getElementById("shortcuts");
const letters = document.getElementById("letters");
let began = -Infinity; // when g was pressed

const search = async () => (await import("./palette.js")).open();
const page = (key) => document.querySelector(`#pages [data-key="${CSS.escape(key)}"]`);
const list = () => document.querySelector("main input[type=search]");
const acts = {
  "?": () => dialog.showModal(),
  "/": () => (list() ? list().focus() : search()),
  t: () => document.getElementById("theme").click(),
};

// Layouts without Latin letters have K at the same place.
const isK = ({ key, code }) => key.toLowerCase() === "k" || (code === "KeyK" && !/^[a-z]$/i.test(key));
const typing = (target) => target.closest?.("input, textarea, select, [contenteditable], dialog");

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && isK(event)) {
    event.preventDefault();
    search();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (!letters.checked || typing(event.target) || document.querySelector("dialog[open]")) return;
  const goes = event.timeStamp - began < PATIENCE && page(event.key);
  began = event.key === "g" && !goes ? event.timeStamp : -Infinity;
  const act = goes ? () => goes.click() : acts[event.key];
  if (!act) return;
  event.preventDefault(); // the letter must not land in the input that gets the focus
  act();
});

letters.checked = localStorage.getItem("letters") !== "off";
letters.addEventListener("change", () => {
  localStorage.setItem("letters", letters.checked ? "on" : "off");
});
for (const [id, act] of [["show-shortcuts", acts["?"]], ["search", search]]) {
  const button = document.getElementById(id);
  button.hidden = false;
  button.addEventListener("click", act);
}
