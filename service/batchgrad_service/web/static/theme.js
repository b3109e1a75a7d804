// Apply the chosen theme, else the system's; paper is light. Not a module, to run before the first
// paint.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const root = document.documentElement;
  const wanted = () => localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
  const other = () => (root.dataset.theme === "dark" ? "light" : "dark");
  const apply = () => { root.dataset.theme = paper.matches ? "light" : wanted(); };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => button.setAttribute("aria-label", `${other() === "dark" ? "Dark" : "Light"} theme`);
    const change = () => {
      apply();
      name();
      document.dispatchEvent(new Event("theme"));
    };
    name();
    button.hidden = false;
    button.addEventListener("click", () => {
      localStorage.setItem("theme", other());
      change();
    });
    for (const medium of [system, paper]) medium.addEventListener("change", change);
  });
})();
