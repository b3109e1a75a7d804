// Apply the chosen theme, else the system's. Not a module, to run before the first paint.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const apply = () => {
    root.dataset.theme = localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", () => { apply(); document.dispatchEvent(new Event("theme")); });
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const other = () => (root.dataset.theme === "dark" ? "light" : "dark");
    const name = () => { button.textContent = other() === "dark" ? "Dark" : "Light"; };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      localStorage.setItem("theme", other());
      apply();
      name();
      document.dispatchEvent(new Event("theme"));
    });
  });
})();
