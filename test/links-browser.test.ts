/**
 * Hosts in a real browser: two tabs on one BroadcastChannel, a tab with a worker on a MessagePort, a tab with a host of Node
 * over a WebSocket; the README's programs, threads, and what a Content-Security-Policy forbids.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { type WebSocket as Socket, WebSocketServer } from "ws";
import { Host, type WebSocketLike, webSocketLink } from "../src/index.ts";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const BYTES = 1_000_000;
const EXPECTED = createHash("sha256")
  .update(Uint8Array.from({ length: BYTES }, (_, i) => i * 31))
  .digest("hex");

interface Scope {
  serve(channel: unknown, bytes: number): Promise<void>;
  ask(channel: unknown, last: number): Promise<string>;
  echo(): Promise<string>;
  lab(): Promise<number>;
  threads(): Promise<string>;
  askOver(url: string, format: "frames" | "batches"): Promise<string>;
  listenTo(channel: unknown): Promise<{ errors(): number }>;
}

/** What a page's address asks its server for. */
function headersFor(query: URLSearchParams): Record<string, string> {
  const policy = query.get("policy");
  return {
    ...(query.has("isolated") ? { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } : {}),
    ...(policy ? { "content-security-policy": policy } : {}),
  };
}

describe("hosts in a browser", { skip: EXECUTABLE ? false : "no Chromium on this machine" }, () => {
  let server: Server;
  let browser: Browser;
  let context: BrowserContext;
  let url: string;

  before(async () => {
    await build({
      entryPoints: ["dist/test/browser/hosts.js"],
      bundle: true,
      format: "esm",
      platform: "browser",
      outfile: "build/test/hosts.bundle.js",
      logLevel: "error",
      external: ["seek-bzip"],
    });
    const script = readFileSync("build/test/hosts.bundle.js");
    // Not cross-origin isolated unless asked for: the plain build, as most pages will have it.
    server = createServer((request, response) => {
      if (request.url === "/hosts.js") response.writeHead(200, { "content-type": "text/javascript" }).end(script);
      else
        response
          .writeHead(200, { "content-type": "text/html", ...headersFor(new URL(request.url ?? "/", "http://page").searchParams) })
          .end('<!doctype html><link rel="icon" href="data:,"><script type="module" src="/hosts.js"></script>');
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await chromium.launch({
      executablePath: EXECUTABLE,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    context = await browser.newContext();
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  async function tab(query = "") {
    const page = await context.newPage();
    await page.goto(url + query);
    await page.waitForFunction(() => "ask" in globalThis);
    return page;
  }

  it("fetch from each other, tab to tab, over a BroadcastChannel", async () => {
    const serving = await tab();
    const asking = await tab();
    await serving.evaluate((bytes) => void (globalThis as unknown as Scope).serve(new BroadcastChannel("lan"), bytes), BYTES);
    const answer = await asking.evaluate(() => (globalThis as unknown as Scope).ask(new BroadcastChannel("lan"), 2));
    assert.equal(answer, `plain ${EXPECTED}`);
  });

  for (const [query, page] of [
    ["", "a page"],
    ["?isolated", "an isolated page"],
  ]) {
    it(`run the README's echo and lab on ${page}`, async () => {
      const tabbed = await tab(query);
      assert.equal(await tabbed.evaluate(() => (globalThis as unknown as Scope).echo()), "plain hello");
      // The other end's announcement is on its way for 20 ms; then the request and its answer.
      assert.equal(await tabbed.evaluate(() => (globalThis as unknown as Scope).lab()), 60);
    });
  }

  it("have threads on an isolated page, and say what is missing on another", async () => {
    const threads = async (query: string) => (await tab(query)).evaluate(() => (globalThis as unknown as Scope).threads());
    assert.equal(await threads("?isolated"), "shared");
    assert.equal(await threads(""), "threads need SharedArrayBuffer; in a browser the page must be cross-origin isolated");
  });

  it("say what a Content-Security-Policy must allow", async () => {
    const policy = (text: string) => `?isolated&policy=${encodeURIComponent(text)}`;
    const bare = await tab(policy("default-src 'self'; img-src data:"));
    const refusal = (run: Promise<unknown>) => run.then(() => "nothing was refused").catch((error: Error) => error.message);
    assert.match(
      await refusal(bare.evaluate(() => (globalThis as unknown as Scope).echo())),
      /the page's Content-Security-Policy forbids WebAssembly: its script-src must have 'wasm-unsafe-eval'/,
    );
    const wasm = await tab(policy("default-src 'self' 'wasm-unsafe-eval'; img-src data:"));
    assert.equal(await wasm.evaluate(() => (globalThis as unknown as Scope).echo()), "plain hello");
    assert.equal(
      await wasm.evaluate(() => (globalThis as unknown as Scope).threads()),
      "a worker thread could not start: its script was not let in; under a Content-Security-Policy, worker-src must have blob:",
    );
    const both = await tab(policy("default-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src data:"));
    assert.equal(await both.evaluate(() => (globalThis as unknown as Scope).threads()), "shared");
  });

  for (const format of ["frames", "batches"] as const) {
    it(`fetch from a host of Node over a WebSocket, in ${format}`, async (t) => {
      const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" });
      t.after(() => sockets.close());
      const hosts: Host[] = [];
      sockets.on("connection", (socket: Socket) => {
        void (async () => {
          const device = webSocketLink(socket as unknown as WebSocketLike, { format });
          const memory = { ports: 1, buffers: 4096, appBytes: 8 << 20, routes4: 100, routes6: 100, nextHops: 64 };
          const host = await Host.create({ memory, interfaces: [{ device, addresses: ["10.9.0.1/24"] }] });
          hosts.push(host);
          for await (const each of host.listen({ port: 80 })) {
            const writer = each.writable.getWriter();
            void writer.write(Uint8Array.from({ length: BYTES }, (_, i) => i * 31)).then(() => writer.close());
          }
        })().catch(() => {});
      });
      const page = await tab();
      const where = `ws://127.0.0.1:${(sockets.address() as AddressInfo).port}/`;
      const answer = await page.evaluate(([where, format]) => (globalThis as unknown as Scope).askOver(where, format), [
        where,
        format,
      ] as const);
      assert.equal(answer, EXPECTED);
      for (const host of hosts) await host.close();
      for (const socket of sockets.clients) socket.terminate();
    });
  }

  it("count what is said on a channel and is no message of theirs", async () => {
    const page = await tab();
    const errors = await page.evaluate(async () => {
      const host = await (globalThis as unknown as Scope).listenTo(new BroadcastChannel("rubbish"));
      const loud = new BroadcastChannel("rubbish");
      const frames = (...bytes: number[]) => ({ loom: "frames", from: 7, total: 9, frames: Uint8Array.from(bytes).buffer });
      const rubbish = [
        null,
        undefined,
        "text",
        17,
        {},
        [1, 2],
        new Uint8Array(3),
        new Uint8Array(70_000),
        { loom: "frames", from: "x", total: 1, frames: new ArrayBuffer(4) },
        { loom: "frames", from: 1, total: Number.NaN, frames: new ArrayBuffer(4) },
        { loom: "progress", to: -1, from: 1, total: 1 },
        frames(255, 255, 255, 255, 1),
        frames(0, 0, 0, 60, 1, 2),
        frames(0, 0, 0, 2, 1, 2),
      ];
      for (const message of rubbish) loud.postMessage(message);
      const end = performance.now() + 20_000;
      while (host.errors() < rubbish.length && performance.now() < end) await new Promise((ready) => setTimeout(ready, 20));
      return [host.errors(), rubbish.length];
    });
    assert.equal(errors[0], errors[1]);
    // It still serves who comes properly.
    const serving = await tab();
    await serving.evaluate((bytes) => void (globalThis as unknown as Scope).serve(new BroadcastChannel("after"), bytes), BYTES);
    assert.equal(await page.evaluate(() => (globalThis as unknown as Scope).ask(new BroadcastChannel("after"), 2)), `plain ${EXPECTED}`);
  });

  it("fetch from a worker over a MessagePort", async () => {
    const page = await tab();
    const answer = await page.evaluate(async (bytes) => {
      const { port1, port2 } = new MessageChannel();
      const worker = new Worker("/hosts.js", { type: "module" });
      worker.postMessage({ port: port2, bytes }, [port2]);
      return (globalThis as unknown as Scope).ask(port1, 2);
    }, BYTES);
    assert.equal(answer, `plain ${EXPECTED}`);
  });
});
