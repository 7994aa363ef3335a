// One project: the two files, the suggested rules, Start, and the runs so far.

import * as api from "../api.js";
import { confirmDialog, dialog, fill, h, icon, keepFocus, problemBox, toastProblem } from "../dom.js";
import { ago, count, duration, isTerminal, jobState, percent, when } from "../format.js";
import { rulesPanel } from "./rules.js";
import { columnsOf, sourcePanel } from "./sources.js";

export async function projectView({ args: [id], query, live, go, setCrumbs, setTitle }) {
  // The project first: what happens after its position is told again by the room, so the lists may be newer but never older.
  let project = await api.getProject(id);
  let [sources, jobs] = await Promise.all([api.listSources(id), api.listJobs(id)]);
  const { position } = project;
  let left = null;
  let right = null;
  let asked = null;

  const title = h("h1", { class: "project-title" }, project.name);
  const crumbs = () => [["Projects", "#/"], [project.name, `#/projects/${id}`]];
  const panels = {};
  const rulesBox = h("section", { class: "card pad step", id: "rules", "aria-label": "Rules", hidden: true });
  const startBar = h("div", { class: "start-bar", hidden: true });
  const history = h("section", { class: "card", id: "history", "aria-label": "Runs" });
  const rules = rulesPanel({
    onEdit(next) {
      if (next?.left_id) panels.left.setId(next.left_id);
      if (next?.right_id) panels.right.setId(next.right_id);
      showStart();
    },
  });

  for (const side of ["left", "right"]) {
    panels[side] = sourcePanel({
      side,
      project: id,
      known: () => sources,
      onChange(source) {
        if (source && !sources.some((s) => s.id === source.id)) sources = [source, ...sources];
        if (side === "left") left = source;
        else right = source;
        suggest();
      },
      onId: () => (rules.edited ? rules.patch({ left_id: idOf("left"), right_id: idOf("right") }) : suggest({ keepIds: true })),
    });
  }

  async function suggest({ keepIds = false } = {}) {
    asked?.abort();
    if (!left || !right) {
      rulesBox.hidden = true;
      startBar.hidden = true;
      return;
    }
    asked = new AbortController();
    const { signal } = asked;
    rulesBox.hidden = false;
    fill(rulesBox, stepHead("2", "Rules", "Comparing the columns…"), skeleton(3));
    try {
      const ids = keepIds ? { left_id: idOf("left"), right_id: idOf("right") } : {};
      const got = await api.suggestedRules(id, { left: left.id, right: right.id, ...ids }, signal);
      if (signal.aborted) return;
      panels.left.setId(got.left_id ?? firstUnique(left));
      panels.right.setId(got.right_id ?? firstUnique(right));
      rules.setSuggested(got.rules);
      fill(rulesBox, stepHead("2", "Rules", "Suggested from the columns of both files. Start as they are, or edit them."),
        left.id === right.id && h("p", { class: "note warn" }, icon("alert"), "Both sides are the same file: every record will match itself."),
        rules.node);
      showStart();
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(rulesBox, stepHead("2", "Rules", ""), problemBox(error, { retry: () => suggest({ keepIds }) }));
      startBar.hidden = true;
    }
  }

  const idOf = (side) => panels[side].node.querySelector(`#id-${side}`)?.value || null;

  const startProblem = h("div");
  const startButton = h("button", { class: "btn primary big", type: "button", id: "start", onclick: start }, icon("play"), "Start reconciling");
  function showStart() {
    startBar.hidden = !(left && right);
    startButton.disabled = !rules.rules;
    const known = Number.isFinite(left?.rows) && Number.isFinite(right?.rows);
    fill(startBar, startProblem, h("div", { class: "start-line" },
      h("p", { class: "muted" }, known
        ? [h("strong", { class: "num" }, count(left.rows)), " left against ", h("strong", { class: "num" }, count(right.rows)), " right"]
        : "Both files are ready."),
      startButton));
  }

  async function start() {
    startButton.disabled = true;
    fill(startProblem);
    try {
      const job = await api.createJob(id, { left: left.id, right: right.id, rules: rules.rules, left_id: idOf("left"), right_id: idOf("right"), start: true });
      go(`#/projects/${id}/jobs/${job.id}`);
    } catch (error) {
      fill(startProblem, problemBox(error));
      startButton.disabled = false;
      if (rules.edited) rules.openEditor();
    }
  }

  const nameOf = (source) => sources.find((s) => s.id === source)?.filename ?? "file";
  const showHistory = () => keepFocus(history, drawHistory);
  function drawHistory() {
    if (jobs.length === 0) {
      fill(history, h("header", { class: "card-head" }, h("h2", null, "Runs")),
        h("div", { class: "empty" }, h("span", { class: "empty-icon" }, icon("clock")), h("p", null, "No run yet."), h("p", { class: "muted small" }, "Each run stays here with its rules and results.")));
      return;
    }
    fill(history, h("header", { class: "card-head" }, h("h2", null, "Runs"), h("span", { class: "muted small num" }, count(jobs.length))),
      h("ul", { class: "run-list" }, jobs.map((job) => {
        const state = jobState(job.state);
        const c = job.counts;
        const done = job.state === "completed" && c;
        return h("li", null, h("a", { class: "run", id: `run-${job.id}`, href: `#/projects/${id}/jobs/${job.id}` },
          h("span", { class: `badge ${state.tone}` }, icon(state.icon), state.text),
          h("span", { class: "run-files" }, h("span", null, nameOf(job.left_source_id)), icon("swap"), h("span", null, nameOf(job.right_source_id))),
          h("span", { class: "run-counts num" }, done
            ? [h("span", null, h("b", null, count(c.matched)), " matched"), h("span", null, h("b", null, count(c.discrepancy)), " discrepant"), h("span", null, h("b", null, count((c.unmatched_left ?? 0) + (c.unmatched_right ?? 0))), " unmatched")]
            : h("span", { class: "muted" }, job.error?.detail ?? job.error?.message ?? (typeof job.error === "string" ? job.error : isTerminal(job.state) ? "" : job.total ? percent(job.done / job.total, 0) : ""))),
          h("span", { class: "run-when muted small", title: when(job.created_at_ms) },
            ago(job.created_at_ms), job.finished_at_ms && job.started_at_ms && ` · ${duration((job.finished_at_ms - job.started_at_ms) / 1000)}`),
          icon("chevronRight")));
      })));
  }

  const reloadJobs = async () => {
    jobs = await api.listJobs(id);
    showHistory();
  };
  const reloadSources = async () => {
    sources = await api.listSources(id);
    panels.left.refresh();
    panels.right.refresh();
  };

  const rename = async () => {
    const name = await dialog("Rename project", (close) => {
      const input = h("input", { class: "input", value: project.name, maxlength: "200", required: true, autofocus: true });
      return h("form", { class: "dialog-body", onsubmit: (event) => { event.preventDefault(); close(input.value.trim()); } },
        h("h2", null, "Rename project"), h("label", { class: "field" }, h("span", null, "Name"), input),
        h("div", { class: "dialog-actions" }, h("button", { class: "btn", type: "button", onclick: () => close(null) }, "Cancel"), h("button", { class: "btn primary", type: "submit" }, "Rename")));
    });
    if (!name || name === project.name) return;
    try {
      renamed(await api.renameProject(id, name));
    } catch (error) {
      toastProblem(error);
    }
  };
  const renamed = (next) => {
    project = { ...project, ...next };
    title.textContent = project.name;
    setCrumbs(crumbs());
    setTitle(project.name);
  };
  const remove = async () => {
    if (!(await confirmDialog("Delete this project?", `“${project.name}”, its files and all its runs will be deleted. This can't be undone.`, "Delete project"))) return;
    try {
      await api.deleteProject(id);
      go("#/");
    } catch (error) {
      toastProblem(error);
    }
  };

  const swap = h("button", {
    class: "btn icon-only swap", type: "button", "aria-label": "Swap left and right", title: "Swap left and right", onclick: () => {
      const [a, b] = [left, right];
      left = b;
      right = a;
      panels.left.use(b, { quiet: true });
      panels.right.use(a, { quiet: true });
      suggest();
    },
  }, icon("swap"));

  showHistory();
  const node = h("div", { class: "page" },
    h("div", { class: "page-head" }, title, h("div", { class: "page-actions" },
      h("button", { class: "btn small", type: "button", onclick: rename }, icon("pencil"), "Rename"),
      h("button", { class: "btn small danger-ghost", type: "button", onclick: remove }, icon("trash"), "Delete"))),
    h("section", { class: "card pad step", "aria-label": "Files" },
      stepHead("1", "Files", "Two CSV files with a header row. They stay on this server."),
      h("div", { class: "sides" }, panels.left.node, swap, panels.right.node)),
    rulesBox, startBar, history);

  // "Run again" comes with the files of the run it repeats.
  const again = jobs.find((job) => job.id === query.get("from"));
  if (again) {
    left = sources.find((s) => s.id === again.left_source_id) ?? null;
    right = sources.find((s) => s.id === again.right_source_id) ?? null;
    if (left) panels.left.use(left, { quiet: true });
    if (right) panels.right.use(right, { quiet: true });
    suggest();
  }

  live.join(id, position);
  return {
    node,
    title: project.name,
    crumbs: crumbs(),
    mounted: () => !again && jobs.length === 0 && node.querySelector("#drop-left")?.focus({ preventScroll: true }),
    destroy() {
      asked?.abort();
      panels.left.destroy();
      panels.right.destroy();
    },
    onResync() {
      reloadJobs().catch(toastProblem);
      reloadSources().catch(toastProblem);
    },
    onMessage(kind, body) {
      if (kind === "JobProgressUpdate") {
        const job = jobs.find((j) => j.id === body.job_id);
        if (!job || body.terminal) return void reloadJobs().catch(toastProblem);
        // Late news of a run that stands still or is over by now.
        if (job.state === "paused" || isTerminal(job.state)) return;
        Object.assign(job, { state: body.state, phase: body.phase, done: body.done, total: body.total });
        showHistory();
      } else if (kind === "DataUpdate") {
        if (body.entity === "job") reloadJobs().catch(toastProblem);
        else if (body.entity === "source") reloadSources().catch(toastProblem);
        else if (body.entity === "project" && body.action === "deleted") go("#/");
        else if (body.entity === "project" && body.data?.name) renamed({ name: body.data.name });
      }
    },
  };
}

const firstUnique = (source) => (columnsOf(source).find((c) => c.unique) ?? columnsOf(source)[0])?.name;

const stepHead = (number, title, text) => h("header", { class: "step-head" },
  h("span", { class: "step-number", "aria-hidden": "true" }, number), h("div", null, h("h2", null, title), text && h("p", { class: "muted" }, text)));
const skeleton = (lines) => h("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: lines }, () => h("span")));
