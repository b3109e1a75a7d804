// A list of what may be typed at the cursor, as in a combobox: arrows, Enter or Tab, Escape.

import { build } from "../elements.js";
import { ask } from "./draft.js";

const list = document.getElementById("completions");
let options = [], chosen = 0, typedBefore = 0, asked = 0, place = "";

const cursor = (text) => `${text.selectionStart} ${text.selectionEnd}`;

export function complete(text, typed) {
  text.addEventListener("input", (event) => {
    if (event.inputType === "insertText" && /[\w]/.test(event.data ?? "")) open(text, false);
    else if (event.inputType?.startsWith("delete") && !list.hidden) open(text, false);
    else close(text);
  });
  text.addEventListener("keydown", (event) => {
    if (cursor(text) !== place) close(text);
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); open(text, true); }
    if (list.hidden) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) choose(text, (chosen + step + options.length) % options.length);
    else if ((event.key === "Enter" && !event.ctrlKey && !event.metaKey) || event.key === "Tab") insert(text, typed);
    else if (event.key === "Escape") close(text);
    else { if (["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"].includes(event.key)) close(text); return; }
    event.preventDefault();
    event.stopPropagation();
  });
  text.addEventListener("blur", () => close(text));
  text.addEventListener("pointerdown", () => close(text));
  list.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // the text keeps the focus
    const at = [...list.children].indexOf(event.target.closest("li"));
    if (at >= 0) { chosen = at; insert(text, typed); }
  });
}

// Ask for the options at the cursor; a word that is complete needs none, unless they are asked for.
async function open(text, wanted) {
  const at = text.selectionEnd, mine = (asked += 1);
  place = cursor(text);
  const before = text.value.slice(0, at), after = text.value.slice(at);
  let answer = null;
  try { answer = await ask("submit/completions", { before, after }); } catch (error) {
    if (!(error instanceof TypeError)) throw error; // offline
  }
  if (mine !== asked || !answer || cursor(text) !== place) return;
  const word = before.slice(before.length - answer.typed);
  options = answer.options;
  if (!options.length || (!wanted && options.length === 1 && options[0].name === word)) { close(text); return; }
  typedBefore = answer.typed;
  list.replaceChildren(...options.map(({ name, meaning }, index) => build(
    "li", { role: "option", id: `completion-${index}`, "aria-selected": "false" },
    [build("span", { class: "word" }, [name]), build("span", { class: "meaning" }, [meaning])])));
  const line = before.split("\n");
  list.style.setProperty("--line", line.length);
  list.style.setProperty("--column", Math.max(line.at(-1).length - typedBefore, 0));
  list.style.setProperty("--scrolled", `${text.scrollLeft}px`);
  list.hidden = false;
  choose(text, 0);
}

function choose(text, index) {
  chosen = index;
  [...list.children].forEach((option, at) => option.setAttribute("aria-selected", at === index));
  text.setAttribute("aria-activedescendant", `completion-${index}`);
  list.children[index].scrollIntoView({ block: "nearest" });
}

function insert(text, typed) {
  if (cursor(text) !== place) { close(text); return; }
  const end = text.selectionEnd;
  const rest = text.value.slice(end).match(/^\w*/)[0].length;
  text.setRangeText(options[chosen].insert, end - typedBefore, end + rest, "end");
  close(text);
  typed();
}

function close(text) {
  asked += 1;
  list.hidden = true;
  text.removeAttribute("aria-activedescendant");
}
