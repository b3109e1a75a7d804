// A job's steps and evaluations: fetched once, then extended. What an open page has is what a new
// request would give: steps are in buckets on a fixed grid, the newest of which grows.

import { bucketsOf, joined, NONE, upto, widened } from "./buckets.js";
import { locate } from "./service.js";

export class History {
  constructor(job) {
    this.path = locate(`v1/jobs/${job}`);
    this.buckets = NONE;
    this.evaluations = [];
    this.rows = [];
    this.stale = false; // whether steps may have been computed again
  }

  async load() {
    this.stale = false;
    const answer = await this.read("curves").catch((error) => { this.stale = true; throw error; });
    this.buckets = NONE;
    this.evaluations = [];
    this.extend(answer);
  }

  // Fetch the bucket that may have grown, and those after it.
  async append() {
    if (this.stale || this.buckets.index.length === 0) await this.load();
    else this.extend(await this.read(`curves?after=${this.buckets.index.at(-1) * this.buckets.width}`));
  }

  extend(answer) {
    const { width, after, first, last, evaluations } = answer;
    this.first = first ?? this.first;
    this.last = last;
    this.buckets = joined(upto(widened(this.buckets, width), after), bucketsOf(answer));
    const before = this.evaluations.filter((one) => one.step <= after);
    this.evaluations = thinned([...before, ...evaluations], width);
    this.rows = this.rowsOf();
  }

  // Rows like those of GET /v1/jobs/{id}/steps, with the mean of each bucket at the mean of its
  // steps; the first and the last one are the very rows of these steps.
  rowsOf() {
    if (!this.last) return [];
    const { width, index, figures } = this.buckets;
    const means = index.map((_, i) => {
      const row = { shortcuts: {}, phases: {} };
      for (const [name, one] of Object.entries(figures)) {
        put(row, name.split("."), meanOf(name, one, i, figures.step.count[i]));
      }
      row.time = new Date(row.time * 1000).toISOString();
      return row;
    });
    return width === 1 ? [...means.slice(0, -1), this.last] : [this.first, ...means, this.last];
  }

  // The extremes of each bucket that has the figure: { x, low, high }.
  band(figure) {
    const { step, [figure]: { count, low, high } = NO_FIGURE } = this.buckets.figures;
    const has = (_, i) => count[i] > 0;
    const x = step?.sum.map((sum, i) => sum / step.count[i]) ?? [];
    return { x: x.filter(has), low: low.filter(has), high: high.filter(has) };
  }

  // The steps that have the figure, and all of them: both as they are stored.
  share(figure) {
    const total = (one) => one?.count.reduce((sum, count) => sum + count, 0) ?? 0;
    return [total(this.buckets.figures[figure]), total(this.buckets.figures.step)];
  }

  async read(what) {
    const answer = await fetch(`${this.path}/${what}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new TypeError(`${what}: ${answer.status}`);
    const found = await answer.json();
    return found.data ?? found;
  }
}

const NO_FIGURE = { count: [], low: [], high: [] };

// Of ε, which never becomes less, a bucket has its last; a phase counts as 0 in a step without it.
function meanOf(name, { sum, count, high }, i, rows) {
  if (count[i] === 0) return null;
  if (name === "epsilon") return high[i];
  return sum[i] / (name.startsWith("phases.") ? rows : count[i]);
}

function put(row, path, value) {
  const at = path.slice(0, -1).reduce((inside, key) => (inside[key] ??= {}), row);
  at[path.at(-1)] = value;
}

// The first evaluation, and the last one of each bucket.
function thinned(evaluations, width) {
  const bucket = (one) => Math.floor((one.step - 1) / width);
  return evaluations.filter((one, i) =>
    i === 0 || i === evaluations.length - 1 || bucket(one) !== bucket(evaluations[i + 1]));
}
