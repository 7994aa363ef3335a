// How values are written: counts, bytes, durations, dates, and the words and icons of states. Pure; no DOM.

const counts = new Intl.NumberFormat(undefined);
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const count = (n) => (Number.isFinite(n) ? counts.format(n) : "–");
export const short = (n) => (Number.isFinite(n) ? compact.format(n) : "–");
export const when = (ms) => (ms ? dateTime.format(new Date(ms)) : "–");
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

export function percent(part, digits = 1) {
  if (!Number.isFinite(part)) return "–";
  const value = part * 100;
  // 99.97 % must not read as 100 %, nor 0.02 % as none.
  if (value > 99.9 && value < 100) return ">\u00a099.9\u00a0%";
  if (value > 0 && value < 0.1) return "<\u00a00.1\u00a0%";
  return `${value.toFixed(Number.isInteger(value) ? 0 : digits)}\u00a0%`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 1) return seconds === 0 ? "0 s" : "< 1 s";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function ago(ms, now = Date.now()) {
  if (!ms) return "–";
  const seconds = Math.round((ms - now) / 1000);
  const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [86400 * 30, "day", 86400]];
  for (const [below, unit, size] of steps) {
    if (Math.abs(seconds) < below) return unit === "second" ? "just now" : relative.format(Math.round(seconds / size), unit);
  }
  return when(ms);
}

/** The phases of a run in order; the states of a running job carry the same names. */
export const PHASES = ["ingesting", "indexing", "scoring", "training", "assigning", "summing", "classifying", "publishing"];

export const PHASE_NAME = { ingesting: "Read", indexing: "Index", scoring: "Score", training: "Learn", assigning: "Pair", summing: "Add up", classifying: "Sort", publishing: "Save" };

export const PHASE_TEXT = {
  created: "Not started",
  queued: "Waiting for a free runner",
  ingesting: "Reading both files",
  storing: "Storing the records",
  indexing: "Building the index",
  scoring: "Scoring candidates",
  training: "Learning the weights",
  assigning: "Choosing the best pairs",
  summing: "Looking for sums",
  classifying: "Sorting the results",
  publishing: "Saving the results",
  saving: "Keeping what was found",
  pausing: "Pausing",
  cancelling: "Stopping",
};

const TERMINAL = new Set(["completed", "cancelled", "failed"]);
export const isTerminal = (state) => TERMINAL.has(state);

/** Word, tone and icon of a job state: colour is never the only sign. */
export function jobState(state) {
  switch (state) {
    case "completed": return { text: "Completed", tone: "good", icon: "checkCircle" };
    case "failed": return { text: "Failed", tone: "bad", icon: "alert" };
    case "cancelled": return { text: "Cancelled", tone: "neutral", icon: "stop" };
    case "paused": return { text: "Paused", tone: "neutral", icon: "clock" };
    case "pausing": return { text: "Pausing", tone: "warn", icon: "clock" };
    case "cancelling": return { text: "Cancelling", tone: "warn", icon: "stop" };
    case "created": return { text: "Not started", tone: "neutral", icon: "clock" };
    case "queued": return { text: "Queued", tone: "info", icon: "clock" };
    default: return { text: state ? state[0].toUpperCase() + state.slice(1) : "Running", tone: "info", icon: "refresh" };
  }
}

/** The result lists in the order they are shown. */
export const RESULTS = {
  matched: { text: "Matched", one: "Matched", tone: "good", icon: "checkCircle", empty: "No pair was found. Check that the rules compare the right columns." },
  discrepancy: { text: "Discrepancies", one: "Discrepancy", tone: "bad", icon: "notEqual", empty: "No discrepancies: every pair agrees on every rule." },
  unmatched_left: { text: "Unmatched left", one: "Unmatched left", tone: "left", icon: "left", empty: "Every record on the left has a counterpart." },
  unmatched_right: { text: "Unmatched right", one: "Unmatched right", tone: "right", icon: "right", empty: "Every record on the right has a counterpart." },
};

export const KIND_TEXT = {
  one_to_one: "1 : 1",
  one_to_many: "1 : n",
  many_to_one: "n : 1",
  many_to_many: "n : n",
  missing: "no counterpart",
  duplicate: "repeats another",
  outbid: "counterpart taken",
  unlike: "nothing like it",
};

export const words = (name) => String(name ?? "").replaceAll("_", " ");
