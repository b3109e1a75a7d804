// The parameter with the largest gap, and what its gap consists of.

import { build, signed } from "./elements.js";
import { flat } from "./networks.js";

// Equal up to rounding.
export const same = (one, other) => Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(other));

// Where averaging the errors first is off most; if nowhere, the largest gradient.
export function widest(answer) {
  const theirs = flat(answer.shortcuts.averaged_error.gradient);
  const all = flat(answer.mean_gradient).map((one, i) => (
    { ...one, shortcut: theirs[i].value, gap: same(theirs[i].value, one.value) ? 0 : Math.abs(theirs[i].value - one.value) }));
  const larger = (one, best) => one.gap > best.gap * (1 + 1e-9)
    || (one.gap === best.gap && Math.abs(one.value) > Math.abs(best.value) * (1 + 1e-9));
  return all.reduce((best, one) => (larger(one, best) ? one : best));
}

// The sentence, and what is to be said about all parameters.
export function sentences(answer) {
  const { name, value, shortcut, gap } = widest(answer);
  if (gap === 0) return ["Averaging the errors first is exact for these examples.", `At ${name} both ways give ${signed(value)}.`];
  const error = answer.shortcuts.averaged_error.relative_error;
  return [`At ${name} the gradient is ${signed(value)}; averaging the errors first gives ${signed(shortcut)}.`,
    error === null ? "" : `Over all parameters it is off by ${signed(Number((100 * error).toPrecision(3)))}% of the gradient.`];
}

// mean(δ·a) = mean(δ)·mean(a) + Cov(δ, a). The shortcut has δ̃ in place of mean(δ) where the slopes
// above were taken at the mean input. `inputs` are the layer's inputs (n, in).
export function terms(answer, weights, { layer, out, input, value, shortcut }, inputs) {
  const total = weights.reduce((sum, one) => sum + one, 0);
  const mean = (values) => values.reduce((sum, one, n) => sum + (weights[n] * one) / total, 0);
  const errors = answer.per_example.map((one) => one[`${layer}.bias`][out]);
  const factors = inputs.map((row) => (input === null ? 1 : row[input]));
  const error = mean(errors), factor = mean(factors);
  const arriving = answer.shortcuts.averaged_error.gradient[`${layer}.bias`][out];
  return {
    exact: value, shortcut, error, factor, arriving,
    product: error * factor,
    covariance: mean(errors.map((one, n) => (one - error) * (factors[n] - factor))),
    propagation: (error - arriving) * factor,
  };
}

export function show(box, title, parameter, found) {
  title.textContent = parameter.name;
  const cell = (formula, key, words, tone = "") => build("div", { class: `term ${tone === "lost" && found[key] === 0 ? "" : tone}` }, [
    build("span", { class: "formula" }, [formula]),
    build("span", { class: "value", "data-term": key, "data-value": found[key] }, [signed(found[key])]),
    build("span", { class: "words" }, [words])]);
  const sign = (text) => build("span", { class: "sign" }, [text]);
  const bias = parameter.input === null;
  box.replaceChildren(
    build("div", { class: "equation" }, [
      cell("mean(δ·a)", "exact", "the gradient", "truth"), sign("="),
      cell("mean(δ)·mean(a)", "product", `${signed(found.error)} · ${signed(found.factor)}`), sign("+"),
      cell("Cov(δ, a)", "covariance", "lost by averaging", "lost")]),
    build("div", { class: "equation" }, [
      cell("gradient", "exact", "", "truth"), sign("="),
      cell("shortcut", "shortcut", `${signed(found.arriving)} · ${signed(found.factor)}`, "averaged_error"), sign("+"),
      cell("covariance", "covariance", "", "lost"), sign("+"),
      cell("propagation", "propagation", "", "lost")]),
    build("p", { class: "hint" }, [explanation(bias, found)]));
}

function explanation(bias, found) {
  const factors = bias ? "; a is 1 for a bias, so there is no covariance." : ", a the input that the weight multiplies.";
  const arrived = same(found.arriving, found.error)
    ? "Averaging first keeps mean(δ): no propagation."
    : `Averaging first takes slopes at the mean input: δ arrives as ${signed(found.arriving)}, not ${signed(found.error)}.`;
  return `δ is an example's error at the layer's output${factors} ${arrived}`;
}
