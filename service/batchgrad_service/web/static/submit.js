const text = document.getElementById("spec");
const lines = document.getElementById("lines");

// Number every line; marks of wrong lines disappear when the text changes.
text.addEventListener("input", () => {
  const count = text.value.split("\n").length;
  lines.replaceChildren(...Array.from({ length: count }, () => document.createElement("li")));
  text.rows = Math.max(count + 1, 16);
});

for (const link of document.querySelectorAll("[data-line]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const before = text.value.split("\n").slice(0, Number(link.dataset.line) - 1);
    const start = before.reduce((sum, line) => sum + line.length + 1, 0);
    const end = text.value.indexOf("\n", start);
    text.focus();
    text.setSelectionRange(start, end < 0 ? text.value.length : end);
  });
}
