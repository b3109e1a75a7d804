// A chart's data as a table, for screen readers: about twenty rows, with the first and the last.

import { build } from "./elements.js";
import { valueAt } from "./lines.js";
import { number, whole } from "./numbers.js";

const ROWS = 20;

export function tabulate({ lines, traces, layout }) {
  const columns = lines?.filter((line) => line.y.length > 0) ?? traces;
  const title = layout.xaxis?.title?.text ?? "";
  const places = lines ? places_of(columns) : columns[0]?.x ?? [];
  const head = [title, ...columns.map((column) => column.name)]
    .map((name, i) => build("th", { scope: "col", class: i ? "number" : "" }, [name]));
  const rows = places.map((x) => build("tr", {}, [
    build("th", { scope: "row" }, [typeof x === "number" ? place(x) : x]),
    ...columns.map((column) => build("td", { class: "number" }, [cell(column, x, Boolean(lines))])),
  ]));
  return build("table", {}, [build("thead", {}, [build("tr", {}, head)]), build("tbody", {}, rows)]);
}

function places_of(lines) {
  const every = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  if (every.length <= ROWS) return every;
  return Array.from({ length: ROWS }, (_, i) => every[Math.round((i * (every.length - 1)) / (ROWS - 1))]);
}

// Steps are whole, but not the means of a few; epochs and times are not.
const place = (x) => (Number.isInteger(x) || x >= 1000 ? whole(x) : number(x));

// A line's newest value at a step, up to its last; of a bar its own.
function cell(column, at, isLine) {
  const { x } = column;
  if (isLine && at > x.at(-1)) return "";
  const i = isLine ? x.findLastIndex((step) => step <= at) : x.indexOf(at);
  return i < 0 ? "" : valueAt(column, i);
}
