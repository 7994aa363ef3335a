// The result lists of a finished run: tabs, the table of one page, paging, the explanation beside it, the bad rows, downloads.
// The table is a grid with one row in the tab order; arrow keys move it. A page is at most PAGE items, whatever the run's size.

import * as api from "../api.js";
import { announce, fill, h, icon, problemBox, toastProblem } from "../dom.js";
import { count, KIND_TEXT, percent, plural, RESULTS, words } from "../format.js";
import { explanation, levelOf, sideValue } from "./explanation.js";

const PAGE = 50;
const MAX_COLUMNS = 4;
/** The API lists matches that need a review among all matches; they are picked out of pages this large, so many at a time. */
const SCAN_PAGE = 500;
const SCAN_PAGES = 10;

/** `onMove(URLSearchParams)` keeps the open list in the address. */
export function resultsPanel({ job, query, onMove }) {
  const counts = job.counts ?? {};
  const tabs = [
    ...Object.entries(RESULTS).map(([list, about]) => ({ list, ...about, total: counts[list] })),
    { list: "errors", text: "Bad rows", tone: "warn", icon: "alert", total: counts.errors ?? 0, empty: "Every row of both files was read." },
  ];
  const asked = query.get("show");
  let list = null;
  let page = { items: [], next: null, total: 0 };
  let shown = [];
  let trail = [];
  let selected = -1;
  let loading = null;
  let reviewOnly = false;

  const tabButtons = tabs.map((tab) => h("button", {
    class: `tab ${tab.tone}`, type: "button", role: "tab", id: `tab-${tab.list}`, "aria-controls": "result-list", "data-list": tab.list, onclick: () => show(tab.list),
  }, icon(tab.icon), h("span", null, tab.text), h("span", { class: "tab-count num" }, count(tab.total))));
  const tablist = h("div", { class: "tabs", role: "tablist", "aria-label": "Result lists", onkeydown: tabKeys }, tabButtons);

  const filter = h("input", { class: "input", id: "filter", type: "search", placeholder: "Filter this page", "aria-label": "Filter this page", autocomplete: "off", spellcheck: "false", oninput: () => showRows() });
  const filterBox = h("div", { class: "filter" }, icon("search"), filter, h("kbd", { "aria-hidden": "true" }, "/"));
  const reviewToggle = h("button", { class: "btn small toggle", type: "button", id: "review-only", "aria-pressed": "false", hidden: true, onclick: () => setReview(!reviewOnly) }, icon("eye"), "To review");
  const downloads = h("div", { class: "downloads" });
  const rowsBox = h("div", { class: "rows", id: "result-list", role: "tabpanel", tabindex: "-1" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages" });
  const detail = h("aside", { class: "detail", id: "detail", "aria-label": "Explanation", tabindex: "-1" });
  const node = h("section", { class: "card results", id: "results", "aria-label": "Results" },
    tablist,
    h("div", { class: "toolbar" }, filterBox, reviewToggle, downloads),
    h("div", { class: "split-pane" }, h("div", { class: "list-pane" }, rowsBox, pager), detail));

  function tabKeys(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex((t) => t.list === list);
    const next = tabs[(at + step + tabs.length) % tabs.length].list;
    show(next);
    node.querySelector(`#tab-${next}`).focus();
  }

  function setReview(on) {
    reviewOnly = on;
    reviewToggle.setAttribute("aria-pressed", String(on));
    trail = [];
    load(null);
  }

  function show(next, { focus = false } = {}) {
    const review = next === "review";
    if (review) next = "matched";
    if (!tabs.some((t) => t.list === next)) next = "matched";
    list = next;
    trail = [];
    filter.value = "";
    reviewOnly = review;
    reviewToggle.setAttribute("aria-pressed", String(review));
    reviewToggle.hidden = list !== "matched" || !(counts.review > 0);
    for (const button of tabButtons) {
      const on = button.dataset.list === list;
      button.setAttribute("aria-selected", String(on));
      button.tabIndex = on ? 0 : -1;
    }
    rowsBox.setAttribute("aria-labelledby", `tab-${list}`);
    onMove(new URLSearchParams(review ? { show: "review" } : list === "matched" ? {} : { show: list }));
    showDownloads();
    return load(null, { focus });
  }

  /** The next matches to review after `after`: at least one page of them, unless the end or the bound of the search comes first. */
  async function reviewPage(after, signal) {
    const found = { items: [], next: after, total: counts.review };
    for (let i = 0; i < SCAN_PAGES && found.items.length < PAGE; i += 1) {
      const got = await api.jobResults(job.id, { status: "matched", limit: SCAN_PAGE, after: found.next }, signal);
      found.items.push(...got.items.filter((item) => item.state === "review"));
      found.next = got.next;
      if (!got.next) break;
    }
    return found;
  }

  async function load(after, { focus = false, at = "first" } = {}) {
    loading?.abort();
    loading = new AbortController();
    const { signal } = loading;
    node.classList.add("loading");
    node.setAttribute("aria-busy", "true");
    if (page.items.length === 0) fill(rowsBox, skeleton());
    try {
      if (list === "errors") page = await api.jobErrors(job.id, { limit: PAGE, after }, signal);
      else if (reviewOnly) page = await reviewPage(after, signal);
      else page = await api.jobResults(job.id, { status: list, limit: PAGE, after }, signal);
      if (signal.aborted) return;
      selected = at === "last" ? page.items.length - 1 : 0;
      showRows();
      showPager();
      if (focus) focusRow();
    } catch (error) {
      if (error.name === "AbortError") return;
      page = { items: [], next: null, total: 0 };
      fill(rowsBox, problemBox(error, { retry: () => load(after) }));
      fill(pager);
      closeDetail();
    } finally {
      if (!signal.aborted) {
        node.classList.remove("loading");
        node.removeAttribute("aria-busy");
      }
    }
  }

  function turn(step) {
    if (step > 0 && page.next) {
      trail.push({ after: page.next, from: firstOf() + page.items.length });
      return load(page.next, { focus: true });
    }
    if (step < 0 && trail.length > 0) {
      trail.pop();
      return load(trail.at(-1)?.after ?? null, { focus: true });
    }
    return undefined;
  }

  const firstOf = () => trail.at(-1)?.from ?? 1;

  function showPager() {
    const from = firstOf();
    const to = from + page.items.length - 1;
    const total = page.total ?? (list === "errors" ? counts.errors : null);
    fill(pager,
      h("p", { class: "muted small num", id: "range" }, page.items.length === 0 ? "" : `${count(from)}–${count(to)}${Number.isFinite(total) ? ` of ${count(total)}` : ""}`),
      h("div", { class: "pager-buttons" },
        h("button", { class: "btn small", type: "button", id: "previous", disabled: trail.length === 0, onclick: () => turn(-1) }, icon("chevronLeft"), "Previous"),
        h("button", { class: "btn small", type: "button", id: "next", disabled: !page.next, onclick: () => turn(1) }, "Next", icon("chevronRight"))));
  }

  function showDownloads() {
    if (list === "errors") {
      fill(downloads);
      return;
    }
    const name = RESULTS[list].text.toLowerCase();
    const link = (format, text, of, title) => h("a", {
      class: "btn small", href: api.exportUrl(job.id, format, of), download: `tieout-${of}.${format}`, title, "data-format": format, "data-status": of,
      onclick: (event) => {
        if (!api.getToken()) return;
        event.preventDefault();
        api.download(event.currentTarget.href, `tieout-${of}.${format}`).catch(toastProblem);
      },
    }, icon("download"), text);
    fill(downloads,
      h("span", { class: "muted small" }, "Download"),
      h("div", { class: "btn-group" },
        link("csv", "CSV", list, `All ${name} as CSV`),
        link("jsonl", "JSON Lines", list, `All ${name} as JSON Lines`)),
      h("div", { class: "btn-group" },
        link("csv", "All as CSV", "all", "Every result as CSV"),
        link("jsonl", "All as JSON Lines", "all", "Every result as JSON Lines")));
  }

  // --- rows -----------------------------------------------------------------------------------------------------

  function showRows() {
    const needle = filter.value.trim().toLowerCase();
    shown = needle ? page.items.filter((item) => JSON.stringify(item).toLowerCase().includes(needle)) : page.items;
    selected = Math.min(selected, shown.length - 1);
    if (selected < 0 && shown.length > 0) selected = 0;
    if (needle) announce(`${plural(shown.length, "record")} on this page`);
    detail.hidden = list === "errors";
    node.classList.toggle("no-detail", list === "errors" || shown.length === 0);
    if (shown.length === 0) {
      const tab = tabs.find((t) => t.list === list);
      fill(rowsBox, h("div", { class: "empty" }, h("span", { class: "empty-icon" }, icon(needle ? "search" : tab.icon)),
        h("p", null, needle ? "Nothing on this page matches the filter." : reviewOnly ? "Nothing needs a review." : tab.empty)));
      closeDetail();
      return;
    }
    if (list === "errors") {
      fill(rowsBox, errorTable(shown));
      return;
    }
    fill(rowsBox, list.startsWith("unmatched") ? recordTable() : pairTable());
    showSelected();
  }

  function grid(heads, rows) {
    return h("div", { class: "table-scroll" }, h("table", { class: "grid", role: "grid", "aria-label": tabs.find((t) => t.list === list).text, "aria-rowcount": String(page.total ?? -1) },
      h("thead", null, h("tr", { role: "row" }, heads.map(([text, cls]) => h("th", { scope: "col", role: "columnheader", class: cls || null }, text)))),
      h("tbody", { onclick: (event) => pick(event), ondblclick: (event) => pick(event, true), onkeydown: rowKeys }, rows)));
  }

  const row = (i, cells) => h("tr", { role: "row", "data-i": String(i), tabindex: i === selected ? "0" : "-1", "aria-rowindex": String(firstOf() + page.items.indexOf(shown[i]) + 1) }, cells.map(([content, cls]) => h("td", { role: "gridcell", class: cls }, content)));

  function pairTable() {
    const labels = [];
    for (const item of shown) for (const c of item.comparisons ?? []) if (!labels.includes(c.label)) labels.push(c.label);
    const columns = labels.slice(0, MAX_COLUMNS);
    const numericLabel = (label) => shown.every((item) => isAmount(item.comparisons?.find((c) => c.label === label)?.left));
    return grid(
      [["Left", "id"], ["Right", "id"], ...columns.map((label) => [words(label), numericLabel(label) ? "end" : "head"]), ["Confidence", "end"]],
      shown.map((item, i) => row(i, [
        [idsOf(item.left), "id"],
        [idsOf(item.right), "id"],
        ...columns.map((label) => comparisonCell(item.comparisons?.find((c) => c.label === label), numericLabel(label))),
        [[item.state === "review" && h("span", { class: "mini warn", title: "To review" }, icon("eye", "to review")),
          item.kind !== "one_to_one" && h("span", { class: "tag" }, KIND_TEXT[item.kind] ?? words(item.kind)),
          h("span", { class: "num" }, percent(item.probability))], "end nowrap"],
      ])));
  }

  function comparisonCell(c, numeric) {
    const cls = numeric ? "end" : "";
    if (!c) return ["", cls];
    const left = sideValue(c.left);
    const right = sideValue(c.right);
    if (left === right) return [h("span", { class: "same", title: left }, left), cls];
    const level = levelOf(c);
    return [h("span", { class: `pair-cell ${level.tone}` }, icon(level.icon, level.text), h("span", null, h("span", { title: left }, left || "–"), h("span", { title: right }, right || "–"))), cls];
  }

  function recordTable() {
    const side = list === "unmatched_left" ? "left" : "right";
    const names = [];
    for (const item of shown) for (const name of Object.keys(item[side]?.[0]?.fields ?? {})) if (!names.includes(name)) names.push(name);
    const idName = side === "left" ? job.left_id : job.right_id;
    const columns = names.filter((n) => n !== idName).slice(0, MAX_COLUMNS + 1);
    const numeric = new Set(columns.filter((n) => shown.every((item) => isAmount(item[side]?.[0]?.fields?.[n]))));
    return grid([["Id", "id"], ...columns.map((n) => [n, numeric.has(n) ? "end" : ""])], shown.map((item, i) => {
      const fields = item[side]?.[0]?.fields ?? {};
      return row(i, [[idsOf(item[side]), "id"], ...columns.map((n) => [h("span", { class: "same", title: String(fields[n] ?? "") }, String(fields[n] ?? "")), numeric.has(n) ? "end" : ""])]);
    }));
  }

  const errorTable = (items) => h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Bad rows" }, h("table", { class: "grid plain" },
    h("thead", null, h("tr", null, ["Side", "Line", "Column", "Value", "Why it was left out"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", null, items.map((e) => h("tr", null,
      h("td", null, h("span", { class: `side-mark ${e.side}` }, icon(e.side), words(e.side))),
      h("td", { class: "num" }, count(e.line)), h("td", null, e.column ?? "–"), h("td", null, h("code", { class: "wrap" }, e.value ?? "")), h("td", null, e.reason))))));

  // --- choosing a row -------------------------------------------------------------------------------------------

  function pick(event, open = false) {
    const at = event.target.closest("tr")?.dataset.i;
    if (at === undefined) return;
    select(Number(at));
    if (open || narrow()) openDetail();
  }

  const narrow = () => matchMedia("(max-width: 1080px)").matches;
  const rowAt = (i) => rowsBox.querySelector(`tr[data-i="${i}"]`);

  function select(i, { focus = false } = {}) {
    selected = i;
    showSelected();
    if (focus) focusRow();
  }

  function focusRow() {
    const target = rowAt(selected);
    target?.focus({ preventScroll: true });
    target?.scrollIntoView({ block: "nearest" });
  }

  function showSelected() {
    for (const tr of rowsBox.querySelectorAll("tbody tr")) {
      const on = Number(tr.dataset.i) === selected;
      tr.tabIndex = on ? 0 : -1;
      tr.setAttribute("aria-selected", String(on));
    }
    if (shown[selected]) fill(detail, explanation(shown[selected], { job, onClose: closeAndReturn }));
  }

  function openDetail() {
    detail.classList.add("open");
    detail.focus({ preventScroll: true });
  }
  function closeDetail() {
    detail.classList.remove("open");
    if (shown.length === 0 || list === "errors") fill(detail);
  }
  function closeAndReturn() {
    closeDetail();
    focusRow();
  }

  function rowKeys(event) {
    if (!event.target.closest("tr")) return;
    const last = shown.length - 1;
    const to = { ArrowDown: selected + 1, ArrowUp: selected - 1, Home: 0, End: last, j: selected + 1, k: selected - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      if (to >= 0 && to <= last) select(to, { focus: true });
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      event.preventDefault();
      turn(event.key === "PageDown" ? 1 : -1);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      openDetail();
    }
  }

  function onKey(event, typing) {
    if (event.key === "Escape") {
      if (detail.contains(document.activeElement) || detail.classList.contains("open")) {
        event.preventDefault();
        closeAndReturn();
      } else if (document.activeElement === filter) {
        event.preventDefault();
        filter.value = "";
        showRows();
        focusRow();
      }
    } else if (event.key === "Enter" && document.activeElement === filter) focusRow();
    else if (event.key === "ArrowDown" && document.activeElement === filter) {
      event.preventDefault();
      focusRow();
    } else if (!typing && event.key === "/") {
      event.preventDefault();
      filter.focus();
      filter.select();
    } else if (!typing && /^[1-5]$/.test(event.key) && tabs[event.key - 1]) show(tabs[event.key - 1].list, { focus: true });
  }

  return {
    node,
    show(next, options) {
      const done = show(next, options);
      node.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      return done;
    },
    start: () => show(asked ?? (counts.matched > 0 ? "matched" : "discrepancy")),
    destroy: () => loading?.abort(),
    onKey,
  };
}

/** Columns of decimals are set flush right; codes and dates are not, although they are digits too. */
const isAmount = (value) => value === null || value === undefined || /^$|^[-+(]?\s?[\d.,' ]*[.,]\d{1,4}\)?$/.test(String(value));

function idsOf(records) {
  const ids = (records ?? []).map((r) => r.id ?? `#${r.ordinal}`);
  return ids.length === 0 ? "–" : h("span", { class: "ids", title: ids.join(", ") }, ids.slice(0, 2).join(", "), ids.length > 2 && h("span", { class: "muted" }, ` +${ids.length - 2}`));
}

const skeleton = () => h("div", { class: "skeleton rows-skeleton", "aria-hidden": "true" }, Array.from({ length: 8 }, () => h("span")));
