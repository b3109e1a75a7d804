// The curves of several jobs, a line for each in its colour of the table.

import { changed, chart } from "./charts.js";
import { elapsed, unitOf } from "./elapsed.js";
import { decades, isLine, lineOf, logAxis, scaled } from "./lines.js";
import { percent } from "./numbers.js";

const COLOURS = 10; // then the same ones again, dotted
const FEW = 6; // of more jobs bands would hide each other

// The horizontal axes: Plotly's axis, and the places of a job's steps.
const AXES = {
  step: () => [{ title: { text: "step" }, tickformat: ",d", hoverformat: ",.0f" }, () => (step) => step],
  epoch: () => [{ title: { text: "epoch" } }, (job) => (step) => step / (job.stepsPerEpoch || 1)],
  time: (jobs) => {
    const times = new Map(jobs.map((job) => [job, elapsed(job.history.rows)]));
    const ends = jobs.map((job) => times.get(job)(job.history.rows.at(-1)?.step ?? 0));
    const [unit, seconds] = unitOf(Math.max(...ends));
    return [{ title: { text: `time, ${unit}` } }, (job) => (step) => times.get(job)(step) / seconds];
  },
};

// `jobs()` gives { name, series, stepsPerEpoch, history } of each.
export function defineCurves(jobs) {
  const gapOf = document.getElementById("gap-of");
  gapOf?.addEventListener("change", changed);
  // `of` gives a job's line by step.
  function curves(id, of, axisOf = (lines) => (decades(lines) > 2 ? logAxis(lines) : {})) {
    chart(id, () => {
      const shown = jobs();
      const [xaxis, places] = AXES[document.querySelector('[name="by"]:checked').value](shown);
      const lines = shown.map((job) => laid(of(job), job, places(job), shown.length)).filter(isLine);
      if (lines.length === 0) return null;
      const hovermode = lines.length > FEW ? "closest" : "x unified";
      return { lines, layout: { hovermode, xaxis, yaxis: axisOf(lines) } };
    });
  }

  curves("loss", ({ history }) => lineOf(history, "loss"), scaled("loss", changed));
  curves("gap", ({ history }) => {
    const name = gapOf?.value ?? Object.keys(history.last?.shortcuts ?? {})[0];
    return lineOf(history, `shortcuts.${name}.relative_error`);
  }, scaled("gap", changed));
  curves("validation_loss", evaluated("validation_loss"));
  curves("accuracy", evaluated("validation_accuracy", (value) => percent(value, 2)), () => ({ tickformat: ".0%" }));
  curves("r2", evaluated("validation_r2"), () => ({}));
}

// Of many curves let one job's stand out, or none. Plotly puts a trace's uid into its class.
export function emphasizeCurve(series) {
  for (const trace of document.querySelectorAll(".many .plot .trace")) {
    trace.classList.toggle("faint", series !== null && !trace.classList.contains(`trace${uid(series)}`));
  }
}
const uid = (series) => `series-${series}`;

function evaluated(figure, show) {
  return ({ history }) => {
    const known = history.evaluations.filter((one) => (one[figure] ?? null) !== null);
    return { x: known.map((one) => one.step), y: known.map((one) => one[figure]), show };
  };
}

function laid(line, { name, series }, place, many) {
  const { low, high, ...rest } = line;
  return {
    ...rest, ...(many <= FEW && { low, high }), name, tone: `series-${series % COLOURS}`,
    x: line.x.map(place), dash: series < COLOURS ? undefined : "dot",
    more: { uid: uid(series) },
  };
}
