// One side of a reconciliation: drop or choose a file, watch it upload, see what was understood of it, pick its id column.

import * as api from "../api.js";
import { fill, h, icon, keepFocus, problemBox, toast } from "../dom.js";
import { bytes, percent, plural, words } from "../format.js";

const TYPE_ICON = { money: "money", number: "number", date: "date", text: "text", code: "code" };
const DELIMITER = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe" };

/** `side` is "left" or "right"; `onChange(source|null)` and `onId(column)` tell the project view. */
export function sourcePanel({ side, project, known, onChange, onId }) {
  let source = null;
  let upload = null;
  let idColumn = null;
  const label = side === "left" ? "Left" : "Right";
  const hint = side === "left" ? "For example the bank statement" : "For example the ledger";
  const body = h("div", { class: "side-body" });
  const node = h("section", { class: `side ${side}`, "aria-label": `${label} file` }, body);
  const input = h("input", { type: "file", class: "sr-only", id: `file-${side}`, accept: ".csv,.tsv,.txt,.xlsx,.xls,.ods,.xml,.sta,.mt940,.mt942,.ofx,.qfx,.qif,.bai,.bai2,.jsonl,text/csv,text/plain", tabindex: "-1", "aria-hidden": "true" });
  input.addEventListener("change", () => {
    if (input.files[0]) send(input.files[0]);
    input.value = "";
  });

  const head = (extra) => h("header", { class: "side-head" }, h("span", { class: `side-mark ${side}` }, icon(side), label), extra);

  function showEmpty(error) {
    const reuse = known();
    fill(body, head(), input,
      h("button", { class: "drop", type: "button", id: `drop-${side}`, onclick: () => input.click() },
        h("span", { class: "drop-icon" }, icon("upload")),
        h("strong", null, "Drop a CSV file here"),
        h("span", { class: "muted" }, "or press to choose one"),
        h("span", { class: "muted small" }, hint)),
      error && problemBox(error),
      reuse.length > 0 && h("label", { class: "field reuse" }, h("span", null, "Or use a file of this project"),
        h("select", { class: "input", id: `reuse-${side}`, onchange: (event) => use(known().find((s) => s.id === event.target.value)) },
          h("option", { value: "" }, "Choose…"),
          reuse.map((s) => h("option", { value: s.id }, `${s.filename ?? s.name} (${bytes(s.bytes)})`)))));
  }

  function showUpload(file) {
    const bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0", "aria-label": `Uploading ${file.name}` }, h("span"));
    const text = h("p", { class: "muted small num" }, `0 B of ${bytes(file.size)}`);
    fill(body, head(), h("div", { class: "uploading" },
      h("p", { class: "file-name" }, icon("file"), file.name), bar, text,
      h("button", { class: "btn small", type: "button", onclick: () => upload?.abort() }, "Stop")));
    return (loaded, total) => {
      const part = total ? loaded / total : 0;
      bar.style.setProperty("--part", part);
      bar.setAttribute("aria-valuenow", Math.round(part * 100));
      text.textContent = part >= 1 ? "Reading the columns…" : `${bytes(loaded)} of ${bytes(total)} (${percent(part, 0)})`;
    };
  }

  async function send(file) {
    upload?.abort();
    const mine = api.uploadSource(project, file, showUpload(file));
    upload = mine;
    try {
      const { source: got, created } = await mine.done;
      if (!created) toast("These bytes were here already; the existing file is used.", { detail: got.filename });
      use(got);
    } catch (error) {
      if (upload === mine) showEmpty(error.name === "AbortError" ? null : error);
    } finally {
      if (upload === mine) upload = null;
    }
  }

  function use(given, { quiet = false } = {}) {
    source = given ?? null;
    idColumn = null;
    keepFocus(node, () => (source ? showSource() : showEmpty()));
    // The control that brought the file is gone; the next one in its place is where the keyboard goes on.
    if (!quiet && document.activeElement === document.body) node.querySelector("select, button")?.focus({ preventScroll: true });
    if (!quiet) onChange(source);
  }

  function showSource() {
    const columns = columnsOf(source);
    const facts = [source.rows !== null && source.rows !== undefined && plural(source.rows, "row"), bytes(source.bytes), source.delimiter && `${DELIMITER[source.delimiter] ?? source.delimiter}-separated`, source.encoding].filter(Boolean);
    fill(body,
      head(h("button", { class: "btn ghost small", type: "button", id: `change-${side}`, onclick: () => use(null) }, "Change")),
      h("div", { class: "file-line" },
        h("span", { class: "file-badge", "aria-hidden": "true" }, icon("file")),
        h("div", null,
          h("p", { class: "file-name", title: source.filename }, source.filename ?? source.name),
          h("p", { class: "muted small num" }, facts.join("  ·  ")))),
      h("label", { class: "field inline" }, h("span", null, icon("key"), "Id column"),
        h("select", { class: "input", id: `id-${side}`, onchange: (event) => { idColumn = event.target.value; onId(idColumn); } },
          columns.map((c) => h("option", { value: c.name, selected: c.name === idColumn }, c.unique ? `${c.name} (unique)` : c.name)))),
      h("div", { class: "table-scroll columns-scroll", tabindex: "0", role: "region", "aria-label": `Columns of ${source.filename ?? source.name}` },
        h("table", { class: "columns" },
          h("thead", null, h("tr", null, h("th", { scope: "col" }, "Column"), h("th", { scope: "col" }, "Type"), h("th", { scope: "col" }, "Sample"))),
          h("tbody", null, columns.map((c) => h("tr", null,
            h("th", { scope: "row" }, h("span", { class: "column-name" }, c.name, c.unique && h("span", { class: "tag", title: "No value occurs twice" }, "unique"))),
            h("td", null, h("span", { class: "type" }, icon(TYPE_ICON[c.type] ?? "text"), h("span", null, words(c.type)), c.format && h("span", { class: "muted small" }, c.format))),
            h("td", { class: "samples" }, samplesOf(c).slice(0, 2).map((s) => h("code", { title: String(s) }, String(s))))))))));
  }

  let depth = 0;
  node.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; node.classList.add("over"); });
  node.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) node.classList.remove("over"); });
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    node.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) send(file);
  });

  showEmpty();
  return {
    node,
    get source() { return source; },
    use,
    /** Shows which id column the suggestion chose. */
    setId(column) {
      idColumn = column;
      const select = node.querySelector(`#id-${side}`);
      if (select && column) select.value = column;
    },
    /** Other files of the project came or went. */
    refresh() { if (!source && !upload) keepFocus(node, () => showEmpty()); },
    destroy() { upload?.abort(); },
  };
}

export const columnsOf = (source) => {
  const columns = source?.columns;
  return Array.isArray(columns) ? columns : columns?.columns ?? [];
};
const samplesOf = (column) => (Array.isArray(column.samples) ? column.samples : column.sample !== undefined ? [column.sample] : []).filter((s) => s !== null && s !== "");
