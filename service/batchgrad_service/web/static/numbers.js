// Numbers as the pages show them; web/numbers.py writes the same.

export const NONE = "–";
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const formats = [];
const format = (decimals) => (formats[decimals] ??= new Intl.NumberFormat("en", { maximumFractionDigits: decimals }));
const plain = (value, decimals) => format(decimals).format(value);

const power = (exponent) => `10${[...String(exponent)].map((one) => SUPERSCRIPTS[one]).join("")}`;

// A figure with `digits` digits: −0.1235, 12,350, 1.5 × 10⁻⁷; "–" if unknown or undefined.
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0";
  const rounded = Math.abs(value).toExponential(digits - 1);
  const [mantissa, exponent] = rounded.split("e").map(Number);
  const sign = value < 0 ? "−" : "";
  return exponent >= -4 && exponent < 6
    ? sign + plain(Number(rounded), Math.max(digits - 1 - exponent, 0))
    : `${sign}${plain(mantissa, digits - 1)} × ${power(exponent)}`;
}

export const whole = (value) => plain(value, 0);
export const percent = (part, decimals = 0) => `${plain(100 * part, decimals)}%`;

// A number on an axis, which Plotly writes as 2e-7.
export function tick(text) {
  const value = Number(text.replaceAll("−", "-").replaceAll(",", ""));
  return text.includes("e") && !Number.isNaN(value) ? number(value).replace(/^(−?)1 × /, "$1") : text;
}
