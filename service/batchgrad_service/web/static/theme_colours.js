// The colours of the theme, which style.css has as variables.

export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A colour #rrggbb with an opacity from 0 to 1.
export function faint(name, opacity) {
  const parts = colour(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  return `rgba(${parts.join(",")},${opacity})`;
}
