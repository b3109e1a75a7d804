// The text of the spec: numbered lines, marked lines, and changes that leave the cursor in place.

export const text = document.getElementById("spec");
const numbers = document.getElementById("lines");
const undo = document.getElementById("undo");
const made = []; // by the form: the texts before and after each change

// Number every line; marks disappear. There is an Undo while the text is as the form has left it.
export function lines() {
  const count = text.value.split("\n").length;
  numbers.replaceChildren(...Array.from({ length: count }, () => document.createElement("li")));
  text.rows = Math.max(count + 1, 16);
  undo.hidden = made.at(-1)?.after !== text.value;
}

export function mark(wrong) {
  [...numbers.children].forEach((line, index) => line.classList.toggle("wrong", wrong.includes(index + 1)));
  text.setAttribute("aria-invalid", String(wrong.length > 0));
}

// Show the text that a change of the form made, and mark the lines that differ.
export function replace(next) {
  const old = text.value;
  let start = 0, end = 0;
  const shorter = Math.min(old.length, next.length);
  while (start < shorter && old[start] === next[start]) start += 1;
  while (end < shorter - start && old.at(-1 - end) === next.at(-1 - end)) end += 1;
  text.setRangeText(next.slice(start, next.length - end), start, old.length - end, "preserve");
  made.push({ before: old, after: text.value });
  lines();
  const line = (at) => next.slice(0, at).split("\n").length - 1;
  for (let at = line(start); at <= line(Math.max(start, next.length - end - 1)); at += 1) {
    numbers.children[at]?.classList.add("changed");
  }
}

undo.addEventListener("click", () => {
  text.value = made.pop().before;
  text.dispatchEvent(new Event("input"));
});

export function select(line) {
  const start = text.value.split("\n").slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  const end = text.value.indexOf("\n", start);
  text.focus();
  text.setSelectionRange(start, end < 0 ? text.value.length : end);
}
