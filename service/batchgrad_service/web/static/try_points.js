// Examples as points that the mouse, a finger or the arrow keys move.

import { draw } from "./svg.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const round = (value, step = 0.01) => Number((Math.round(value / step) * step).toFixed(2));

// In `group`, on `axes()`, those last drawn; `moved(n, x, y)` is told every new place of
// point n, and answers the { x, y } that it may have, or nothing: then it stays.
export class Points {
  constructor(group, axes, moved) {
    this.group = group;
    this.axes = axes;
    this.moved = moved;
    this.elements = [];
    this.dragged = null;
  }

  // Draw `points` [{ x, y, tone }]; elements stay, so that focus and drag go on.
  show(points, names) {
    const axes = this.axes();
    for (let n = this.elements.length; n < points.length; n += 1) this.elements.push(this.#make(n));
    for (const element of this.elements.splice(points.length)) element.remove();
    this.points = points;
    this.names = names;
    this.elements.forEach((element, n) => {
      element.setAttribute("class", `point ${points[n].tone ?? ""}`);
      element.setAttribute("aria-label", `Example ${n + 1}`);
      element.firstChild.setAttribute("r", Math.max(14, axes.em));
      element.lastChild.setAttribute("r", 0.42 * axes.em);
      this.#place(n);
    });
  }

  #place(n) {
    const axes = this.axes(), { x, y } = this.points[n];
    this.elements[n].setAttribute("transform", `translate(${axes.x(x)} ${axes.y(y)})`);
    this.elements[n].setAttribute("aria-valuenow", y);
    this.elements[n].setAttribute("aria-valuetext", `${this.names[0]} ${x}, ${this.names[1]} ${y}`);
  }

  // Now, and not only when the answer is there, so that the next key starts from here.
  #move(n, x, y) {
    Object.assign(this.points[n], this.moved(n, x, y));
    this.#place(n);
  }

  #make(n) {
    const element = draw("g", { tabindex: 0, role: "slider" },
      [draw("circle", { class: "reach" }), draw("circle", { class: "dot" })]);
    this.group.append(element);
    let changed = false; // since the pointer went down
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      this.dragged = n;
      changed = false;
    });
    element.addEventListener("pointermove", (event) => {
      if (this.dragged !== n) return;
      changed = true;
      const [x, y] = this.axes().at(event.clientX, event.clientY);
      this.#move(n, round(x, 0.05), round(y, 0.05));
    });
    const end = () => {
      if (this.dragged !== n) return;
      this.dragged = null;
      if (changed) this.#move(n, this.points[n].x, this.points[n].y); // the axes may follow
    };
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
    element.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      const size = event.shiftKey ? 1 : 0.1, { x, y } = this.points[n];
      this.#move(n, round(x + step[0] * size), round(y + step[1] * size));
    });
    return element;
  }
}
