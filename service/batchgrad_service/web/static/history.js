// A job's steps and evaluations: fetched once, then extended.

import { locate } from "./service.js";

const POINTS = 300; // of the first request: about as many as a chart has pixels
const MAX_ROWS = 2000;

export class History {
  constructor(job) {
    this.path = locate(`v1/jobs/${job}`);
    this.rows = [];
    this.evaluations = [];
  }

  async load() {
    const thinned = `events?type=evaluation&max_points=${POINTS}`;
    const [steps, evaluations] = await Promise.all([
      this.read(`steps?max_points=${POINTS}`), this.read(thinned),
    ]);
    this.rows = steps;
    this.evaluations = evaluations.map((event) => event.data);
  }

  // Fetch the steps after the last known one, thinned if they are many.
  async append() {
    const last = this.rows.at(-1)?.step ?? 0;
    this.rows.push(...(await this.read(`steps?after=${last}&max_points=200`)));
    this.rows = halved(this.rows);
  }

  evaluated(evaluation) {
    const last = this.evaluations.at(-1);
    if (last && evaluation.step <= last.step) return; // sent again after a restart
    this.evaluations.push(evaluation);
    this.evaluations = halved(this.evaluations);
  }

  async read(what) {
    const answer = await fetch(`${this.path}/${what}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new TypeError(`${what}: ${answer.status}`);
    return (await answer.json()).data;
  }
}

// Every second row if there are too many, always with the last.
const halved = (rows) =>
  rows.length <= MAX_ROWS ? rows : rows.filter((_, index) => (rows.length - 1 - index) % 2 === 0);
