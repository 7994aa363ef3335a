// Why one result is what it is: the sentence, the comparison field by field with its weight, and both raw records.

import { h, icon } from "../dom.js";
import { KIND_TEXT, percent, RESULTS, words } from "../format.js";

export const sideValue = (value) => (value === null || value === undefined ? "" : String(value));

const AGREES = /^(exact|equal|same|within|found($| )|all words|nearly all)/;
const DIFFERS = /^(different|outside|not found|no words|another|right (lower|higher))/;

/** Tone, icon and word of one comparison. The words are the server's; where they are new to this page the sign of the weight decides. */
export function levelOf({ level, weight, left, right }) {
  const same = sideValue(left) === sideValue(right);
  const text = words(level || (same ? "equal" : "different"));
  if (/^(missing|empty|null|no reference)/.test(text)) return { tone: "neutral", icon: "minus", text };
  if (AGREES.test(text)) return { tone: "good", icon: same ? "equal" : "check", text };
  // A date inside its window is near, however rare such a delay is.
  if (/^right \d+ days?/.test(text)) return { tone: "near", icon: "approx", text };
  if (DIFFERS.test(text) || weight < 0) return { tone: "bad", icon: "notEqual", text };
  return { tone: "near", icon: "approx", text };
}

export function explanation(item, { job, onClose }) {
  const about = RESULTS[item.status] ?? RESULTS.matched;
  const review = item.state === "review";
  const comparisons = item.comparisons ?? [];
  const most = Math.max(1, ...comparisons.map((c) => Math.abs(c.weight ?? 0)));
  const total = comparisons.reduce((sum, c) => sum + (c.weight ?? 0), 0);
  return h("div", { class: "detail-body" },
    h("header", { class: "detail-head" },
      h("span", { class: `badge ${review ? "warn" : about.tone}` }, icon(review ? "eye" : about.icon), review ? "To review" : about.one),
      item.kind && h("span", { class: "tag" }, KIND_TEXT[item.kind] ?? words(item.kind)),
      item.probability !== null && item.probability !== undefined && h("span", { class: "detail-probability num", title: String(item.probability) }, percent(item.probability), h("span", { class: "muted small" }, " confidence")),
      h("button", { class: "btn ghost icon-only small detail-close", type: "button", "aria-label": "Close the explanation", onclick: onClose }, icon("x"))),
    h("div", { class: "detail-ids" }, ids(item.left, "left", job.left_id), ids(item.right, "right", job.right_id)),
    item.explanation && h("p", { class: "why" }, item.explanation),
    comparisons.length > 0 && h("section", { "aria-label": "Field by field" },
      h("h2", { class: "subhead" }, "Field by field"),
      h("ul", { class: "compare" }, comparisons.map((c) => comparison(c, most))),
      h("p", { class: "compare-sum small muted num" }, h("span", null, "Sum of weights"), h("b", null, signed(total)))),
    records(item.left, "left", comparisons.length === 0), records(item.right, "right", comparisons.length === 0));
}

function comparison(c, most) {
  const level = levelOf(c);
  const left = sideValue(c.left);
  const right = sideValue(c.right);
  const same = left === right;
  const weight = c.weight ?? 0;
  return h("li", { class: level.tone },
    h("div", { class: "compare-head" },
      h("span", { class: "compare-label" }, words(c.label)),
      h("span", { class: `level ${level.tone}` }, icon(level.icon), level.text)),
    h("div", { class: same ? "values same" : "values" }, same
      ? h("span", { class: "value" }, left || h("i", { class: "muted" }, "empty"))
      : [value("left", left), value("right", right)]),
    h("div", { class: "weight", title: `Weight ${signed(weight)}` },
      h("span", { class: weight < 0 ? "weight-bar minus" : "weight-bar plus", vars: { "--part": Math.min(1, Math.abs(weight) / most) } }),
      h("span", { class: "weight-number num small" }, h("span", { class: "sr-only" }, "weight "), signed(weight))));
}

const value = (side, text) => h("span", { class: `value ${side}` }, h("span", { class: "sr-only" }, `${side}: `), icon(side), h("span", null, text || h("i", { class: "muted" }, "empty")));

const signed = (n) => {
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n).toFixed(1);
  return size === "0.0" ? size : `${n > 0 ? "+" : "−"}${size}`;
};

const ids = (list, side, column) => list?.length > 0 && h("div", { class: `id-line ${side}` }, icon(side), h("span", { class: "muted small" }, column ?? side),
  h("span", { class: "id-values" }, list.map((r) => h("code", null, r.id ?? `#${r.ordinal}`))));

const records = (list, side, open) => list?.length > 0 && h("details", { class: "record", open },
  h("summary", null, icon("chevronRight"), `Whole ${side} record`, list.length > 1 && ` (${list.length})`),
  list.map((r) => h("dl", { class: "fields" }, Object.entries(r.fields ?? {}).map(([name, v]) => h("div", null, h("dt", null, name), h("dd", null, sideValue(v) || h("i", { class: "muted" }, "empty")))))));
