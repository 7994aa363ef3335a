// The shell: routes by location hash, the top bar, the token question and the shortcuts. Views own <main>.
// A view is an async function (context) -> { node, title, crumbs, destroy?, onMessage?, onResync?, onLive?, onKey? }.

import * as api from "./api.js";
import { announce, dialog, fill, h, icon, problemBox, toast } from "./dom.js";
import { Live } from "./live.js";
import { jobView } from "./views/job.js";
import { projectView } from "./views/project.js";
import { projectsView } from "./views/projects.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
const conn = document.getElementById("conn");
const presence = document.getElementById("presence");
const routeBar = document.getElementById("route-bar");

const ROUTES = [
  [/^\/?$/, projectsView],
  [/^\/projects\/([^/?]+)$/, projectView],
  [/^\/projects\/([^/?]+)\/jobs\/([^/?]+)$/, jobView],
];

api.onTokenNeeded((used) => dialog("Token needed", (close) => {
  const input = h("input", { class: "input", id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, autofocus: true, "aria-describedby": "token-help" });
  return h("form", {
    class: "dialog-body", id: "token-form", onsubmit: (event) => {
      event.preventDefault();
      close(input.value.trim() || null);
    },
  },
  h("span", { class: "dialog-icon" }, icon("key")),
  h("h2", null, "This server asks for a token"),
  h("p", { class: "muted", id: "token-help" }, used
    ? "The token was not accepted, has expired or is about to. Check it, or give a newer one."
    : "It was printed once when the server first started, or is in the file given with --token-file. It is kept until this tab is closed."),
  h("label", { class: "field" }, h("span", null, "Token"), input),
  h("div", { class: "dialog-actions" },
    h("button", { class: "btn", type: "button", onclick: () => close(null) }, "Not now"),
    h("button", { class: "btn primary", type: "submit" }, "Continue")));
}));

const live = new Live({
  token: api.getToken,
  needToken: api.renewToken,
  realtimeOff: async () => (await api.ready()).checks?.realtime?.state === "off",
});

api.onTokenChanged(() => live.restart());

const CONN = {
  online: { text: "Live", tone: "good", title: "Connected: changes appear as they happen" },
  connecting: { text: "Connecting", tone: "warn", title: "Opening the live connection" },
  waiting: { text: "Reconnecting", tone: "warn", title: "The live connection was lost; trying again. Progress is read over HTTP meanwhile" },
  draining: { text: "Server restarting", tone: "warn", title: "The server is about to restart; the page reconnects by itself" },
  refused: { text: "Not live", tone: "bad", title: "The server refused the live connection" },
  off: { text: "Live off", tone: "neutral", title: "Live updates are switched off on this server; the page polls instead" },
};

live.addEventListener("state", ({ detail: { state } }) => {
  const shown = CONN[state];
  conn.className = `conn ${shown.tone}`;
  conn.dataset.state = state;
  conn.title = shown.title;
  fill(conn, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "conn-text" }, shown.text));
  current?.onLive?.(state);
});

live.addEventListener("presence", ({ detail }) => {
  const others = Math.max(0, detail.count - 1);
  presence.hidden = others === 0;
  presence.title = `${detail.count} connected to this project, you included`;
  fill(presence, icon("people"), h("span", null, others === 1 ? "1 other" : `${others} others`));
});

live.addEventListener("message", ({ detail }) => {
  if (detail.kind === "Notification") toast(detail.body.message, { tone: detail.body.level === "error" ? "bad" : "info" });
  current?.onMessage?.(detail.kind, detail.body);
});
live.addEventListener("resync", () => current?.onResync?.());

let current = null;
let generation = 0;

function showCrumbs(items) {
  fill(crumbs, h("ol", null, items.map(([text, href], i) =>
    h("li", null, i === items.length - 1
      ? h("span", { "aria-current": "page" }, text)
      : h("a", { href }, text)))));
}

/** Shows the view of the present hash. The old one stays until the new one has its data, so nothing flashes. */
async function route({ focus = true } = {}) {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const mine = ++generation;
  routeBar.hidden = false;
  const found = ROUTES.find(([pattern]) => pattern.test(path));
  try {
    if (!found) throw new api.Problem({ status: 404, title: "There is no such page", detail: `Nothing lives at #${path}.`, code: "not_found" });
    const [pattern, make] = found;
    const args = pattern.exec(path).slice(1).map(decodeURIComponent);
    const context = { args, query: new URLSearchParams(query), live, go, reload: () => route({ focus: false }), setCrumbs: showCrumbs, setTitle };
    const view = await make(context);
    if (mine !== generation) {
      view.destroy?.();
      return;
    }
    current?.destroy?.();
    current = view;
    fill(main, view.node);
    showCrumbs(view.crumbs);
    setTitle(view.title);
    view.mounted?.();
  } catch (error) {
    if (mine !== generation) return;
    if (error?.name === "AbortError") return;
    current?.destroy?.();
    current = null;
    if (!(error instanceof api.Problem)) console.error(error);
    fill(main, h("div", { class: "page narrow" },
      h("h1", { class: "sr-only" }, "Problem"),
      problemBox(error, { retry: () => route() }),
      h("p", null, h("a", { href: "#/" }, "All projects"))));
    showCrumbs([["Projects", "#/"]]);
  } finally {
    if (mine === generation) {
      routeBar.hidden = true;
      if (focus) {
        const heading = main.querySelector("h1");
        heading?.setAttribute("tabindex", "-1");
        heading?.focus({ preventScroll: true });
        scrollTo(0, 0);
      }
    }
  }
}

function setTitle(title) {
  document.title = title ? `${title} · Tieout` : "Tieout";
  if (title) announce(title);
}

function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

const THEMES = { system: ["monitor", "Theme: system"], light: ["sun", "Theme: light"], dark: ["moon", "Theme: dark"] };
const themeButton = document.getElementById("theme");
function showTheme() {
  const [name, label] = THEMES[window.tieoutTheme.get()];
  fill(themeButton, icon(name));
  themeButton.setAttribute("aria-label", `${label}. Change`);
  themeButton.title = label;
}
themeButton.addEventListener("click", () => {
  const order = Object.keys(THEMES);
  window.tieoutTheme.set(order[(order.indexOf(window.tieoutTheme.get()) + 1) % order.length]);
  showTheme();
  announce(THEMES[window.tieoutTheme.get()][1]);
});
showTheme();

const SHORTCUTS = [
  ["/", "Filter the list"],
  ["↑ ↓", "Previous or next record"],
  ["Page ↑ ↓", "Previous or next page"],
  ["Enter", "Read the explanation"],
  ["Esc", "Close, or back to the list"],
  ["1 – 5", "Switch the result list"],
  ["g p", "All projects"],
  ["?", "This help"],
];
const helpButton = document.getElementById("help");
fill(helpButton, icon("keyboard"));
const showHelp = () => dialog("Keyboard shortcuts", (close) => h("div", { class: "dialog-body" },
  h("h2", null, "Keyboard shortcuts"),
  h("dl", { class: "keys" }, SHORTCUTS.map(([keys, text]) => h("div", null, h("dt", null, keys.split(" ").map((k) => (k === "–" ? "–" : h("kbd", null, k)))), h("dd", null, text)))),
  h("div", { class: "dialog-actions" }, h("button", { class: "btn primary", type: "button", autofocus: true, onclick: () => close(null) }, "Close"))));
helpButton.addEventListener("click", showHelp);

let lastKey = { key: "", at: 0 };
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (!typing) {
    if (event.key === "?") return void showHelp();
    if (event.key === "p" && lastKey.key === "g" && event.timeStamp - lastKey.at < 1000) return void go("#/");
    lastKey = { key: event.key, at: event.timeStamp };
  }
  current?.onKey?.(event, Boolean(typing));
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  // A view that only moved its own cursor (tab, row) writes the hash itself and needs no new load.
  if (!current?.ownsHash?.(location.hash)) route();
});

// The first view asks the API before anything is said on the WebSocket: where a token is needed, it is known by then.
route({ focus: false }).then(() => live.reconnect());
