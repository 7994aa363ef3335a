// The rules of a run: read as sentences, edited as JSON. What is shown is what is sent.

import { fill, h, icon } from "../dom.js";
import { words } from "../format.js";

const SECTION = {
  columns: ["layers", "Compare these columns"],
  require: ["key", "Must be equal"],
  block: ["search", "Look for candidates by"],
  compare: ["sliders", "Score"],
  model: ["number", "Weights"],
  assign: ["swap", "Pair up"],
  states: ["checkCircle", "Decide"],
};

/** `onEdit(rules, edited)` runs whenever the rules change; rules are null while the JSON is broken. */
export function rulesPanel({ onEdit }) {
  let suggested = null;
  let rules = null;
  let edited = false;
  const readable = h("div", { class: "rules" });
  const text = h("textarea", { class: "input code-area", id: "rules-json", rows: "18", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-describedby": "rules-state" });
  const state = h("p", { class: "small muted", id: "rules-state", role: "status" });
  const reset = h("button", { class: "btn small", type: "button", onclick: () => setSuggested(suggested) }, icon("refresh"), "Back to the suggestion");
  const editor = h("details", { class: "json", id: "rules-editor" },
    h("summary", null, icon("code"), "Edit as JSON"),
    h("label", { class: "sr-only", for: "rules-json" }, "Rules as JSON"), text,
    h("div", { class: "json-foot" }, state, reset));
  const node = h("div", null, readable, editor);

  function setSuggested(next) {
    suggested = next;
    rules = next;
    edited = false;
    text.value = JSON.stringify(next, null, 2);
    report();
  }

  function report(problem) {
    reset.hidden = !edited;
    state.textContent = problem ?? (edited ? "Edited: these rules will be used for the run." : "As suggested from the columns.");
    state.classList.toggle("bad-text", Boolean(problem));
    text.setAttribute("aria-invalid", problem ? "true" : "false");
    if (rules) fill(readable, describe(rules));
    onEdit(rules, edited);
  }

  text.addEventListener("input", () => {
    edited = true;
    try {
      rules = JSON.parse(text.value);
      report();
    } catch (error) {
      rules = null;
      report(`Not valid JSON: ${error.message}`);
    }
  });

  return {
    node,
    get rules() { return rules; },
    get edited() { return edited; },
    setSuggested,
    /** The server refused the rules: open the editor where they can be mended. */
    openEditor() { editor.open = true; text.focus(); },
  };
}

function describe(rules) {
  return h("ul", { class: "rule-list" }, Object.entries(rules)
    .filter(([key, value]) => key !== "version" && key !== "name" && !isEmpty(value))
    .map(([key, value]) => {
      const [glyph, title] = SECTION[key] ?? ["info", words(key)];
      return h("li", { class: "rule" }, h("span", { class: "rule-icon", "aria-hidden": "true" }, icon(glyph)),
        h("div", null, h("h3", null, title), body(value)));
    }));
}

function body(value) {
  const items = Array.isArray(value) ? value : typeof value === "object" ? Object.entries(value).map(([k, v]) => ({ [k]: v })) : [value];
  return h("ul", { class: "chips" }, items.map((item) => h("li", { class: "chip" }, phrase(item))));
}

const isEmpty = (v) => v === null || (typeof v === "object" && Object.keys(v).length === 0);

/** Any JSON as a short phrase; unknown settings stay readable instead of vanishing. */
function phrase(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(phrase).join(", ");
  if (typeof value !== "object") return words(value);
  const name = value.column ?? value.name ?? value.label;
  const rest = Object.entries(value).filter(([key, v]) => !["column", "name", "label"].includes(key) && v !== null && !isEmpty(v))
    .map(([key, v]) => (v === true ? words(key) : `${words(key)} ${phrase(v)}`));
  return [name && (rest.length ? `${name}: ` : name), rest.join(", ")].filter(Boolean).join("");
}
