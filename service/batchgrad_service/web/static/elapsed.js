// A job's time by step, and the unit to show it in.

// The seconds since the first of `rows` after any step, between rows in proportion.
export function elapsed(rows) {
  const times = rows.map((row) => Date.parse(row.time) / 1000);
  return (step) => {
    let low = 0, high = rows.length - 1;
    if (high < 0) return 0;
    while (low < high) { // the first row at the step or after it
      const middle = Math.floor((low + high) / 2);
      if (rows[middle].step < step) low = middle + 1;
      else high = middle;
    }
    const before = Math.max(low - 1, 0);
    const steps = rows[low].step - rows[before].step;
    const part = steps && Math.min((step - rows[before].step) / steps, 1);
    return times[before] + part * (times[low] - times[before]) - times[0];
  };
}

// [unit, its seconds]
export const unitOf = (seconds) =>
  (seconds < 180 ? ["s", 1] : seconds < 10_800 ? ["min", 60] : ["h", 3600]);
