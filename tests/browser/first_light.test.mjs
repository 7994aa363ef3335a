// First light in a real browser: two real files, from an empty server to an explained and downloaded result, and what the page
// shows is what the API says. Files of your own: TIEOUT_LEFT and TIEOUT_RIGHT. The server: an argument, TIEOUT_BIN, or the debug build.

import assert from "node:assert/strict";
import { readFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, openBrowser, shot, shown, startServer, until } from "./support.mjs";

const LEFT = process.env.TIEOUT_LEFT ?? join(FIXTURES, "bank.csv");
const RIGHT = process.env.TIEOUT_RIGHT ?? join(FIXTURES, "ledger.csv");
const OWN_FILES = Boolean(process.env.TIEOUT_LEFT || process.env.TIEOUT_RIGHT);
/** What is true of the fixtures by construction. */
const TRUTH = { left: 192, right: 195, discrepancy: 6, unmatched_left: 5, unmatched_right: 8, errors: 1 };
const LISTS = ["matched", "discrepancy", "unmatched_left", "unmatched_right"];
const PAGE = 50;

const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.tagName);
const tabTo = async (page, id, limit = 40) => {
  for (let i = 0; i < limit; i += 1) {
    if ((await focused(page)) === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab never reached #${id}; it is at ${await focused(page)}`);
};
/** Drops a file the way a person does: enter, over, drop. */
const drop = async (page, selector, path) => {
  const transfer = await page.evaluateHandle(([text, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type: "text/csv" }));
    return data;
  }, [await readFile(path, "utf8"), basename(path)]);
  for (const type of ["dragenter", "dragover", "drop"]) await page.dispatchEvent(selector, type, { dataTransfer: transfer });
};
const tile = (page, list) => page.locator(`[data-tile="${list}"] .tile-value`).innerText();
/** The list is chosen, and what it holds is there: until then the rows of the one before are, and may have the focus. */
const listShown = (page, list) =>
  page.waitForFunction((id) => document.getElementById(`tab-${id}`).getAttribute("aria-selected") === "true" && !document.getElementById("results").hasAttribute("aria-busy"), list);
const openList = async (page, list) => {
  await page.click(`#tab-${list}`);
  await listShown(page, list);
};

describe("first light", () => {
  let server;
  let browser;
  let page;
  let project;
  let job;
  let broken = null;
  const json = async (path) => (await server.api(path)).json();
  /** One step of the walk: it stands on the ones before it, so after a failure the others fail at once instead of waiting in vain. */
  const step = (name, run) => test(name, async () => {
    assert.equal(broken, null, "an earlier step failed");
    try {
      await run();
    } catch (error) {
      broken = name;
      await shot(page, "failed").catch(() => {});
      throw error;
    }
  });

  before(async () => {
    server = await startServer();
    browser = await openBrowser(server.url);
    page = browser.page;
    // Chromium hands choosers over only while someone listens, and takes a moment to begin: listen from the start.
    page.on("filechooser", () => {});
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  step("an empty server greets, and a project is made by keyboard alone", async () => {
    await page.goto(server.url);
    await page.waitForSelector("#create-project");
    await until("the live connection", async () => (await page.getAttribute("#conn", "data-state")) === "online");
    await shot(page, "light-1-start");
    assert.equal(await focused(page), "project-name", "the only thing to do has the focus");
    await page.keyboard.type("Bank vs ledger, October");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#drop-left");
    project = /projects\/([^/?]+)/.exec(page.url())[1];
    assert.equal((await json(`/api/v1/projects/${project}`)).name, "Bank vs ledger, October");
    assert.equal(await page.locator("h1").innerText(), "Bank vs ledger, October");
  });

  step("a chosen and a dropped file show their columns, and rules are suggested", async () => {
    await tabTo(page, "drop-left");
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(LEFT);
    await page.waitForSelector("#id-left");
    await drop(page, ".side.right", RIGHT);
    await page.waitForSelector("#id-right");
    await page.waitForSelector("#rules .rule");
    const { items } = await json(`/api/v1/projects/${project}/sources`);
    assert.equal(items.length, 2);
    for (const [side, file] of [["left", LEFT], ["right", RIGHT]]) {
      const source = items.find((s) => s.filename === basename(file));
      const names = await page.locator(`.side.${side} tbody th .column-name`).evaluateAll((cells) => cells.map((c) => c.firstChild.textContent));
      const columns = Array.isArray(source.columns) ? source.columns : source.columns.columns;
      assert.deepEqual(names, columns.map((c) => c.name));
      const types = await page.locator(`.side.${side} tbody .type > span:first-of-type`).allInnerTexts();
      assert.deepEqual(types, columns.map((c) => c.type));
    }
    const suggested = JSON.parse(await page.inputValue("#rules-json"));
    assert.equal(await page.locator("#rules .rule").count(), suggested.compare.length);
    await shot(page, "light-2-files-and-rules", { whole: true });
  });

  step("broken rules can't be started, and the server's reason for refusing others is shown", async () => {
    await page.click("#rules-editor summary");
    const good = await page.inputValue("#rules-json");
    await page.fill("#rules-json", `${good}}`);
    assert.ok(await page.isDisabled("#start"));
    assert.match(await page.innerText("#rules-state"), /Not valid JSON/);
    await page.fill("#rules-json", JSON.stringify({ ...JSON.parse(good), no_such_setting: 1 }));
    await page.click("#start");
    const problem = page.locator(".start-bar .problem");
    await problem.waitFor();
    assert.match(await problem.innerText(), /no_such_setting/);
    assert.match(await problem.innerText(), /request /, "a problem names its request");
    browser.problems.length = 0; // Chromium logs the refused request, which is what this test asked for.
    await page.click("text=Back to the suggestion");
    assert.equal(await page.inputValue("#rules-json"), good);
    await page.click("#rules-editor summary");
  });

  step("started by keyboard, the run ends on the page through the WebSocket", async () => {
    browser.frames.length = 0;
    await tabTo(page, "start", 80);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#results .grid tbody tr");
    job = await json(`/api/v1/jobs/${/jobs\/([^/?]+)/.exec(page.url())[1]}`);
    assert.equal(job.state, "completed");
    assert.equal(await page.getAttribute("[data-state].badge", "data-state"), "completed");
    const updates = browser.frames.filter((f) => !f.sent && f.frame.JobProgressUpdate?.job_id === job.id);
    assert.ok(updates.some((f) => f.frame.JobProgressUpdate.terminal && f.frame.off > 0), `a durable last update came; got ${JSON.stringify(browser.frames.map((f) => f.frame)).slice(0, 2000)}`);
  });

  step("the tiles say what the API says", async () => {
    const c = job.counts;
    for (const list of [...LISTS, "review"]) assert.equal(await tile(page, list), shown(c[list]), list);
    assert.equal(await tile(page, "errors"), shown(c.errors));
    for (const list of LISTS) {
      const { total } = await json(`/api/v1/jobs/${job.id}/results?status=${list}&limit=1`);
      assert.equal(await page.innerText(`#tab-${list} .tab-count`), shown(total), list);
    }
    if (!OWN_FILES) {
      const { left, right, discrepancy, unmatched_left, unmatched_right, errors } = c;
      assert.deepEqual({ left, right, discrepancy, unmatched_left, unmatched_right, errors }, TRUTH);
    }
    await shot(page, "light-3-results");
  });

  step("every list shows its records and why, as the API tells it", async () => {
    for (const list of LISTS) {
      await openList(page, list);
      const { items, total } = await json(`/api/v1/jobs/${job.id}/results?status=${list}&limit=${PAGE}`);
      assert.equal(await page.locator("#result-list tbody tr").count(), items.length, list);
      if (items.length === 0) continue;
      assert.equal(await page.innerText("#range"), `1–${items.length} of ${shown(total)}`);
      const item = items[0];
      const ids = await page.locator("#detail .id-values code").allInnerTexts();
      assert.deepEqual(ids, [...item.left, ...item.right].map((r) => r.id));
      if (item.explanation) assert.equal(await page.innerText("#detail .why"), item.explanation);
      const rows = page.locator("#detail .compare > li");
      assert.equal(await rows.count(), item.comparisons.length, list);
      for (const [i, c] of item.comparisons.entries()) {
        const text = await rows.nth(i).innerText();
        for (const part of [c.left, c.right, c.level]) if (part) assert.ok(text.includes(part), `${list}: "${part}" is in "${text}"`);
        assert.ok(text.includes(Math.abs(c.weight).toFixed(1)), `${list}: weight ${c.weight} is in "${text}"`);
        assert.equal(await rows.nth(i).locator(".weight-bar").count(), 1);
      }
      if (list === "discrepancy") await shot(page, "light-4-discrepancies", { whole: true });
    }
  });

  step("pages turn with the buttons and the keys", async () => {
    await openList(page, "matched");
    const first = await json(`/api/v1/jobs/${job.id}/results?status=matched&limit=${PAGE}`);
    assert.ok(first.next, "the fixtures fill more than one page");
    const second = await json(`/api/v1/jobs/${job.id}/results?status=matched&limit=${PAGE}&after=${encodeURIComponent(first.next)}`);
    const firstId = () => page.innerText("#result-list tbody tr:first-child .ids");
    assert.equal(await firstId(), first.items[0].left[0].id);
    await page.click("#next");
    await until("the second page", async () => (await firstId()) === second.items[0].left[0].id);
    assert.equal(await page.innerText("#range"), `${PAGE + 1}–${PAGE + second.items.length} of ${shown(first.total)}`);
    await page.keyboard.press("PageUp");
    await until("the first page again", async () => (await firstId()) === first.items[0].left[0].id);
    assert.ok(await page.isDisabled("#previous"));
  });

  step("the results are read with the keyboard alone", async () => {
    await page.keyboard.press("2");
    await listShown(page, "discrepancy");
    const { items } = await json(`/api/v1/jobs/${job.id}/results?status=discrepancy&limit=${PAGE}`);
    const selectedIds = () => page.locator("#detail .id-values code").allInnerTexts();
    await until("a row to have the focus", async () => (await focused(page)) === "TR");
    await page.keyboard.press("ArrowDown");
    assert.deepEqual(await selectedIds(), [...items[1].left, ...items[1].right].map((r) => r.id));
    await page.keyboard.press("Enter");
    assert.equal(await focused(page), "detail");
    await page.keyboard.press("Escape");
    assert.equal(await focused(page), "TR");
    await page.keyboard.press("/");
    assert.equal(await focused(page), "filter");
    await page.keyboard.type(items.at(-1).left[0].id);
    await until("the filter to leave one row", async () => (await page.locator("#result-list tbody tr").count()) === 1);
    await page.keyboard.press("Enter");
    assert.deepEqual(await selectedIds(), [...items.at(-1).left, ...items.at(-1).right].map((r) => r.id));
    await page.keyboard.press("/");
    await page.keyboard.press("Escape");
    await until("the filter to be gone", async () => (await page.locator("#result-list tbody tr").count()) === items.length);
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
  });

  step("bad rows are listed with line, column, value and reason", async () => {
    await openList(page, "errors");
    const { items } = await json(`/api/v1/jobs/${job.id}/errors`);
    assert.equal(items.length, job.counts.errors);
    const rows = page.locator("#result-list tbody tr");
    assert.equal(await rows.count(), items.length);
    for (const [i, error] of items.entries()) {
      const text = await rows.nth(i).innerText();
      for (const part of [error.side, error.line, error.column, error.value, error.reason]) {
        if (part !== null && part !== "") assert.ok(text.toLowerCase().includes(String(part).toLowerCase()), `"${part}" is in "${text}"`);
      }
    }
  });

  step("downloads are the API's exports", async () => {
    await openList(page, "discrepancy");
    for (const [format, status] of [["csv", "discrepancy"], ["jsonl", "discrepancy"], ["csv", "all"], ["jsonl", "all"]]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-format="${format}"][data-status="${status}"]`)]);
      const got = await readFile(await download.path(), "utf8");
      assert.equal(got, await (await server.api(`/api/v1/jobs/${job.id}/export?format=${format}&status=${status}`)).text());
      assert.ok(got.length > 0);
      if (format === "jsonl") {
        const { total } = await json(`/api/v1/jobs/${job.id}/results?status=${status}&limit=1`);
        assert.equal(got.trim().split("\n").map((line) => JSON.parse(line)).length, total);
      }
    }
  });

  step("a link opens the same list, and others in the project are counted", async () => {
    const other = await browser.context.newPage();
    await other.goto(`${server.url}/#/projects/${project}/jobs/${job.id}?show=discrepancy`);
    await other.waitForSelector("#result-list tbody tr");
    assert.equal(await other.getAttribute("#tab-discrepancy", "aria-selected"), "true");
    await until("the other to be counted", async () => (await page.innerText("#presence")).includes("1 other"));
    await other.close();
  });

  step("dark and narrow are the same page", async () => {
    await openList(page, "discrepancy");
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(page, "dark-results", { whole: true });
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.click("#theme"); // system -> light
    const light = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.notEqual(light, dark, "the toggle wins over the system");
    await page.reload();
    await page.waitForSelector("#result-list tbody tr");
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), light, "and is kept");
    await page.setViewportSize({ width: 390, height: 844 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out of a narrow page");
    await shot(page, "narrow-results");
    await page.click("#result-list tbody tr");
    await page.waitForSelector("#detail.open");
    await shot(page, "narrow-explanation");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#detail.open", { state: "detached" });
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });
  });

  step("the run is in the project's history and can be run again", async () => {
    await page.click("#again");
    await page.waitForSelector("#rules .rule");
    assert.equal(await page.locator("#history .run").count(), 1);
    assert.match(await page.innerText("#history .run"), new RegExp(`${shown(job.counts.matched)} matched`));
    await shot(page, "light-5-history", { whole: true });
  });

  step("a long run shows its progress and stops when told to", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tieout-large-"));
    try {
      const rows = 60_000;
      const lines = (prefix, memo) => Array.from({ length: rows }, (_, i) => `${prefix}${i},2026-${String((i % 12) + 1).padStart(2, "0")}-${String((i % 28) + 1).padStart(2, "0")},${(i * 7919) % 900_000 / 100},${memo} ${(i * 104_729) % 99_991}`);
      await writeFile(join(folder, "large-left.csv"), `id,date,amount,text\n${lines("A", "payment").join("\n")}\n`);
      await writeFile(join(folder, "large-right.csv"), `id,date,amount,text\n${lines("B", "invoice paid").join("\n")}\n`);
      await page.goto(`${server.url}/#/projects/${project}`);
      await page.waitForSelector("#drop-left");
      await page.setInputFiles("#file-left", join(folder, "large-left.csv"));
      await page.setInputFiles("#file-right", join(folder, "large-right.csv"));
      await page.waitForSelector("#rules .rule");
      browser.frames.length = 0;
      await page.click("#start");
      await page.waitForSelector("#progress");
      await until("a share of a phase on the page", async () => /^[1-9]/.test(await page.innerText("#progress-done")));
      await shot(page, "light-6-progress");
      const bar = page.locator("#progress [role=progressbar]");
      assert.ok(Number(await bar.getAttribute("aria-valuenow")) >= 0);
      assert.ok(browser.frames.some((f) => !f.sent && f.frame.JobProgressUpdate && !f.frame.JobProgressUpdate.terminal), "progress came over the WebSocket");
      await page.click("#cancel");
      await page.waitForSelector('.badge[data-state="cancelled"]');
      const id = /jobs\/([^/?]+)/.exec(page.url())[1];
      assert.equal((await json(`/api/v1/jobs/${id}`)).state, "cancelled");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  step("text of a file stays text", async () => {
    const sources = await Promise.all(["left", "right"].map(async (side, i) => {
      const body = `id,amount,note\n${side}1,1${i}.00,<img src=x onerror=alert(1)>\n${side}2,22.50,"<script>alert(2)</script>"\n`;
      return (await server.api(`/api/v1/projects/${project}/sources?filename=${encodeURIComponent(`<b>${side}<b>.csv`)}`, { method: "POST", headers: { "content-type": "text/csv" }, body })).json();
    }));
    const created = await (await server.api(`/api/v1/projects/${project}/jobs`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ left: sources[0].id, right: sources[1].id, start: true }) })).json();
    await page.goto(`${server.url}/#/projects/${project}/jobs/${created.id}`);
    await page.waitForSelector('.badge[data-state="completed"]');
    await page.waitForSelector("#results");
    assert.match(await page.innerText("h1"), /<b>left<b>\.csv/);
    assert.equal(await page.locator("main img, main script, main b:has-text('left')").count(), 0);
  });

  step("nothing was asked of another host and the page never complained", () => {
    assert.deepEqual(browser.problems, []);
  });

  step("the page comes back by itself when the server was restarted", async () => {
    const conn = () => page.getAttribute("#conn", "data-state");
    await until("live", async () => (await conn()) === "online");
    await server.stop();
    await until("the indicator to say so", async () => (await conn()) === "waiting");
    await server.start();
    await until("live again", async () => (await conn()) === "online");
    const { id } = await (await server.api(`/api/v1/projects/${project}`)).json();
    browser.frames.length = 0;
    await page.goto(`${server.url}/#/projects/${project}`);
    await page.waitForSelector("#drop-left");
    await server.api(`/api/v1/projects/${id}`, { method: "PATCH", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "Renamed elsewhere" }) });
    await until("the new name, without a reload", async () => (await page.innerText("h1")) === "Renamed elsewhere");
  });
});

describe("a server that asks for a token", () => {
  const TOKEN = "first-light-token-0123456789abcdef";
  let folder;
  let server;
  let browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "tieout-token-"));
    await writeFile(join(folder, "token"), `${TOKEN}\n`, { mode: 0o600 });
    server = await startServer({ host: "0.0.0.0", args: ["--token-file", join(folder, "token")], token: TOKEN });
    browser = await openBrowser(server.url);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("the page asks for it, says when it is wrong, and sends it first on the WebSocket", async () => {
    const { page } = browser;
    await page.goto(server.url);
    await page.waitForSelector("#token");
    await shot(page, "light-7-token");
    await page.fill("#token", "not the token");
    await page.keyboard.press("Enter");
    await page.waitForSelector("text=The token was not accepted");
    await page.fill("#token", TOKEN);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#create-project");
    await until("the live connection", async () => (await page.getAttribute("#conn", "data-state")) === "online");
    const lastHello = browser.frames.filter((f) => f.sent && f.frame.Auth).at(-1);
    assert.equal(lastHello.frame.Auth.token, TOKEN);
    assert.ok(!page.url().includes(TOKEN), "a token never stands in the address");
  });

  test("a run and a download work with it, and it is asked for once a tab", async () => {
    const { page } = browser;
    await page.fill("#project-name", "With a token");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#drop-left");
    await page.setInputFiles("#file-left", LEFT);
    await page.setInputFiles("#file-right", RIGHT);
    await page.waitForSelector("#rules .rule");
    await page.click("#start");
    await page.waitForSelector("#results .grid tbody tr");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click('[data-format="csv"][data-status="all"]')]);
    const id = /jobs\/([^/?]+)/.exec(page.url())[1];
    assert.equal(await readFile(await download.path(), "utf8"), await (await server.api(`/api/v1/jobs/${id}/export?format=csv&status=all`)).text());
    await page.reload();
    await page.waitForSelector("#results .grid tbody tr");
    assert.equal(await page.locator("dialog").count(), 0);
  });
});
