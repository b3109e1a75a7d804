// The charts of a job's page, from its history. The page has an element for each.

import { changed, chart, colour } from "./charts.js";
import { isLine, lineOf, logAxis, scaled } from "./lines.js";
import { number, percent, whole } from "./numbers.js";

const PHASES = { shard: "phase-1", compute: "truth", reduce: "phase-2", update: "phase-3",
  compare: "still", checkpoint: "bad" };
const { batchSize, budget, normBounds } = document.getElementById("charts").dataset;
const bounds = JSON.parse(normBounds);
const steps = { title: { text: "step" }, tickformat: ",d", hoverformat: ",.0f" };
const dashed = (name, value, history, tone = "still") => ({
  name, tone, dash: "dash", x: [history.rows[0].step, history.rows.at(-1).step], y: [value, value],
});

export function defineCharts(history) {
  const last = () => history.last;
  const shortcuts = () => Object.keys(last()?.shortcuts ?? {});
  const evaluated = (figure, show) => {
    const known = history.evaluations.filter((one) => (one[figure] ?? null) !== null);
    return { name: "validation", tone: "validation", show,
      x: known.map((one) => one.step), y: known.map((one) => one[figure]) };
  };

  // `lines()` gives the lines; `keep`: what is told counts also where no line has a point.
  function chartLines(id, lines, { yaxis = () => ({}), told, keep } = {}) {
    chart(id, () => {
      const shown = last() ? lines().filter((line) => isLine(line) || line.note) : [];
      if (!shown.some(isLine) && !(keep && last())) return null;
      return { lines: shown, told: told?.(), layout: { xaxis: steps, yaxis: yaxis(shown) } };
    });
  }

  chartLines("loss", () => [
    lineOf(history, "loss", "training", "truth"), evaluated("validation_loss"),
  ], { yaxis: scaled("loss", changed), told: () => (history.buckets.width > 1
    ? `Line: the mean of ${whole(history.buckets.width)} steps each; band: from the smallest to the largest.` : "") });

  // A log scale cannot show 0, which an exact shortcut has: the legend tells it.
  const gap = (name) => {
    const line = lineOf(history, `shortcuts.${name}.relative_error`, name, name);
    return { ...line, note: isLine(line) && line.y.every((value) => value === 0) ? "0, exact" : "" };
  };
  chartLines("gap", () => {
    const lines = shortcuts().map(gap);
    return lines.some(isLine) ? [...lines, dashed("1, no step at all", 1, history)] : lines;
  }, { yaxis: scaled("gap", changed) });
  chartLines("cosine", () => shortcuts().map((name) =>
    lineOf(history, `shortcuts.${name}.cosine_similarity`, name, name)));

  for (const { id, dataset } of document.querySelectorAll("[data-figure]:not(#loss)")) {
    const yaxis = (lines) => (dataset.log === "true" ? logAxis(lines) : { rangemode: "tozero" });
    const ofFigure = () => [lineOf(history, id, dataset.figure, "truth")];
    if (id === "noise_scale") chartLines(id, () => withBatchSize(ofFigure()), { yaxis, told: undetermined, keep: true });
    else chartLines(id, ofFigure, { yaxis });
  }
  function withBatchSize([line]) {
    const size = Number(batchSize);
    return size && isLine(line) ? [line, dashed(`batch size ${whole(size)}`, size, history)] : [line];
  }
  function undetermined() {
    const [known, every] = history.share("noise_scale");
    if (known === every) return "";
    const part = known ? percent(Math.max((every - known) / every, 0.01)) : "all";
    return `Undetermined in ${part === "all" ? "all steps" : `${part} of the steps`}.`;
  }

  chartLines("accuracy", () => [
    evaluated("validation_accuracy", (value) => percent(value, 2)),
  ], { yaxis: () => ({ tickformat: ".0%" }) });
  chartLines("r2", () => [evaluated("validation_r2")]);
  chartLines("epsilon", () => {
    const spent = lineOf(history, "epsilon", "ε spent", "truth");
    return budget && isLine(spent) ? [spent, dashed("budget", Number(budget), history)] : [spent];
  }, { yaxis: () => ({ rangemode: "tozero" }) });

  const total = (row) => Object.values(row.phases).reduce((sum, seconds) => sum + (seconds ?? 0), 0);
  chartLines("phases", () => {
    const rows = history.rows.filter((row) => total(row) > 0);
    return Object.entries(PHASES).map(([phase, tone]) => ({
      name: phase, tone, x: rows.map((row) => row.step), show: percent,
      y: rows.some((row) => row.phases[phase]) ? rows.map((row) => (row.phases[phase] ?? 0) / total(row)) : [],
      more: { stackgroup: "phases", line: { width: 0.5, color: colour(tone) } },
    })).map((line) => (isLine(line) ? line : { ...line, x: [] }));
  }, {
    yaxis: () => ({ range: [0, 1], tickformat: ".0%" }),
    told: () => (last() && total(last()) > 0 ? `The last step took ${number(1000 * total(last()))} ms, `
      + `a step on average ${number(1000 * averageSeconds(history))} ms.` : ""),
  });

  const layersOf = document.getElementById("layers-of");
  layersOf?.addEventListener("change", changed);
  chart("layers", () => {
    for (const name of shortcuts()) {
      if (![...layersOf.options].some((option) => option.value === name)) layersOf.add(new Option(name));
    }
    const layers = last()?.shortcuts[layersOf.value]?.layers;
    if (!layers) return null;
    const bar = (name, tone) => ({
      type: "bar", name, x: layers.map((layer) => layer.name),
      y: layers.map((layer) => layer[`${name}_norm`]), marker: { color: colour(tone) },
    });
    return {
      traces: [bar("covariance", "averaged_error"), bar("propagation", "mean_example")],
      layout: { barmode: "group", xaxis: { type: "category", title: { text: `layer, at step ${whole(last().step)}` } } },
    };
  });
  chart("norms", () => {
    const counts = last()?.norms?.histogram ?? [];
    const first = counts.findIndex((count) => count > 0);
    if (first < 0) return null;
    const end = counts.findLastIndex((count) => count > 0) + 1;
    const name = (i) => (i < bounds.length ? number(bounds[i]) : "more");
    return {
      traces: [{
        type: "bar", name: "examples", x: counts.slice(first, end).map((_, i) => name(first + i)),
        y: counts.slice(first, end), marker: { color: colour("truth") },
      }],
      layout: { bargap: 0.05, xaxis: { type: "category", automargin: true, title: { text: `‖g‖ up to, at step ${whole(last().step)}` } } },
    };
  });
}

// Over all steps: phases that only some steps have count as they are.
function averageSeconds({ buckets: { figures } }) {
  const sum = (values) => values.reduce((all, one) => all + one, 0);
  const seconds = Object.keys(figures).filter((name) => name.startsWith("phases."))
    .reduce((all, name) => all + sum(figures[name].sum), 0);
  return seconds / sum(figures.step.count);
}
