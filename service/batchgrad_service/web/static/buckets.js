// Buckets of steps on a fixed grid, as GET /v1/jobs/{id}/curves gives them, and as the service
// merges them (step_blocks/grid.py): so what is merged here is what a new request would give.
// { width, index, figures: { loss: { sum, count, low, high }, … } }, where `index` has the numbers
// of the buckets that there are, ascending.

export const NONE = { width: 1, index: [], figures: {} };

export function bucketsOf({ width, figures }) {
  return { width, index: (figures.step?.low ?? []).map((step) => Math.floor((step - 1) / width)), figures };
}

const mapped = (figures, change) =>
  Object.fromEntries(Object.entries(figures).map(([name, one]) => [name, change(one, name)]));

// The same steps in wider buckets; `width` is a larger power of two.
export function widened(buckets, width) {
  let found = buckets;
  while (found.width < width) found = merged(found);
  return found;
}

function merged({ width, index, figures }) {
  const halves = index.map((one) => Math.floor(one / 2));
  const first = halves.flatMap((half, i) => (half === halves[i - 1] ? [] : [i]));
  const second = (i) => halves[i + 1] === halves[i];
  const pairs = (values, of) => first.map((i) => (second(i) ? of(values[i], values[i + 1]) : values[i]));
  const add = (one, other) => one + other;
  const extreme = (of) => (one, other) => (one === null ? other : other === null ? one : of(one, other));
  return {
    width: 2 * width,
    index: first.map((i) => halves[i]),
    figures: mapped(figures, ({ sum, count, low, high }) => ({
      sum: pairs(sum, add), count: pairs(count, add),
      low: pairs(low, extreme(Math.min)), high: pairs(high, extreme(Math.max)),
    })),
  };
}

// The buckets up to step `step`, a multiple of their width.
export function upto({ width, index, figures }, step) {
  const end = index.filter((one) => one < step / width).length;
  const cut = (values) => values.slice(0, end);
  return { width, index: cut(index), figures: mapped(figures, (one) => mapped(one, cut)) };
}

// Two parts of the same width, one after the other.
export function joined(one, other) {
  const empty = (n) => ({
    sum: Array(n).fill(0), count: Array(n).fill(0), low: Array(n).fill(null), high: Array(n).fill(null),
  });
  const figures = mapped({ ...one.figures, ...other.figures }, (_, name) => {
    const before = one.figures[name] ?? empty(one.index.length);
    const after = other.figures[name] ?? empty(other.index.length);
    return mapped(before, (values, key) => values.concat(after[key]));
  });
  return { width: one.width, index: one.index.concat(other.index), figures };
}
