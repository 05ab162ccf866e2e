// Dark or light by a button, kept by the browser. Without a choice the browser's own wish decides.
// It runs before the page is drawn, so that nothing flashes.
(() => {
  "use strict";
  const root = document.documentElement;
  const key = "rave-theme";
  const stored = () => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const wish = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme || (wish.matches ? "dark" : "light");
  const told = () => document.dispatchEvent(new Event("themechange"));
  const before = stored();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  wish.addEventListener("change", told);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const label = () => {
      const other = current() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `Use ${other} colours`);
    };
    button.hidden = false;
    label();
    document.addEventListener("themechange", label);
    button.addEventListener("click", () => {
      root.dataset.theme = current() === "dark" ? "light" : "dark";
      try { localStorage.setItem(key, root.dataset.theme); } catch { /* a choice for this page only */ }
      told();
    });
  });
})();
