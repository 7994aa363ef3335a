// The WebSocket client: one connection, at most one joined project, and recovery. Knows the envelope, nothing of the page.
// A durable message carries `ep` and `off`; `position` is the last one seen, and a rejoin sends it as `since`, so nothing is
// missed or seen twice. Easy to get wrong: a message is acted on before `position` moves past it, and a hole means rejoin, not skip.

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const SILENCE_MS = 30_000;
const ANSWER_MS = 10_000;
const REQUEST_MS = 10_000;
const RETRY_JOIN_MS = 1000;

/** What the indicator shows: connecting, online, waiting, draining, refused, off. */
export class Live extends EventTarget {
  #socket = null;
  #state = "connecting";
  #attempt = 0;
  #timer = null;
  #heartbeat = null;
  #nextId = 1;
  #waiting = new Map();
  #project = null;
  #position = null;
  #joined = false;
  #authed = false;
  #count = 0;
  #token;
  #needToken;
  #realtimeOff;

  /** `token()` gives the current one; `needToken(used)` asks the user; `realtimeOff()` says whether the server has it switched off. */
  constructor({ token, needToken, realtimeOff }) {
    super();
    this.#token = token;
    this.#needToken = needToken;
    this.#realtimeOff = realtimeOff;
    addEventListener("online", () => this.reconnect());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.#state === "waiting") this.reconnect();
    });
  }

  get state() { return this.#state; }
  get project() { return this.#project; }
  /** True while messages of the joined project really arrive. */
  get flowing() { return this.#joined; }
  get presence() { return this.#count; }

  #set(state, detail = null) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, detail } }));
  }

  /** Follows a project from `since` (the position of the snapshot the caller holds). */
  join(project, since) {
    if (this.#project === project && this.#joined) return;
    if (this.#project && this.#project !== project) this.leave();
    this.#project = project;
    this.#position = since ?? null;
    if (this.#authed) this.#sendJoin();
    else if (!this.#socket && !this.#timer) this.connect();
  }

  leave() {
    if (!this.#project) return;
    const project = this.#project;
    this.#project = null;
    this.#position = null;
    this.#joined = false;
    this.#presence(0);
    if (!this.#authed) return;
    // Nobody waits for the answer, and a lost one changes nothing: the room forgets a closed connection by itself.
    this.#request("LeaveProject", { project_id: project }).catch(() => {});
    this.#set("online");
  }

  /** Connects now, whatever the backoff says. */
  reconnect() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.connect();
  }

  /** The token changed: a connection made without it, or with another user's, is of no use. */
  restart() {
    if (this.#authed && this.#token()) {
      this.#reauth();
      return;
    }
    if (this.#socket) this.#drop(null);
    this.reconnect();
  }

  connect() {
    if (this.#socket) return;
    this.#set("connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`, ["tieout.v1+json"]);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#hello().catch((error) => {
        if (this.#socket !== socket) return;
        if (error.code === "AUTH_ERROR" || error.code === "TOKEN_EXPIRED") this.#drop(4401);
        else socket.close(4000);
      });
    };
    socket.onmessage = (event) => {
      this.#beat();
      this.#receive(event.data);
    };
    socket.onclose = (event) => this.#closed(event, opened);
  }

  async #hello() {
    const token = this.#token();
    if (token) await this.#request("Auth", { token });
    this.#authed = true;
    this.#attempt = 0;
    this.#set("online");
    this.#beat();
    if (this.#project) this.#sendJoin();
  }

  #request(kind, body) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no reply to ${kind}`));
      }, REQUEST_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, [kind]: body }));
    });
  }

  async #sendJoin() {
    const project = this.#project;
    const body = { project_id: project };
    if (this.#position) body.since = this.#position;
    const asked = Boolean(this.#position);
    try {
      const joined = await this.#request("JoinProject", body);
      if (this.#project !== project) return;
      this.#joined = true;
      // Missed messages follow the reply when it says `recovered`; otherwise the snapshot on screen is out of date.
      if (!asked || !joined.recovered) {
        this.#position = joined.ep === undefined ? null : { ep: joined.ep, off: joined.off };
        if (asked) this.dispatchEvent(new CustomEvent("resync", { detail: { project } }));
      }
      this.#presence(joined.presence?.count ?? joined.presence?.members?.length ?? 1);
      this.#set("online");
      this.dispatchEvent(new CustomEvent("joined", { detail: joined }));
    } catch (error) {
      if (this.#project !== project || !this.#socket) return;
      if (error.code === "AUTH_ERROR") this.#drop(4401);
      else if (error.code === "NOT_FOUND" || error.code === "FORBIDDEN") this.#set("refused", error.message);
      else if (error.retryable) setTimeout(() => this.#project === project && this.#authed && !this.#joined && this.#sendJoin(), error.retry_after_ms ?? RETRY_JOIN_MS);
      else this.#socket.close(4000);
    }
  }

  #presence(count) {
    this.#count = count;
    this.dispatchEvent(new CustomEvent("presence", { detail: { count } }));
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof frame === "string") frame = { [frame]: {} };
    if (frame.re !== undefined && this.#waiting.has(frame.re)) {
      const { resolve, reject, timer } = this.#waiting.get(frame.re);
      this.#waiting.delete(frame.re);
      clearTimeout(timer);
      if (frame.Error) reject(Object.assign(new Error(frame.Error.message), frame.Error));
      else resolve(Object.values(frame).find((value) => value && typeof value === "object") ?? {});
      return;
    }
    const durable = frame.off !== undefined && frame.ep !== undefined;
    if (durable && this.#position) {
      if (frame.ep !== this.#position.ep || frame.off > this.#position.off + 1) return this.#rejoin();
      if (frame.off <= this.#position.off) return undefined;
    }
    this.#deliver(frame);
    if (durable) this.#position = { ep: frame.ep, off: frame.off };
    return undefined;
  }

  #deliver(frame) {
    if (frame.Ping !== undefined) this.#socket?.send('{"Pong":{}}');
    else if (frame.PresenceDiff && frame.PresenceDiff.project_id === this.#project) {
      this.#presence(frame.PresenceDiff.count ?? Math.max(1, this.#count + (frame.PresenceDiff.joins?.length ?? 0) - (frame.PresenceDiff.leaves?.length ?? 0)));
    } else if (frame.ResyncRequired) this.#rejoin();
    // Whoever gives a new token has it sent: `restart`.
    else if (frame.AuthExpiring) this.#needToken(this.#token());
    else if (frame.Draining) this.#set("draining", frame.Draining.window_ms);
    else if (frame.ProjectLeft && frame.ProjectLeft.project_id === this.#project) {
      this.#joined = false;
      this.#set("refused", frame.ProjectLeft.reason ?? "left");
    } else {
      for (const kind of ["DataUpdate", "JobProgressUpdate", "Notification", "Collaboration"]) {
        if (frame[kind]) this.dispatchEvent(new CustomEvent("message", { detail: { kind, body: frame[kind], by: frame.by ?? null } }));
      }
    }
  }

  // A newer token of the same user keeps the connection and what it has joined; another user's needs a new one.
  async #reauth() {
    const socket = this.#socket;
    try {
      await this.#request("Auth", { token: this.#token() });
    } catch {
      if (this.#socket === socket) this.#drop(null);
      this.reconnect();
    }
  }

  #rejoin() {
    if (!this.#project) return;
    this.#joined = false;
    this.#sendJoin();
  }

  // The browser hides protocol pings, so a dead line is found by asking after a silence.
  #beat() {
    clearTimeout(this.#heartbeat);
    this.#heartbeat = setTimeout(() => {
      if (!this.#authed) return;
      this.#socket?.send(JSON.stringify({ id: this.#nextId++, Ping: {} }));
      this.#heartbeat = setTimeout(() => this.#drop(1006), ANSWER_MS);
    }, SILENCE_MS);
  }

  // A dead line may not answer a close either: let go of it at once, and go on as if it had closed with `code` (null: say nothing).
  #drop(code) {
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = null;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    if (code === null) this.#reset();
    else this.#closed({ code, reason: "" }, true);
  }

  #reset() {
    clearTimeout(this.#heartbeat);
    this.#socket = null;
    this.#authed = false;
    this.#joined = false;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error("connection closed"));
    }
    this.#waiting.clear();
    this.#presence(0);
  }

  async #closed({ code, reason }, opened) {
    this.#reset();
    if (code === 4401 || code === 4408) {
      this.#set("refused", "token");
      if (await this.#needToken(this.#token())) this.reconnect();
      return;
    }
    if (code >= 4400 && code < 4500 && retryMs(reason) === null) {
      this.#set("refused", reason);
      return;
    }
    // A refused upgrade shows as 1006 without a word; ask the server whether realtime is switched off.
    if (!opened && (await this.#realtimeOff().catch(() => false))) {
      this.#set("off");
      return;
    }
    this.#attempt += 1;
    const wait = retryMs(reason) ?? Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt);
    this.#set("waiting", Math.max(BACKOFF_MIN_MS, wait));
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.connect();
    }, Math.max(BACKOFF_MIN_MS, wait));
  }
}

/** The server's own wish in a close reason such as `{"c":"DRAIN","retry_ms":7312}`. */
function retryMs(reason) {
  try {
    const wish = JSON.parse(reason).retry_ms;
    return Number.isFinite(wish) && wish >= 0 ? wish : null;
  } catch {
    return null;
  }
}
