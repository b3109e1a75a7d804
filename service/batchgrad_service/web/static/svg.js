// Drawings in SVG whose lengths are pixels, with axes; colours and type come from the style sheet.

import { number } from "./numbers.js";

export function draw(tag, attributes = {}, children = []) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const path = (points) =>
  points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// Some `count` round numbers, at most half as many again, from `low` to `high`.
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough * 0.7);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 },
    (_, k) => Number(((first + k) * step).toPrecision(12)));
}

// A range around `values` that ends at round numbers.
export function around(values, least = 1) {
  const low = Math.min(...values), high = Math.max(...values);
  const pad = Math.max((high - low) * 0.15, least / 2);
  const all = ticks(low - pad, high + pad, 6), step = all[1] - all[0];
  return [all[0] > low - pad ? all[0] - step : all[0], all.at(-1) < high + pad ? all.at(-1) + step : all.at(-1)];
}

export class Axes {
  // Draw axes in `svg`'s first group, whose content is replaced; `back` takes what is drawn, cut
  // off at the axes, `front` what may pass them.
  constructor(svg, { x, y, xTitle, yTitle, log = false }) {
    const { width, height } = svg.getBoundingClientRect();
    const em = parseFloat(getComputedStyle(svg).fontSize);
    Object.assign(this, { svg, xRange: x, yRange: log ? y.map(Math.log10) : y, log });
    this.left = 4.2 * em;
    this.right = width - 0.8 * em;
    this.top = 0.8 * em;
    this.bottom = height - 2.9 * em;
    this.em = em;
    const [gx, gy] = [(this.right - this.left) / (4.5 * em), (this.bottom - this.top) / (1.9 * em)];
    const grid = draw("g", { class: "axes" });
    for (const value of ticks(...x, Math.max(2, Math.min(8, gx)))) {
      grid.append(draw("line", { x1: this.x(value), x2: this.x(value), y1: this.top, y2: this.bottom }),
        draw("text", { x: this.x(value), y: this.bottom + 1.25 * em, class: "middle" }, [number(value)]));
    }
    for (const value of this.#yTicks(Math.max(2, Math.min(6, gy)))) {
      grid.append(draw("line", { x1: this.left, x2: this.right, y1: this.y(value), y2: this.y(value) }),
        draw("text", { x: this.left - 0.4 * em, y: this.y(value) + 0.35 * em, class: "end" }, [number(value)]));
    }
    grid.append(draw("text", { x: (this.left + this.right) / 2, y: height - 0.3 * em, class: "middle" }, [xTitle]),
      draw("text", { transform: `translate(${0.8 * em} ${(this.top + this.bottom) / 2}) rotate(-90)`, class: "middle" }, [yTitle]));
    this.back = draw("svg", { x: this.left, y: this.top,
      width: Math.max(0, this.right - this.left), height: Math.max(0, this.bottom - this.top),
      viewBox: `${this.left} ${this.top} ${Math.max(1, this.right - this.left)} ${Math.max(1, this.bottom - this.top)}` });
    this.front = draw("g");
    svg.firstElementChild.replaceChildren(grid, this.back, this.front);
    svg.dataset.drawn = performance.now();
  }

  #yTicks(count) {
    if (!this.log) return ticks(...this.yRange, count);
    const [low, high] = [Math.ceil(this.yRange[0]), Math.floor(this.yRange[1])];
    const step = Math.max(1, Math.ceil((high - low) / count));
    const powers = [];
    for (let power = low; power <= high; power += step) powers.push(10 ** power);
    return powers;
  }

  x(value) {
    const [low, high] = this.xRange;
    return this.left + ((value - low) / (high - low)) * (this.right - this.left);
  }

  y(value) {
    const [low, high] = this.yRange;
    const at = ((this.log ? Math.log10(value) : value) - low) / (high - low);
    return this.bottom - Math.max(-50, Math.min(50, at)) * (this.bottom - this.top);
  }

  // The numbers at a position of the window, within the axes.
  at(clientX, clientY) {
    const box = this.svg.getBoundingClientRect();
    const within = (share) => Math.max(0, Math.min(1, share));
    const across = within((clientX - box.left - this.left) / (this.right - this.left));
    const up = within((this.bottom - (clientY - box.top)) / (this.bottom - this.top));
    return [this.xRange[0] + across * (this.xRange[1] - this.xRange[0]),
      this.yRange[0] + up * (this.yRange[1] - this.yRange[0])];
  }
}
