// What a browser test needs: a tieout server of its own on a free port with an empty data directory, a Chromium with an empty
// profile, and waiting for conditions under a deadline. Everything started here is stopped by `close`, by its own handle.

import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
export const ROOT = resolve(HERE, "../..");
export const FIXTURES = join(HERE, "fixtures");
export const ARTIFACTS = process.env.TIEOUT_ARTIFACTS ?? join(ROOT, "test-artifacts");

const START_MS = 30_000;
const STOP_MS = 20_000;
const WAIT_MS = Number(process.env.TIEOUT_TEST_WAIT_MS ?? 30_000);

/** The server under test: the first argument, TIEOUT_BIN, or the debug build. */
export const BINARY = process.argv.slice(2).find((a) => !a.startsWith("-")) ?? process.env.TIEOUT_BIN ?? join(ROOT, "target/debug/tieout");

/** Polls `check` until it answers something true; says what was awaited when it never does. */
export async function until(what, check, within = WAIT_MS) {
  const deadline = Date.now() + within;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${within} ms for ${what}${last ? `: ${last.message}` : ""}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const freePort = () => new Promise((done, fail) => {
  const probe = createServer();
  probe.once("error", fail);
  probe.listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => done(port));
  });
});

/** Starts `tieout serve`; `url` is its address, `api` asks it, `restart` stops and starts it on the same port and data. */
export async function startServer({ host = "127.0.0.1", args = [], token = null } = {}) {
  const data = await mkdtemp(join(tmpdir(), "tieout-browser-"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let child = null;
  let log = "";

  const start = async () => {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIEOUT_")));
    child = spawn(BINARY, ["serve", "--listen", `${host}:${port}`, "--data-dir", data, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (chunk) => { log += chunk; });
    child.stderr.on("data", (chunk) => { log += chunk; });
    let failed = null;
    child.once("error", (error) => { failed = error; });
    await until(`${BINARY} to be ready at ${url}`, async () => {
      if (failed) throw failed;
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${log}`);
      return (await fetch(`${url}/api/ready`)).ok;
    }, START_MS);
  };
  const stop = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(timer);
  };
  const kill = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
  };
  await start();
  return {
    url,
    get log() { return log; },
    start,
    stop,
    kill,
    async api(path, options = {}) {
      const response = await fetch(url + path, { ...options, headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...options.headers } });
      if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
      return response;
    },
    async close() {
      await stop();
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** A Chromium with a new, empty profile. `problems` collects what the page complained about and any request to another host. */
export async function openBrowser(origin, { colorScheme = "light" } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "tieout-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    viewport: { width: 1440, height: 900 },
    colorScheme,
    acceptDownloads: true,
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  context.setDefaultTimeout(WAIT_MS);
  const problems = [];
  const frames = [];
  const watch = (page) => {
    page.on("pageerror", (error) => problems.push(`page error: ${error.stack ?? error}`));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(origin) && !/^(blob|data):/.test(request.url())) problems.push(`asked another host: ${request.url()}`);
    });
    page.on("websocket", (socket) => {
      socket.on("framesent", ({ payload }) => frames.push({ sent: true, frame: JSON.parse(payload) }));
      socket.on("framereceived", ({ payload }) => frames.push({ sent: false, frame: JSON.parse(payload) }));
    });
  };
  context.pages().forEach(watch);
  context.on("page", watch);
  const page = context.pages()[0] ?? (await context.newPage());
  return {
    context,
    page,
    problems,
    frames,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Keeps a picture of the page in `test-artifacts/`; a whole one is taken in a window as tall as the page, so that what sticks to its edge sits where it belongs. */
export async function shot(page, name, { whole = false } = {}) {
  await mkdir(ARTIFACTS, { recursive: true });
  const size = page.viewportSize();
  if (whole) await page.setViewportSize({ width: size.width, height: Math.max(size.height, await page.evaluate(() => document.documentElement.scrollHeight)) });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`), animations: "disabled" });
  if (whole) await page.setViewportSize(size);
}

/** A number as the page writes it. */
export const shown = (n) => new Intl.NumberFormat("en-US").format(n);
