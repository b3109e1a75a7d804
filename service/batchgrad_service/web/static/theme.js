// Apply the chosen theme, else the system's; paper is light. Not a module, to run before the first
// paint.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const root = document.documentElement;
  const wanted = () => localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
  const other = () => (root.dataset.theme === "dark" ? "light" : "dark");
  const apply = () => {
    root.dataset.theme = paper.matches ? "light" : wanted();
    const button = document.getElementById("theme");
    button?.setAttribute("aria-label", other() === "dark" ? "Dark theme" : "Light theme");
    document.dispatchEvent(new Event("theme"));
  };
  apply();
  system.addEventListener("change", apply);
  paper.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    apply();
    button.addEventListener("click", () => {
      localStorage.setItem("theme", other());
      apply();
    });
  });
})();
