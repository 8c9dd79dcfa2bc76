/** Two tabs on one BroadcastChannel, and a tab with a worker on a MessagePort: TCP between them, in a real browser. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium } from "playwright-core";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const BYTES = 1_000_000;
const EXPECTED = createHash("sha256")
  .update(Uint8Array.from({ length: BYTES }, (_, i) => i * 31))
  .digest("hex");

interface Scope {
  serve(channel: unknown, bytes: number): Promise<void>;
  ask(channel: unknown, last: number): Promise<string>;
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
    // Not cross-origin isolated: the plain build, as most pages will have it.
    server = createServer((request, response) => {
      if (request.url === "/hosts.js") response.writeHead(200, { "content-type": "text/javascript" }).end(script);
      else
        response
          .writeHead(200, { "content-type": "text/html" })
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

  async function tab() {
    const page = await context.newPage();
    await page.goto(url);
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
