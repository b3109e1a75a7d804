// Build elements; text is always text, never HTML.

import { number as shown } from "./numbers.js";

export function build(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// An input for one number; calls `changed` with every valid value.
export function number(label, value, changed, step = 0.1, limits = {}) {
  const input = build("input", { type: "number", step: "any", "aria-label": label, ...limits });
  if (step === 1) input.step = 1;
  input.value = value;
  input.addEventListener("input", () => {
    if (input.value !== "" && input.validity.valid) changed(Number(input.value));
  });
  input.addEventListener("keydown", (event) => { // with step "any" browsers change by 1
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!direction || step === 1) return;
    event.preventDefault();
    const before = input.value;
    input.value = Number((Number(before) + direction * step).toFixed(10));
    if (input.validity.valid) changed(Number(input.value));
    else input.value = before;
  });
  return input;
}

// A number as everywhere; what is only rounding is 0.
export const signed = (value) => shown(Math.abs(value) < 1e-12 ? 0 : value);
