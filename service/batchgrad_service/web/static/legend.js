// The legend of a chart, in HTML: it wraps on a phone, is read aloud, and its buttons hide lines.

import { build } from "./elements.js";

// `hidden` has the names of the lines that are not drawn; `redraw` is called when it changes.
export function tellLegend(figure, { lines, told = "" }, hidden, redraw) {
  const sentence = figure.querySelector(".told");
  if (sentence) sentence.textContent = told;
  const legend = figure.querySelector(".legend");
  if (!legend || !lines) return;
  const shown = lines.length > 1 || lines[0]?.note ? lines : [];
  const key = JSON.stringify([shown.map(({ name, note }) => [name, note]), [...hidden]]);
  if (legend.dataset.shown === key) return; // a focused button stays
  const focused = [...legend.children].indexOf(document.activeElement);
  legend.dataset.shown = key;
  legend.replaceChildren(...shown.map(({ name, tone, dash, note }) => {
    const button = build("button", {
      type: "button", class: `tone-${tone}${dash ? " dashed" : ""}`, "aria-pressed": String(!hidden.has(name)),
    }, [note ? `${name}: ${note}` : name]);
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      redraw();
    });
    return button;
  }));
  legend.children[focused]?.focus();
}
