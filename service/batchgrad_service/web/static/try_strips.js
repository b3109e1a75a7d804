// Every parameter's gradient: a dot for each example, their mean, and what the shortcuts give.

import { build, signed } from "./elements.js";
import { flat } from "./networks.js";
import { draw } from "./svg.js";
import { same } from "./try_equation.js";

export const SHORTCUTS = { averaged_error: "errors averaged", mean_example: "mean example" };

// One row of `table` for each parameter; `picked` is the name of the one the sentence speaks of.
export function show(table, answer, picked) {
  const each = answer.per_example.map(flat);
  const theirs = Object.keys(SHORTCUTS).map((name) => [name, flat(answer.shortcuts[name].gradient)]);
  const head = build("thead", {}, [build("tr", {}, ["parameter", "examples"]
    .map((name) => build("th", { scope: "col" }, [name])).concat(Object.entries({ truth: "mean", ...SHORTCUTS })
      .map(([tone, name]) => build("th", { scope: "col", class: `number ${tone}` }, [name]))))]);
  const rows = flat(answer.mean_gradient).map(({ name, value }, k) => {
    const numbers = each.map((one) => one[k].value);
    const shortcuts = theirs.map(([kind, all]) => [kind, all[k].value]);
    return build("tr", { class: name === picked ? "picked" : "" }, [
      build("th", { scope: "row" }, [name]),
      build("td", { class: "strip" }, [strip(numbers, value, shortcuts)]),
      build("td", { class: "number truth" }, [signed(value)]),
      ...shortcuts.map(([kind, one]) =>
        build("td", { class: `number ${kind}${same(one, value) ? "" : " off"}` }, [signed(one)]))]);
  });
  table.style.setProperty("--rows", rows.length);
  table.replaceChildren(head, build("tbody", {}, rows));
}

// Its scale is its own, and has 0 in the middle.
function strip(numbers, mean, shortcuts) {
  const largest = Math.max(...[...numbers, mean, ...shortcuts.map(([, one]) => one)].map(Math.abs)) || 1;
  const x = (value) => 100 + (92 * value) / largest;
  const tick = (value, tone, low, high) =>
    draw("line", { class: tone, x1: x(value), x2: x(value), y1: low, y2: high });
  return draw("svg", { viewBox: "0 0 200 24", role: "img",
    "aria-label": `by example: ${numbers.map(signed).join(", ")}` }, [
    draw("line", { class: "base", x1: 4, x2: 196, y1: 12, y2: 12 }),
    draw("line", { class: "base", x1: 100, x2: 100, y1: 5, y2: 19 }),
    ...numbers.map((value) => draw("circle", { class: "one", cx: x(value), cy: 12, r: 4 })),
    tick(mean, "truth", 1, 23),
    ...shortcuts.map(([kind, value], k) => tick(value, kind, [1, 12][k], [12, 23][k]))]);
}
