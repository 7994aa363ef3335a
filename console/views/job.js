// One run: live progress with cancel, then the summary, the result lists and the downloads.
// Progress comes over the WebSocket; while that is silent the same numbers are polled, so the page never stands still.

import * as api from "../api.js";
import { announce, confirmDialog, fill, h, icon, keepFocus, problemBox, toast, toastProblem } from "../dom.js";
import { bytes, count, duration, isTerminal, jobState, PHASE_NAME, PHASE_TEXT, PHASES, percent, plural, RESULTS, short, when } from "../format.js";
import { resultsPanel } from "./results.js";
import { describeRules } from "./rules.js";

const SILENCE_MS = 2000;
const TICK_MS = 1000;
const ANNOUNCE_EVERY = 0.25;

export async function jobView({ args: [projectId, jobId], query, live, go }) {
  // The project first: what happens after its position is told again by the room, so the job may be newer but never older.
  const project = await api.getProject(projectId);
  let job = await api.getJob(jobId);
  const [left, right] = await Promise.all([api.getSource(job.left_source_id), api.getSource(job.right_source_id)]);
  let progress = job;
  let heard = Date.now();
  let results = null;
  const here = `#/projects/${projectId}/jobs/${jobId}`;

  const badge = h("span");
  const facts = h("p", { class: "muted facts num" });
  const actions = h("div", { class: "page-actions" });
  const stage = h("div", { class: "stage" });
  const node = h("div", { class: "page wide" },
    h("div", { class: "page-head" },
      h("div", null,
        h("h1", { class: "job-title" },
          h("span", { class: "side-name left" }, left.filename ?? left.name), icon("swap", "against"), h("span", { class: "side-name right" }, right.filename ?? right.name)),
        h("div", { class: "job-sub" }, badge, facts)),
      actions),
    stage,
    job.rules && h("details", { class: "card used-rules" },
      h("summary", null, icon("chevronRight"), "Rules of this run"), describeRules(job.rules)));

  function showHead() {
    const state = jobState(job.state);
    badge.className = `badge ${state.tone}`;
    badge.dataset.state = job.state;
    fill(badge, icon(state.icon), state.text);
    const took = job.finished_at_ms && job.started_at_ms ? (job.finished_at_ms - job.started_at_ms) / 1000 : null;
    facts.textContent = [when(job.started_at_ms ?? job.created_at_ms), took !== null && `took ${duration(took)}`, job.attempt > 1 && `attempt ${job.attempt}`].filter(Boolean).join("  ·  ");
    facts.title = `Job ${job.id}`;
    keepFocus(actions, () => fill(actions,
      job.state === "created" && button("Start", "play", "primary", () => act(api.startJob), "start"),
      job.state === "paused" && button("Resume", "play", "primary", () => act(api.resumeJob), "resume"),
      !isTerminal(job.state) && !["created", "paused", "cancelling"].includes(job.state) && button(job.state === "pausing" ? "Pausing…" : "Pause", "clock", "", () => act(api.pauseJob), "pause", job.state === "pausing"),
      !isTerminal(job.state) && job.state !== "created" && button(job.state === "cancelling" ? "Cancelling…" : "Cancel", "stop", "danger-ghost", () => act(api.cancelJob), "cancel", job.state === "cancelling"),
      isTerminal(job.state) && button("Run again", "refresh", "", () => go(`#/projects/${projectId}?from=${jobId}`), "again"),
      (isTerminal(job.state) || ["created", "paused"].includes(job.state)) && button("Delete", "trash", "danger-ghost", remove, "delete")));
  }

  const button = (text, glyph, tone, onclick, id, disabled = false) => h("button", { class: `btn small ${tone}`, type: "button", id, onclick, disabled }, icon(glyph), text);

  async function act(call) {
    try {
      job = { ...job, ...(await call(jobId)) };
      showHead();
      await refresh();
    } catch (error) {
      toastProblem(error);
    }
  }

  async function remove() {
    if (!(await confirmDialog("Delete this run?", "Its results will be deleted. The files stay in the project.", "Delete run"))) return;
    try {
      await api.deleteJob(jobId);
      go(`#/projects/${projectId}`);
    } catch (error) {
      toastProblem(error);
    }
  }

  // --- progress -------------------------------------------------------------------------------------------------

  let announced = { phase: null, part: 0 };
  let meter = null;

  function showProgress() {
    meter ??= progressCard();
    if (!stage.contains(meter.node)) fill(stage, meter.node);
    meter.update(progress);
    const part = progress.total ? progress.done / progress.total : 0;
    const phase = progress.phase || progress.state;
    if (phase !== announced.phase || part >= announced.part + ANNOUNCE_EVERY) {
      announced = { phase, part };
      announce(`${PHASE_TEXT[phase] ?? PHASE_TEXT[progress.state] ?? phase}, ${percent(part, 0)}`);
    }
  }

  function onProgress(next) {
    heard = Date.now();
    // Late news of a run that stands still or is over by now.
    if (!next.terminal && (job.state === "paused" || isTerminal(job.state))) return;
    progress = { ...progress, ...next };
    if (job.state !== next.state && !["cancelling", "pausing"].includes(job.state)) {
      job = { ...job, state: next.state };
      showHead();
    }
    if (next.terminal || isTerminal(next.state)) refresh().catch(toastProblem);
    else showProgress();
  }

  let refreshing = null;
  function refresh() {
    refreshing ??= (async () => {
      const was = job.state;
      job = await api.getJob(jobId);
      progress = job;
      showHead();
      show();
      if (was !== job.state && isTerminal(job.state)) announceEnd();
    })().finally(() => { refreshing = null; });
    return refreshing;
  }

  function announceEnd() {
    const c = job.counts;
    const text = job.state === "completed" && c
      ? `Finished: ${count(c.matched)} matched, ${plural(c.discrepancy, "discrepancy", "discrepancies")}, ${count(c.unmatched_left)} unmatched left, ${count(c.unmatched_right)} unmatched right.`
      : jobState(job.state).text;
    announce(text);
    if (document.visibilityState === "hidden") toast(text, { tone: job.state === "completed" ? "good" : "info" });
  }

  const ticker = setInterval(async () => {
    if (isTerminal(job.state) || ["created", "paused"].includes(job.state) || Date.now() - heard < SILENCE_MS) return;
    heard = Date.now();
    try {
      const polled = await api.jobProgress(jobId);
      if (!isTerminal(job.state)) onProgress(polled);
    } catch (error) {
      // The indicator already says that the server is away; the next tick tries again.
      if (error.status === 404) go(`#/projects/${projectId}`);
    }
  }, TICK_MS);

  // --- the end --------------------------------------------------------------------------------------------------

  function show() {
    if (job.state === "completed") showResults();
    else if (job.state === "failed") fill(stage, failure(job, refreshAfterStart));
    else if (job.state === "cancelled") {
      fill(stage, h("div", { class: "card empty" }, h("span", { class: "empty-icon" }, icon("stop")),
        h("p", null, "This run was cancelled."), h("p", { class: "muted small" }, "Nothing of it was kept. Run it again whenever you like.")));
    } else if (job.state === "paused") {
      fill(stage, h("div", { class: "card empty" }, h("span", { class: "empty-icon" }, icon("clock")),
        h("p", null, "This run is paused."), h("p", { class: "muted small" }, "What it finished is kept. Resume it whenever you like.")));
    } else if (job.state === "created") {
      fill(stage, h("div", { class: "card empty" }, h("span", { class: "empty-icon" }, icon("play")), h("p", null, "This run has not been started yet.")));
    } else showProgress();
  }

  const refreshAfterStart = () => act(api.startJob);

  function showResults() {
    if (results) return;
    results = resultsPanel({
      job,
      query,
      onMove: (params) => history.replaceState(null, "", params.size ? `${here}?${params}` : here),
    });
    fill(stage, summary(job, (list) => results.show(list, { focus: true })), results.node);
    results.start();
  }

  showHead();
  show();
  live.join(projectId, project.position);

  return {
    node,
    title: `${left.filename ?? left.name} against ${right.filename ?? right.name}`,
    crumbs: [["Projects", "#/"], [project.name, `#/projects/${projectId}`], ["Run", here]],
    ownsHash: () => false,
    destroy() {
      clearInterval(ticker);
      results?.destroy();
    },
    onResync: () => refresh().catch(toastProblem),
    onMessage(kind, body) {
      if (kind === "JobProgressUpdate" && body.job_id === jobId) onProgress(body);
      else if (kind === "DataUpdate" && body.entity === "job" && body.entity_id === jobId) {
        if (body.action === "deleted") go(`#/projects/${projectId}`);
        else if (!isTerminal(job.state)) refresh().catch(toastProblem);
      }
    },
    onKey: (event, typing) => results?.onKey(event, typing),
  };
}

/** The card of a running job: the phases as segments, the present one filling, and the four numbers. */
function progressCard() {
  const title = h("h2", { id: "phase" });
  const share = h("span", { class: "progress-share num" });
  const segments = PHASES.map((phase) => h("span", { "data-phase": phase }, h("span", { class: "segment" }, h("span")), h("span", { class: "segment-name" }, PHASE_NAME[phase])));
  const bar = h("div", { class: "segments", role: "progressbar", "aria-label": "Progress of this run", "aria-valuemin": "0", "aria-valuemax": "100" }, segments);
  const tile = (label, id) => {
    const value = h("dd", { id, class: "num" }, "–");
    return { value, node: h("div", null, h("dt", null, label), value) };
  };
  const rows = tile("Done in this step", "progress-done");
  const rate = tile("Speed", "progress-rate");
  const matches = tile("Matches so far", "progress-matches");
  const eta = tile("Time left", "progress-eta");
  const node = h("section", { class: "card pad progress", id: "progress", "aria-label": "Progress" },
    h("div", { class: "progress-head" }, title, share), bar, h("dl", { class: "facts-grid" }, [rows, rate, matches, eta].map((t) => t.node)));
  return {
    node,
    update({ state, phase, done, total, matches: found, rows_per_second: speed, eta_seconds: seconds }) {
      // A phase without a segment of its own is part of its state.
      const at = PHASES.includes(phase) ? PHASES.indexOf(phase) : PHASES.indexOf(state);
      const part = total ? Math.min(1, done / total) : 0;
      segments.forEach((segment, i) => {
        segment.className = i < at ? "done" : i === at ? "now" : "";
        segment.style.setProperty("--part", i < at ? 1 : i === at ? part : 0);
      });
      const text = PHASE_TEXT[state === "cancelling" ? state : phase || state] ?? PHASE_TEXT[state] ?? state;
      title.textContent = text;
      share.textContent = at >= 0 && total ? percent(part, 0) : "";
      const overall = at < 0 ? 0 : Math.round(((at + part) / PHASES.length) * 100);
      bar.setAttribute("aria-valuenow", overall);
      bar.setAttribute("aria-valuetext", `${text}, ${percent(part, 0)}, step ${at + 1} of ${PHASES.length}`);
      // Reading is counted in bytes, everything after it in rows.
      const reading = (phase || state) === "ingesting";
      rows.value.textContent = total ? (reading ? `${bytes(done)} of ${bytes(total)}` : `${count(done)} of ${count(total)}`) : "–";
      rate.value.textContent = speed ? `${short(speed)} rows/s` : "–";
      matches.value.textContent = found === undefined || found === null ? "–" : count(found);
      eta.value.textContent = Number.isFinite(seconds) ? duration(seconds) : "–";
    },
  };
}

function failure(job, retry) {
  const error = typeof job.error === "string" ? { detail: job.error } : job.error ?? {};
  return problemBox({ title: "This run failed", detail: error.detail ?? error.message ?? "The server gave no reason.", code: error.code, errors: error.errors },
    error.retryable ? { retry } : {});
}

/** The tiles and the bar that shows how the records of both sides fell. */
function summary(job, show) {
  const c = job.counts ?? {};
  const badRows = c.errors ?? 0;
  const tiles = [
    { list: "matched", label: "Matched", value: c.matched, tone: "good", glyph: "checkCircle", note: "pairs that agree" },
    { list: "review", label: "To review", value: c.review, tone: "warn", glyph: "eye", note: "of the matched, worth a look" },
    { list: "discrepancy", label: "Discrepancies", value: c.discrepancy, tone: "bad", glyph: "notEqual", note: "paired, but different" },
    { list: "unmatched_left", label: "Unmatched left", value: c.unmatched_left, tone: "left", glyph: "left", note: share(c.unmatched_left, c.left, "left") },
    { list: "unmatched_right", label: "Unmatched right", value: c.unmatched_right, tone: "right", glyph: "right", note: share(c.unmatched_right, c.right, "right") },
    { list: "errors", label: "Bad rows", value: badRows, tone: badRows ? "warn" : "neutral", glyph: "alert", note: badRows ? "left out, or missing by the balance" : "every row was read" },
  ];
  // Matches to review are matches too; in the bar they are one part of the whole, not counted twice.
  const parts = tiles.slice(0, 5).map((t) => (t.list === "matched" ? { ...t, value: (c.matched ?? 0) - (c.review ?? 0) } : t)).filter((t) => t.value > 0);
  return h("section", { class: "summary", "aria-label": "Summary" },
    h("div", { class: "tiles" }, tiles.map((t) => h("button", { class: `tile ${t.tone}`, type: "button", "data-tile": t.list, onclick: () => show(t.list) },
      h("span", { class: "tile-label" }, icon(t.glyph), t.label),
      h("span", { class: "tile-value num" }, count(t.value)),
      h("span", { class: "tile-note" }, t.note)))),
    h("div", { class: "split", role: "img", "aria-label": parts.map((t) => `${t.label} ${count(t.value)}`).join(", ") },
      parts.map((t) => h("span", { class: t.tone, vars: { "--n": t.value }, title: `${t.label}: ${count(t.value)}` }))));
}

const share = (part, whole, side) => (whole ? `${percent(part / whole)} of ${count(whole)} ${side}` : `no record ${side}`);
