// The event stream as a browser sees it: its own EventSource, in the page's own JavaScript, comes back by itself after the server has
// cut it, says where it was, and has then seen every event once and in order. The server: see support.mjs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openBrowser, startServer, until } from "./support.mjs";

describe("an EventSource of the page", () => {
  let server;
  let browser;
  let page;
  let project;
  /** Offsets of the durable events that were published. */
  const published = [];
  /** The header of every request for the stream, in order. */
  const asked = [];

  const post = async (path, body) => (await server.api(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
  const publish = async (message) => {
    const { off } = await post("/api/realtime/publish", { Notification: { project_id: project, level: "info", message } });
    published.push(off);
  };
  const seen = () => page.evaluate(() => window.seen);
  const state = () => page.evaluate(() => window.source.readyState);
  const offsets = async () => (await seen()).filter((e) => e.type === "message" && e.data.off > 0).map((e) => e.data.off);
  const caughtUp = (what) => until(what, async () => (await offsets()).includes(published.at(-1)));

  before(async () => {
    server = await startServer();
    project = (await post("/api/v1/projects", { name: "Streamed" })).id;
    browser = await openBrowser(server.url);
    page = browser.page;
    page.on("request", async (request) => {
      if (!request.url().includes("/events")) return;
      const place = asked.push(null) - 1;
      asked[place] = (await request.allHeaders())["last-event-id"] ?? "";
    });
    await page.goto(server.url);
    await page.evaluate((id) => {
      window.seen = [];
      window.source = new EventSource(`/events?project=${id}`);
      const keep = (event) => window.seen.push({ type: event.type, id: event.lastEventId, data: JSON.parse(event.data) });
      window.source.onmessage = keep;
      window.source.addEventListener("close", keep);
      window.source.onerror = () => window.seen.push({ type: "error" });
    }, project);
    await until("the room to be joined", async () => (await seen()).some((e) => e.data?.ProjectJoined?.project_id === project));
  });
  after(async () => {
    await page?.evaluate(() => window.source.close()).catch(() => {});
    await browser?.close();
    await server?.close();
  });

  test("gets what is published", async () => {
    for (const message of ["one", "two", "three"]) await publish(message);
    await caughtUp("three notifications");
    assert.deepEqual(await offsets(), published);
    assert.equal(asked.length, 1, "one request so far");
    assert.equal(asked[0], "", "the first knows no place");
  });

  test("comes back by itself after the server has closed it, and misses nothing", async () => {
    const last = (await seen()).at(-1).id;
    const { connections } = await post("/api/realtime/disconnect", { user_id: "owner" });
    assert.ok(connections >= 1, `${connections} connections were closed`);
    await until("the browser to know", async () => (await seen()).some((e) => e.type === "close"));
    const close = (await seen()).find((e) => e.type === "close");
    assert.equal(close.data.code, 4403);
    for (const message of ["four", "five"]) await publish(message);
    await caughtUp("what was published meanwhile");
    assert.deepEqual(await offsets(), published, "each once, in order");
    assert.equal(asked.length, 2);
    assert.equal(asked[1], last, "it said where it was");
    assert.equal(await state(), 1);
  });

  test("comes back by itself after the server was restarted, again and again", async () => {
    for (const round of ["a", "b"]) {
      const before = asked.length;
      await server.kill();
      await until("the browser to know", async () => (await state()) === 0);
      await server.start();
      // Published before the browser is back, and after.
      for (const message of [`${round}1`, `${round}2`, `${round}3`]) await publish(message);
      await until("the browser to be back", async () => (await state()) === 1);
      await publish(`${round}4`);
      await caughtUp("what was published meanwhile and since");
      assert.deepEqual(await offsets(), published, "each once, in order");
      assert.ok(asked.length > before);
      assert.match(asked.at(-1), new RegExp(`^${project.replaceAll("-", "")}~`), "it said where it was");
    }
    const joined = (await seen()).filter((e) => e.data?.ProjectJoined).map((e) => e.data.ProjectJoined.recovered);
    assert.deepEqual(joined, [false, true, true, true], "every return was recovered");
  });
});
