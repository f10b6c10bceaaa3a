// Light and dark: the system decides until the reader does.

function setUpTheme(button, changed) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("fnbench-theme"); } catch { /* a file page may have no storage */ }
  const dark = () => (chosen ? chosen === "dark" : system.matches);
  const apply = () => {
    root.dataset.theme = dark() ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark()));
    button.textContent = dark() ? "Light" : "Dark";
    changed();
  };
  button.addEventListener("click", () => {
    chosen = dark() ? "light" : "dark";
    try { localStorage.setItem("fnbench-theme", chosen); } catch { /* then it lasts as long as the page */ }
    apply();
  });
  system.addEventListener("change", apply);
  button.hidden = false;
  apply();
}
