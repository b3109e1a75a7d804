"""The contrast of every visible text of a page with what is behind it (WCAG 2.2, 1.4.3)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

_MEASURE = """() => {
  const rgba = (text) => {
    const parts = (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    return text.startsWith("color(") ? parts.map((one, i) => (i < 3 ? 255 * one : one)) : parts;
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      || ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);
    const box = element.getBoundingClientRect();
    if (!own || element.disabled || box.width === 0 || box.right < 0) continue;
    const style = getComputedStyle(element);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [high, low] = [light(colour), light(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    found.push({ ratio, enough: ratio >= (large ? 3 : 4.5),
      text: (element.textContent || element.value || "").trim().slice(0, 40) });
  }
  return found;
}"""


def low_contrast(page: "Page") -> list[dict[str, Any]]:
    """The texts of a page with less contrast than AA asks for, with their ratios; [] is good."""
    found: list[dict[str, Any]] = page.evaluate(_MEASURE)
    assert len(found) > 8, f"Only {len(found)} texts are visible at {page.url}."
    return [one for one in found if not one["enough"]]
