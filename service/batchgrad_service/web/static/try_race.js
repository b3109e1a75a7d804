// Train by the mean gradient and by two shortcuts, from the same start at the same learning rate.

import { number } from "./numbers.js";
import { Axes, draw, path } from "./svg.js";
import { gradients, Refused } from "./try_service.js";

const WAYS = {
  mean: { words: "the mean", gradient: (answer) => answer.mean_gradient },
  averaged_error: { words: "averaging the errors first", gradient: (answer) => answer.shortcuts.averaged_error.gradient },
  mean_example: { words: "the mean example", gradient: (answer) => answer.shortcuts.mean_example.gradient },
};
const SPAN = 50; // steps that the chart has room for at first
const CURVE_EVERY = 5; // steps, while it runs
const LOG_FROM = 30; // largest loss : smallest

const descend = (value, gradient, rate) => (Array.isArray(value)
  ? value.map((one, k) => descend(one, gradient[k], rate)) : value - rate * gradient);

export class Race {
  // `answer` is that at the start; `drawn()` is called after each step, and at the end.
  constructor(state, answer, drawn) {
    this.state = state;
    this.drawn = drawn;
    this.steps = 0;
    this.runners = Object.entries(WAYS).map(([name, way]) =>
      ({ name, ...way, parameters: state.parameters, answer, losses: [answer.loss], failed: null }));
    this.cancelled = false;
  }

  // `curveOf(parameters)` gives the model's curve, which `drawn` finds in the runners.
  async train(count, curveOf) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let drawing = null;
    for (let k = 0; k < count; k += 1) {
      await Promise.all(this.runners.map((runner) => this.#step(runner)));
      if (this.cancelled) return;
      this.steps += 1;
      if (still) continue;
      this.drawn();
      if (this.steps % CURVE_EVERY === 0) drawing ??= this.#curves(curveOf).then(() => { drawing = null; });
    }
    await drawing;
    await this.#curves(curveOf);
    if (!this.cancelled) this.drawn();
  }

  async #step(runner) {
    if (runner.failed !== null) return;
    const gradient = runner.gradient(runner.answer);
    const parameters = Object.fromEntries(Object.entries(runner.parameters)
      .map(([name, value]) => [name, descend(value, gradient[name], this.state.rate)]));
    try {
      runner.answer = await gradients({ ...this.state, parameters });
      runner.parameters = parameters;
      runner.losses.push(runner.answer.loss);
    } catch (error) {
      if (!(error instanceof Refused && error.invalid)) throw error;
      runner.failed = this.steps + 1;
    }
  }

  async #curves(curveOf) {
    await Promise.all(this.runners.map(async (runner) => {
      try { runner.curve = await curveOf(runner.parameters); } catch (error) {
        if (!(error instanceof Refused && error.invalid)) throw error; // it stays as it was
      }
    }));
  }

  sentence() {
    const first = this.runners.findIndex(({ failed }) => failed === null);
    const ends = this.runners.map(({ words, losses, failed }, k) => (failed === null
      ? `${words}${k === first ? " has loss" : ""} ${number(losses.at(-1), 3)}` : `${words} diverged at step ${failed}`));
    return `After ${this.steps} ${this.steps === 1 ? "step" : "steps"} ${ends[0]}, ${ends[1]} and ${ends[2]}.`;
  }
}

// The losses by step in `svg`.
export function show(svg, runners) {
  const all = runners.flatMap(({ losses }) => losses), low = Math.min(...all), high = Math.max(...all);
  const log = low > 0 && high / low > LOG_FROM;
  const steps = Math.max(SPAN, ...runners.map(({ losses }) => losses.length - 1));
  const pad = 0.08 * (high - low) || Math.max(0.5, 0.1 * Math.abs(high));
  const y = log ? [low / 1.5, high * 1.5] : [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  const axes = new Axes(svg, { x: [0, steps], y, log, xTitle: "steps", yTitle: log ? "loss (log)" : "loss" });
  for (const { name, losses } of runners) {
    const points = losses.map((loss, step) => [axes.x(step), axes.y(loss)]);
    const [x, end] = points.at(-1);
    axes.back.append(draw("path", { class: `curve ${name}`, d: path(points) }));
    axes.front.append(draw("circle", { class: `end ${name}`, cx: x, cy: end, r: 0.3 * axes.em }));
  }
}
