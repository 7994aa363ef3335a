// The HTTP side: one function per call of /api/v1, problem+json turned into `Problem`, the token and the question for it.
// Easy to get wrong: many calls may meet 401 at once; they share one question and each is sent again once.

const TOKEN_KEY = "tieout.token";
const RETRY_CAP_MS = 5000;
const GET_TRIES = 3;

/** A refused or failed request, in the words of the server where it gave any. */
export class Problem extends Error {
  constructor(fields) {
    super(fields.detail || fields.title || "request failed");
    this.name = "Problem";
    this.status = fields.status ?? 0;
    this.title = fields.title || "Request failed";
    this.detail = fields.detail || "";
    this.code = fields.code || "";
    this.limit = fields.limit || null;
    this.errors = fields.errors || null;
    this.requestId = fields.request_id || null;
  }
}

let token = null;
try {
  token = sessionStorage.getItem(TOKEN_KEY);
} catch {
  // Without storage the token lives as long as the page.
}

export const getToken = () => token;

export function setToken(value) {
  token = value || null;
  try {
    if (token) sessionStorage.setItem(TOKEN_KEY, token);
    else sessionStorage.removeItem(TOKEN_KEY);
  } catch {
    // As above.
  }
}

let askForToken = null;
let asking = null;

/** `ask(previousToken)` resolves with a token or null; set once by the shell. */
export const onTokenNeeded = (ask) => {
  askForToken = ask;
};

let tokenChanged = null;

/** `tell()` runs after a new token was given. */
export const onTokenChanged = (tell) => {
  tokenChanged = tell;
};

/** Asks for a token unless one newer than `used` came meanwhile; resolves false when the user gave none. */
export async function renewToken(used) {
  if (token && token !== used) return true;
  if (!askForToken) return false;
  asking ??= askForToken(used).finally(() => {
    asking = null;
  });
  const given = await asking;
  if (given) {
    setToken(given);
    tokenChanged?.();
  }
  return Boolean(given);
}

const authHeaders = () => (token ? { authorization: `Bearer ${token}` } : {});
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function problemFrom(status, text, requestId, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    body = { title: `The server answered ${status}`, detail: text.slice(0, 300) };
  }
  const problem = new Problem({ status, request_id: requestId, ...body });
  problem.retryAfterMs = Number(retryAfter) > 0 ? Number(retryAfter) * 1000 : null;
  return problem;
}

const unreachable = () => new Problem({
  title: "The server can't be reached",
  detail: "No answer came. Check that tieout is still running; the page goes on by itself when it is back.",
  code: "unreachable",
});

async function send(method, path, { query, body, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(key, value);
  }
  const used = token;
  let response;
  try {
    response = await fetch(url, {
      method,
      signal,
      headers: { accept: "application/json", ...authHeaders(), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw error?.name === "AbortError" ? error : unreachable();
  }
  if (response.ok) return { response, used };
  throw Object.assign(problemFrom(response.status, await response.text(), response.headers.get("x-request-id"), response.headers.get("retry-after")), { used });
}

async function request(method, path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await send(method, path, options)).response;
    } catch (problem) {
      if (problem.status === 401 && (await renewToken(problem.used))) continue;
      // Only what changes nothing is repeated by itself, and only when the server says it is a matter of moments.
      const transient = problem.status === 429 || problem.status === 503;
      if (method !== "GET" || !transient || attempt >= GET_TRIES) throw problem;
      await pause(Math.min(problem.retryAfterMs ?? 500 * attempt, RETRY_CAP_MS));
    }
  }
}

async function json(method, path, options) {
  const response = await request(method, path, options);
  if (response.status === 204) return null;
  const value = await response.json();
  const position = /^(.*):(\d+)$/.exec(response.headers.get("x-tieout-position") ?? "");
  if (value && position) Object.defineProperty(value, "position", { value: { ep: position[1], off: Number(position[2]) } });
  return value;
}

const V1 = "/api/v1";
/** Most pages of one list that are read at once. */
const MAX_PAGES = 20;

/** Every item of a paged list, newest first. */
async function all(path) {
  const items = [];
  let after = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const got = await json("GET", path, { query: { after } });
    items.push(...got.items);
    after = got.next;
    if (!after) break;
  }
  return items.sort((a, b) => b.created_at_ms - a.created_at_ms);
}

export const health = () => json("GET", "/api/health");
/** Never throws for 503: an unready server describes itself in the body, in detail to whoever has a token. */
export async function ready() {
  const response = await fetch("/api/ready", { headers: { accept: "application/json", ...authHeaders() } });
  return response.json();
}

export const listProjects = (after) => json("GET", `${V1}/projects`, { query: { limit: 100, after } });
export const createProject = (name) => json("POST", `${V1}/projects`, { body: { name } });
export const getProject = (id) => json("GET", `${V1}/projects/${id}`);
export const renameProject = (id, name) => json("PATCH", `${V1}/projects/${id}`, { body: { name } });
export const deleteProject = (id) => json("DELETE", `${V1}/projects/${id}`);

export const listSources = (project) => all(`${V1}/projects/${project}/sources`);
export const getSource = (id) => json("GET", `${V1}/sources/${id}`);
export const suggestedRules = (project, query, signal) => json("GET", `${V1}/projects/${project}/suggested-rules`, { query, signal });

export const listJobs = (project) => all(`${V1}/projects/${project}/jobs`);
export const createJob = (project, body) => json("POST", `${V1}/projects/${project}/jobs`, { body });
export const getJob = (id) => json("GET", `${V1}/jobs/${id}`);
export const startJob = (id) => json("POST", `${V1}/jobs/${id}/start`);
export const cancelJob = (id) => json("POST", `${V1}/jobs/${id}/cancel`);
export const pauseJob = (id) => json("POST", `${V1}/jobs/${id}/pause`);
export const resumeJob = (id) => json("POST", `${V1}/jobs/${id}/resume`);
export const deleteJob = (id) => json("DELETE", `${V1}/jobs/${id}`);
export const jobProgress = (id) => json("GET", `${V1}/jobs/${id}/progress`);
export const jobResults = (id, query, signal) => json("GET", `${V1}/jobs/${id}/results`, { query, signal });
export const jobErrors = (id, query, signal) => json("GET", `${V1}/jobs/${id}/errors`, { query, signal });

/** CSV is opened in spreadsheets, which would run what looks like a formula. */
export const exportUrl = (id, format, status) =>
  `${V1}/jobs/${id}/export?${new URLSearchParams({ format, status, ...(format === "csv" && { safe: "spreadsheet" }) })}`;

/** Sends one file as it is. XMLHttpRequest, because fetch reports no upload progress. */
export function uploadSource(project, file, onProgress) {
  let xhr;
  let aborted = false;
  const once = () => new Promise((resolve, reject) => {
    const used = token;
    xhr = new XMLHttpRequest();
    const name = file.name.replace(/\.[^.]+$/, "").trim();
    const query = new URLSearchParams({ ...(name && { name }), filename: file.name });
    xhr.open("POST", `${V1}/projects/${project}/sources?${query}`);
    xhr.setRequestHeader("content-type", "application/octet-stream");
    if (token) xhr.setRequestHeader("authorization", `Bearer ${token}`);
    xhr.upload.onprogress = (event) => onProgress(event.loaded, event.lengthComputable ? event.total : file.size);
    xhr.onerror = () => reject(unreachable());
    xhr.onabort = () => reject(new DOMException("upload stopped", "AbortError"));
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve({ source: JSON.parse(xhr.responseText), created: xhr.status === 201 });
      else reject(Object.assign(problemFrom(xhr.status, xhr.responseText, xhr.getResponseHeader("x-request-id")), { used }));
    };
    xhr.send(file);
  });
  const run = async () => {
    for (;;) {
      try {
        return await once();
      } catch (problem) {
        if (aborted || problem.status !== 401 || !(await renewToken(problem.used))) throw problem;
      }
    }
  };
  return { done: run(), abort: () => { aborted = true; xhr?.abort(); } };
}

/** Downloads an export. A plain link streams to disk, but can't carry a token: with one the body is fetched first. */
export async function download(url, filename) {
  const link = document.createElement("a");
  link.download = filename;
  if (!token) {
    link.href = url;
    link.click();
    return;
  }
  const blob = await (await request("GET", url)).blob();
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
