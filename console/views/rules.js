// The rules of a run: read as sentences, edited as JSON. What is shown is what is sent.
// A setting this page does not know is still shown, by its own name, so that a newer server's rules never look smaller than they are.

import { fill, h, icon } from "../dom.js";
import { percent, plural, words } from "../format.js";

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
    if (rules) fill(readable, describeRules(rules));
    onEdit(rules, edited);
  }

  text.addEventListener("input", () => {
    edited = true;
    try {
      const parsed = JSON.parse(text.value);
      if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) throw new SyntaxError("the rules are one object");
      rules = parsed;
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
    /** Changes single settings of edited rules without losing the edits. */
    patch(settings) {
      if (!rules) return;
      rules = { ...rules, ...settings };
      text.value = JSON.stringify(rules, null, 2);
      report();
    },
    /** The server refused the rules: open the editor where they can be mended. */
    openEditor() { editor.open = true; text.focus(); },
  };
}

const KIND_ICON = { exact: "equal", tolerance: "money", window: "date", contains: "search", fuzzy: "approx" };
const KIND_KEYS = new Set(["kind", "label", "left", "right", "require", "tolerance", "percent", "before_days", "after_days", "method", "agree", "disagree"]);
const METHOD = { code: "alike up to a few characters", name: "alike word by word, typos allowed", words: "alike by the words they share, rare ones counting more" };

/** The rules as a list of comparisons and one of decisions. */
export function describeRules(rules) {
  const compare = Array.isArray(rules.compare) ? rules.compare : [];
  return h("div", { class: "rule-cols" },
    h("section", null, h("h3", null, "What is compared"),
      h("ul", { class: "rule-list" }, compare.map((rule) => h("li", { class: "rule" },
        h("span", { class: "rule-icon", "aria-hidden": "true" }, icon(KIND_ICON[rule.kind] ?? "sliders")),
        h("div", null,
          h("p", { class: "rule-name" }, rule.left === rule.right ? rule.left : [h("span", { class: "left-text" }, rule.left), icon("swap", "with"), h("span", { class: "right-text" }, rule.right)],
            rule.require && h("span", { class: "tag" }, "required")),
          h("p", { class: "muted small" }, comparison(rule))))))),
    h("section", null, h("h3", null, "How it is decided"),
      h("ul", { class: "decisions" }, decisions(rules).map((text) => h("li", null, icon("check"), h("span", null, text))))));
}

function comparison(rule) {
  const weights = rule.agree !== undefined || rule.disagree !== undefined ? `weights ${rule.agree ?? 0} and ${rule.disagree ?? 0}` : null;
  const other = Object.entries(rule).filter(([key, value]) => !KIND_KEYS.has(key) && value !== null).map(([key, value]) => phrase({ [key]: value }));
  return [sentence(rule), weights, ...other].filter(Boolean).join("; ");
}

function sentence(rule) {
  switch (rule.kind) {
    case "exact": return rule.require ? "must be equal, or the records are no candidates" : "equal, whatever the case, accents or punctuation";
    case "tolerance": {
      const bounds = [Number(rule.tolerance) > 0 && `${rule.tolerance}`, rule.percent > 0 && `${rule.percent} %`].filter(Boolean);
      return bounds.length > 0 ? `equal within ${bounds.join(" or ")}` : "the same amount; a close one is a discrepancy";
    }
    case "window": {
      const [before, after] = [rule.before_days ?? 0, rule.after_days ?? 0];
      if (before === 0 && after === 0) return "the same day";
      return before === after ? `at most ${plural(after, "day")} apart` : `the right one from ${plural(before, "day")} earlier to ${plural(after, "day")} later`;
    }
    case "contains": return "the shorter text is found in the longer one";
    case "fuzzy": return METHOD[rule.method] ?? "alike, typos and other spellings allowed";
    default: return words(rule.kind ?? "");
  }
}

const KNOWN = new Set(["version", "left_id", "right_id", "compare", "block", "model", "assign", "sums", "states", "limits"]);

function decisions(rules) {
  const { model, assign, sums, states, block, limits } = rules;
  return [
    Array.isArray(block) && block.length > 0
      ? `Candidates share ${block.map((b) => (b.on ?? []).map((k) => (k.left === k.right ? k.left : `${k.left} and ${k.right}`) + (k.by && k.by !== "value" ? ` by ${k.by}` : "")).join(" with ")).join(", or ")}`
      : "Candidates are found through the comparisons; not every record is compared with every other",
    model === "weighted" ? "Weights are set by hand" : model === "fellegi_sunter" || model === undefined ? "Weights are learnt from the two files" : `Weights: ${phrase(model)}`,
    assign && `One counterpart each, chosen for the best total; none below ${percent(assign.floor)}${assign.margin > 0 ? `, and a margin of ${plural(assign.margin, "bit")} to the next` : ""}`,
    sums && (sums.enabled === false ? "No groups: one record against one" : `Then up to ${sums.max_parts} records that add up to one, within ${plural(sums.window_days, "day")}`),
    states && `Settled without review from ${percent(states.auto)}`,
    limits && `At most ${plural(limits.max_pairs_per_row, "candidate")} per record on average`,
    ...Object.entries(rules).filter(([key, value]) => !KNOWN.has(key) && value !== null).map(([key, value]) => phrase({ [key]: value })),
  ].filter(Boolean);
}

/** Any JSON as a short phrase. */
function phrase(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(phrase).join(", ");
  if (typeof value !== "object") return words(value);
  return Object.entries(value).map(([key, v]) => `${words(key)} ${phrase(v)}`).join(", ");
}
