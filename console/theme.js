// Applies the kept theme before the first paint; a classic script on purpose, because a module would run after it and flash.
(() => {
  "use strict";
  const KEY = "tieout.theme";
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // Storage may be switched off: the page then follows the system and forgets the choice on reload.
  }
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  apply(kept);
  window.tieoutTheme = {
    get: () => document.documentElement.dataset.theme ?? "system",
    set: (theme) => {
      apply(theme);
      try {
        if (theme === "system") localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, theme);
      } catch {
        // As above: the choice holds for this visit only.
      }
    },
  };
})();
