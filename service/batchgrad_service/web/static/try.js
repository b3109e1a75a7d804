// Examples and a network to edit; POST /v1/gradients computes their gradients.

import { build, signed } from "./elements.js";
import { atMostEvery } from "./live.js";
import { flat, PRESETS } from "./networks.js";
import * as editor from "./try_editor.js";
import * as equation from "./try_equation.js";
import * as link from "./try_link.js";
import * as plot from "./try_plot.js";
import * as race from "./try_race.js";
import { gradients, outputs, Refused } from "./try_service.js";
import * as strips from "./try_strips.js";

const at = (id) => document.getElementById(id);
const LOSSES = Object.fromEntries([...at("loss").options].map((one) => [one.value, one.dataset]));
const KINDS = [...at("layer-kinds").content.children].map((one) => one.textContent);

let state = null, large = false;
let answer = null, found = null; // of the state that was last computed,
let shown = null, shape = 0; // which this is, and `built` at that time
let running = null; // the race
let built = 0, edits = 0; // how often shapes changed, and anything

const loss = () => LOSSES[state.loss];

function remember() {
  history.replaceState(null, "", `${location.pathname}${link.write(state, large)}${location.hash}`);
}

// A drag or a key held down edits far more often than browsers let the address change.
const rememberSoon = atMostEvery(500, remember);

// While `true`, no race can be started: the answer is not that of the setup.
function wait(now) {
  for (const button of [at("step"), at("train")]) button.setAttribute("aria-disabled", now);
}

function edited() {
  edits += 1;
  wait(true);
  if (running) running.cancelled = true;
  running = null;
  if (edits > 1) { // what the page opens with is not an edit
    at("wrong-link").hidden = true;
    rememberSoon();
  }
  compute();
}

function rebuilt() {
  built += 1;
  editor.fit(state, loss());
  at("loss").value = state.loss;
  at("rate").value = state.rate;
  at("preset").value = state.preset;
  editor.keepFocus(() => {
    editor.showExamples(state, loss(), { edited, rebuilt });
    editor.showNetwork(state, { edited, rebuilt });
  });
  edited();
}

plot.listen((n, x, y) => {
  if (shape !== built) return undefined; // the plot shows another setup; the point stays
  const probability = loss().targets === "probability" && !plot.isPlane(state);
  const place = { x, y: probability ? Math.max(0, Math.min(1, y)) : y };
  if (plot.isPlane(state)) state.inputs[n] = [place.x, place.y];
  else [state.inputs[n][0], state.targets[n][0]] = [place.x, place.y];
  editor.showExamples(state, loss(), { edited, rebuilt });
  edited();
  return place;
});

const compute = atMostEvery(40, async () => {
  const before = built, last = edits, sent = structuredClone(state);
  try {
    const [now, model] = await Promise.all([gradients(sent, { per_example: true }), plot.prepare(sent, loss())]);
    const parameter = equation.widest(now);
    const inputs = await outputs(sent.layers.slice(0, parameter.layer), sent.parameters, sent.inputs);
    if (built !== before) return; // shapes changed since, and it is computed again
    [answer, found, shown, shape] = [now, model, sent, built];
    equation.show(at("equation"), at("equation-of"), parameter, equation.terms(now, sent.weights, parameter, inputs));
    equation.sentences(now).forEach((text, k) => { at("summary").children[k].textContent = text; });
    strips.show(at("strips"), now, parameter.name);
    showNumbers();
    showRace();
    at("refused").hidden = true;
    if (edits === last) wait(false);
  } catch (error) {
    refuse(error);
  }
});

function refuse(error) {
  if (!(error instanceof Refused)) throw error;
  at("refused").hidden = false;
  at("refused").textContent = error.message;
}

// Every example's gradient, and what is made of them.
function showNumbers() {
  const truth = flat(answer.mean_gradient);
  const row = (title, gradient) => build("tr", {}, [build("th", { scope: "row" }, [title]),
    ...flat(gradient).map(({ value }) => build("td", { class: "number" }, [signed(value)]))]);
  at("gradients").replaceChildren(
    build("thead", {}, [build("tr", {}, ["", ...truth.map(({ name }) => name)]
      .map((name) => build("th", { scope: "col", class: "number" }, [name])))]),
    build("tbody", {}, [...answer.per_example.map((one, n) => row(`example ${n + 1}`, one)),
      row("mean gradient", answer.mean_gradient),
      ...Object.keys(strips.SHORTCUTS).map((name) => row(name, answer.shortcuts[name].gradient))]));
}

function showRace() {
  const runners = running?.runners ?? [];
  // Points may be ahead of the answer, other shapes may not: their answer can be a refusal.
  plot.show(shape === built ? state : shown, found, Object.fromEntries(runners.map(({ name, curve }) => [name, curve])));
  race.show(at("losses"), runners.length ? runners : [{ name: "mean", losses: [answer.loss] }]);
  if (!running) at("race-summary").textContent = "";
}

async function train(count) {
  if (at("train").getAttribute("aria-disabled") === "true") return;
  wait(true);
  running ??= new race.Race(structuredClone(state), answer, showRace);
  const own = running, last = edits;
  try {
    await own.train(count, (parameters) => plot.curve(own.state, LOSSES[own.state.loss], parameters));
    if (!own.cancelled) at("race-summary").textContent = own.sentence();
  } catch (error) {
    refuse(error);
  } finally {
    if (edits === last) wait(false);
  }
}

function resize() {
  document.documentElement.dataset.size = large ? "large" : "normal";
  at("presenter").setAttribute("aria-pressed", large);
}

at("preset").replaceChildren(...Object.keys(PRESETS).map((name) => build("option", {}, [name])));
at("preset").addEventListener("change", () => { state = link.preset(at("preset").value); rebuilt(); });
at("reset").addEventListener("click", () => { state = link.preset(state.preset); rebuilt(); });
at("loss").addEventListener("change", () => { state.loss = at("loss").value; rebuilt(); });
at("rate").addEventListener("input", () => {
  if (at("rate").value === "" || !at("rate").validity.valid) return;
  state.rate = Number(at("rate").value);
  edited();
});
at("add-example").addEventListener("click", () => {
  state.inputs.push(state.inputs.at(-1).map((value) => value + 1));
  state.targets.push([...state.targets.at(-1)]);
  state.weights.push(1);
  rebuilt();
});
at("add-layer").addEventListener("click", () => { state.layers.push({ kind: "tanh" }); rebuilt(); });
at("train").addEventListener("click", () => train(50));
at("step").addEventListener("click", () => train(1));
at("presenter").addEventListener("click", () => { large = !large; resize(); remember(); });
at("show-numbers").addEventListener("click", () => at("numbers").showModal());
at("copy").addEventListener("click", async () => {
  let copied = "Copied";
  if (edits > 1) remember();
  try { await navigator.clipboard.writeText(location.href); } catch { copied = "It is in the address bar"; }
  at("copied").textContent = copied;
});
new ResizeObserver(() => { if (answer) showRace(); }).observe(at("charts"));

const opened = link.read(location.search, LOSSES, KINDS);
({ state, large } = opened);
resize();
rebuilt();
at("wrong-link").textContent = opened.wrong ?? "";
at("wrong-link").hidden = opened.wrong === null;
