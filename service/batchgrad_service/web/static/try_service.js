// What the service computes for this page, all of it by POST /v1/gradients.

import { shapes } from "./networks.js";
import { locate } from "./service.js";

export class Refused extends Error {
  constructor(detail, status) {
    super(detail);
    this.invalid = status === 422; // the request itself is wrong, such as numbers that overflow
  }
}

export async function gradients({ layers, loss, inputs, targets, weights, parameters }, more = {}) {
  const request = {
    model: { layers }, loss, inputs, weights, parameters,
    targets: targets[0].length === 1 ? targets.map(([one]) => one) : targets, ...more,
  };
  let reply, answer;
  try {
    reply = await fetch(locate("v1/gradients"), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
    });
    answer = await reply.json();
  } catch {
    throw new Refused("The service does not answer. Change a number to ask again.", 0);
  }
  if (!reply.ok) throw new Refused(answer.detail, reply.status);
  return answer;
}

// The outputs (n, out) of `layers`. A layer that passes them on is added, with the squared error of
// targets 0: the gradient of its bias is 2 · output.
export async function outputs(layers, parameters, inputs) {
  if (layers.length === 0) return inputs;
  const { width, parameters: known } = shapes({ layers, inputs });
  const own = Object.fromEntries(Object.keys(known).map((name) => [name, parameters[name]]));
  const added = layers.length, zeros = new Array(width).fill(0);
  const { per_example: each } = await gradients({
    layers: [...layers, { kind: "linear", out_features: width }], loss: "squared_error", inputs,
    targets: inputs.map(() => zeros), weights: inputs.map(() => 1),
    parameters: {
      ...own, [`${added}.bias`]: zeros,
      [`${added}.weight`]: zeros.map((_, i) => zeros.map((_, j) => Number(i === j))),
    },
  }, { per_example: true });
  return each.map((one) => one[`${added}.bias`].map((value) => value / 2));
}
