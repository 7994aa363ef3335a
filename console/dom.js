// Building elements: `h`, icons, toasts, dialogs and announcements. Text only ever enters the page as text nodes, so a
// cell of an uploaded file can't become markup. Easy to get wrong: styles go through the CSSOM (`vars`), because a
// `style` attribute is refused by the page's content security policy.

const PATHS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  checkCircle: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 12.3l2.8 2.8L16.2 9.6",
  alert: "M12 9v4.5M12 17v.01M10.3 4.2 2.9 17.1A2 2 0 0 0 4.6 20h14.8a2 2 0 0 0 1.7-2.9L13.7 4.2a2 2 0 0 0-3.4 0z",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  notEqual: "M5 9.5h14M5 14.5h14M16 5L8 19",
  equal: "M5 9.5h14M5 14.5h14",
  approx: "M4.5 10c2.5-3 5-3 7.5-1s5 2 7.5-1M4.5 16c2.5-3 5-3 7.5-1s5 2 7.5-1",
  left: "M20 12H5M11 5.5 4.5 12l6.5 6.5",
  right: "M4 12h15M13 5.5l6.5 6.5-6.5 6.5",
  chevronLeft: "M14.5 6l-6 6 6 6",
  chevronRight: "M9.5 6l6 6-6 6",
  chevronDown: "M6 9.5l6 6 6-6",
  swap: "M4 8.5h15M15.5 5 19 8.5 15.5 12M20 15.5H5M8.5 12 5 15.5 8.5 19",
  upload: "M12 16V4.5M7 9l5-5 5 5M4.5 16v2.5a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2V16",
  download: "M12 4v11.5M7 11l5 5 5-5M4.5 17v1.5a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2V17",
  file: "M13.5 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8.5zM13.5 3v5.5H19M8.5 13h7M8.5 16.5h5",
  folder: "M3.5 7a2 2 0 0 1 2-2h4l2.2 2.5h6.800a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2z",
  plus: "M12 5v14M5 12h14",
  x: "M6 6l12 12M18 6 6 18",
  play: "M8 5.5v13l10.5-6.5z",
  stop: "M7 7h10v10H7z",
  trash: "M4.5 7h15M9.5 7V5a1 1 0 0 1 1-1h3a1 1 0 0 1 1 1v2M6.5 7l.8 12a1.5 1.5 0 0 0 1.5 1.400h6.400a1.5 1.5 0 0 0 1.5-1.400l.8-12M10 11v5.5M14 11v5.5",
  pencil: "M4.5 19.5l.8-4L16 4.800a1.8 1.8 0 0 1 2.6 0l.6.600a1.8 1.8 0 0 1 0 2.600L8.5 18.700zM14 7l3 3",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2.5v2M12 19.5v2M4.6 4.6 6 6M18 18l1.4 1.400M2.5 12h2M19.5 12h2M4.6 19.4 6 18M18 6l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  monitor: "M4 5h16v11H4zM9 20h6M12 16v4",
  keyboard: "M3.5 6.5h17v11h-17zM7 10h.01M10.3 10h.01M13.7 10h.01M17 10h.01M7.5 14h9",
  people: "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5c.5-3.5 3-5.5 6.5-5.5s6 2 6.5 5.5M16 4.900a3.5 3.5 0 0 1 0 6.200M18 14.5c2 .7 3.2 2.5 3.5 5",
  money: "M3.5 6.5h17v11h-17zM12 14.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM6.5 12h.01M17.5 12h.01",
  number: "M9.5 4 7.5 20M16.5 4l-2 16M4.5 9h16M3.5 15h16",
  date: "M5 5.5h14a1 1 0 0 1 1 1V19a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6.5a1 1 0 0 1 1-1zM4 10h16M8.5 3.5v4M15.5 3.5v4",
  text: "M5 6.5h14M12 6.5V18.5M9.5 18.5h5",
  code: "M8.5 7.5 4 12l4.5 4.5M15.5 7.5 20 12l-4.5 4.5",
  key: "M14.5 13.5a4.5 4.5 0 1 0-4.2-2.900L3.5 17.400v3.100h3.300v-2.300h2.300v-2.300h2.100l1-1a4.5 4.5 0 0 0 2.3.6zM16 8.5h.01",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20.5 20.5",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.5M12 7.800v.01",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.300l3.3 2",
  refresh: "M20 5v5h-5M4 19v-5h5M5.5 9.5a7 7 0 0 1 12-2.5L20 10M4 14l2.5 3a7 7 0 0 0 12-2.5",
  minus: "M6 12h12",
  layers: "M12 4 3.5 8.5 12 13l8.5-4.5zM3.5 12.5 12 17l8.5-4.5M3.5 16.5 12 21l8.5-4.5",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5v-5M9 19.5v-5",
};

const SVG = "http://www.w3.org/2000/svg";

/** One stroked 24 x 24 icon, hidden from assistive technology unless `label` is given. */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.info);
  svg.append(path);
  return svg;
}

/** Builds an element. `on*` are listeners, `vars` custom properties, `null`, `undefined` and `false` are left out. */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "vars") for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child);
  }
}

/** Replaces everything inside `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

/** Runs `redraw`, which replaces what is inside `node`, and puts the focus back on the element of the same id, or on the first control. */
export function keepFocus(node, redraw) {
  const had = node.contains(document.activeElement) ? document.activeElement.id : null;
  redraw();
  if (had !== null) (document.getElementById(had) ?? node.querySelector("a, button, select"))?.focus({ preventScroll: true });
}

/** Says `text` to a screen reader without moving the focus. */
export function announce(text) {
  const region = document.getElementById("announce");
  if (region.textContent !== text) region.textContent = text;
}

const TOAST_MS = 6000;
const MAX_TOASTS = 4;

/** A short message in the corner: it goes by itself unless it is an error. */
export function toast(message, { tone = "info", detail = null } = {}) {
  const region = document.getElementById("toasts");
  const node = h("div", { class: `toast ${tone}`, role: tone === "bad" ? "alert" : "status" },
    icon(tone === "bad" ? "alert" : tone === "good" ? "checkCircle" : "info"),
    h("div", { class: "toast-body" }, h("p", null, message), detail && h("p", { class: "muted small" }, detail)),
    h("button", { class: "btn ghost icon-only small", type: "button", "aria-label": "Dismiss", onclick: () => node.remove() }, icon("x")));
  region.append(node);
  while (region.children.length > MAX_TOASTS) region.firstElementChild.remove();
  if (tone !== "bad") setTimeout(() => node.remove(), TOAST_MS);
}

/** A box that explains a failed request: what, why, which fields, and the request id to quote. */
export function problemBox(error, { retry } = {}) {
  const fields = Array.isArray(error.errors) ? error.errors : [];
  return h("div", { class: "problem", role: "alert" },
    icon("alert"),
    h("div", { class: "problem-body" },
      h("p", { class: "problem-title" }, error.title || "Something went wrong"),
      error.detail && h("p", null, error.detail),
      fields.length > 0 && h("ul", null, fields.slice(0, 8).map((f) =>
        h("li", null, typeof f === "string" ? f : [f.path && h("code", null, f.path), f.path && ": ", f.message ?? f.detail ?? JSON.stringify(f)]))),
      h("p", { class: "problem-meta" },
        [error.code && `code ${error.code}`, error.limit && `limit ${error.limit}`, error.requestId && `request ${error.requestId}`].filter(Boolean).join("  ·  "))),
    retry && h("button", { class: "btn small", type: "button", onclick: retry }, icon("refresh"), "Try again"));
}

/** Reports a failure that has no place of its own on the page. */
export function toastProblem(error) {
  if (error?.name === "AbortError") return;
  toast(error.detail || error.message || "Something went wrong", {
    tone: "bad",
    detail: [error.code, error.requestId && `request ${error.requestId}`].filter(Boolean).join("  ·  ") || null,
  });
}

/** Opens a modal; `build(close)` returns its content. Resolves with what `close` was given, or null on Escape. */
export function dialog(label, build) {
  return new Promise((resolve) => {
    let answer = null;
    const node = h("dialog", { class: "dialog", "aria-label": label });
    const close = (value) => {
      answer = value;
      node.close();
    };
    node.addEventListener("close", () => {
      node.remove();
      resolve(answer);
    });
    node.addEventListener("click", (event) => event.target === node && close(null));
    fill(node, build(close));
    document.body.append(node);
    node.showModal();
  });
}

/** Asks before something that can't be undone. */
export function confirmDialog(title, text, action) {
  return dialog(title, (close) => h("div", { class: "dialog-body" },
    h("h2", null, title),
    h("p", { class: "muted" }, text),
    h("div", { class: "dialog-actions" },
      h("button", { class: "btn", type: "button", onclick: () => close(false) }, "Keep"),
      h("button", { class: "btn danger", type: "button", onclick: () => close(true) }, action))));
}
