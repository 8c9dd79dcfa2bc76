/** The package as users get it: packed, installed into a scratch project, run by each runtime and bundled for a page. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { CaptureWriter, readCapture } from "../src/index.ts";
import { plainFrame } from "./frames.ts";
import { mac } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "loom-pack-"));
const root = resolve(".");
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (command: string, args: string[]) => spawnSync(command, args, { cwd: folder, encoding: "utf8", timeout: 120_000 });
const works = (command: string) => spawnSync(command, ["--version"], { encoding: "utf8" }).status === 0;
const bin = (name: string) => join(root, "node_modules/.bin", name);

/** Node versions at hand: the one that runs this, and any in NODE_BINARIES (colon-separated). */
const nodes = [process.execPath, ...(process.env.NODE_BINARIES ?? "").split(":").filter((path) => path && existsSync(path))];

describe("the packed package", () => {
  before(() => {
    // The npm that runs this, not one that a dependency brings along.
    const { npm_execpath: npm } = process.env;
    const args = ["pack", "--ignore-scripts", "--pack-destination", folder];
    const packed = npm
      ? spawnSync(process.execPath, [npm, ...args], { cwd: root, encoding: "utf8" })
      : spawnSync("npm", args, { cwd: root, encoding: "utf8" });
    assert.equal(packed.status, 0, packed.stderr);
    const [name] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
    mkdirSync(join(folder, "node_modules/packetloom"), { recursive: true });
    spawnSync("tar", ["-xzf", name, "-C", "node_modules/packetloom", "--strip-components=1"], { cwd: folder });
    // Dependencies, as an installation would bring them, and theirs.
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { dependencies: Record<string, string> };
    const theirs = ["string-width", "emoji-regex", "strip-ansi", "ansi-regex", "is-fullwidth-code-point"];
    for (const dependency of [...Object.keys(dependencies), ...theirs]) {
      mkdirSync(dirname(join(folder, "node_modules", dependency)), { recursive: true });
      const from = join(root, "node_modules", dependency);
      if (existsSync(from)) symlinkSync(from, join(folder, "node_modules", dependency));
    }
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    copyFileSync("test/runtimes/smoke.mjs", join(folder, "smoke.mjs"));
  });

  it("holds what it needs and no more", () => {
    const files = readdirSync(join(folder, "node_modules/packetloom"), { recursive: true }).map(String);
    for (const name of [
      "dist/src/index.js",
      "dist/src/index.d.ts",
      "dist/wasm/packetloom.shared.wasm",
      "data/internet4.bin.gz",
      "LICENSE",
    ]) {
      assert.ok(files.includes(name), name);
    }
    assert.ok(!files.some((name) => /(^|\/)(test|bench|node_modules)\//.test(name)));
  });

  for (const node of nodes) {
    it(`works in Node (${node === process.execPath ? process.version : node})`, () => {
      const { status, stderr, stdout } = run(node, ["smoke.mjs"]);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /shared build, 1 threads/);
    });
  }

  it("works in Deno", { skip: works(bin("deno")) ? false : "no deno on this machine" }, () => {
    const { status, stderr, stdout } = run(bin("deno"), ["run", "--allow-all", "--node-modules-dir=manual", "smoke.mjs"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /shared build, 1 threads/);
  });

  it("works in Bun", { skip: works(bin("bun")) ? false : "no bun on this machine" }, () => {
    const { status, stderr, stdout } = run(bin("bun"), ["smoke.mjs"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /shared build, 1 threads/);
  });

  it("has a command that runs from the scratch project", () => {
    const { status, stdout, stderr } = run(process.execPath, [
      "node_modules/packetloom/dist/src/cli/main.js",
      "demo",
      "--seconds",
      "0.05",
      "--cores",
      "1",
      "--json",
    ]);
    assert.equal(status, 0, stderr);
    assert.equal(JSON.parse(stdout).verified, true);
  });

  it("runs the front door, examples/forward.ts", async () => {
    const outfile = join(folder, "forward.mjs");
    await build({
      entryPoints: ["examples/forward.ts"],
      bundle: true,
      platform: "node",
      format: "esm",
      external: ["packetloom"],
      outfile,
      logLevel: "error",
    });
    const writer = new CaptureWriter();
    for (const to of [0x0a000001, 0x0a420001, 0x08080808]) writer.write(plainFrame(mac(1), to));
    writeFileSync(join(folder, "in.pcap"), writer.bytes());
    const { status, stdout, stderr } = run(process.execPath, ["forward.mjs", "in.pcap", "out.pcap"]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /received: 3,\s+transmitted: 2,\s+drops: { blackhole: 1 }/);
    const { packets } = readCapture(new Uint8Array(readFileSync(join(folder, "out.pcap"))), "out");
    assert.deepEqual(
      packets.map(({ bytes }) => bytes[5]),
      [0xbb, 0xaa],
    );
  });

  const executable = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
  it("works as an esbuild bundle in Chromium, isolated with threads", {
    skip: executable ? false : "no Chromium on this machine",
  }, async () => {
    await build({
      entryPoints: [join(folder, "smoke.mjs")],
      bundle: true,
      format: "esm",
      platform: "browser",
      outfile: join(folder, "smoke.bundle.js"),
      absWorkingDir: folder,
      logLevel: "error",
      external: ["seek-bzip"],
    });
    const server = createServer((request, response) => {
      const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
      if (request.url === "/smoke.js")
        response.writeHead(200, { ...headers, "content-type": "text/javascript" }).end(readFileSync(join(folder, "smoke.bundle.js")));
      else
        response
          .writeHead(200, { ...headers, "content-type": "text/html" })
          .end(
            '<!doctype html><link rel="icon" href="data:,"><script type="module">import("/smoke.js").then(() => { document.title = "done"; }, (e) => { document.title = String(e); });</script>',
          );
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const browser = await chromium.launch({
      executablePath: executable,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    try {
      const page = await browser.newPage();
      const lines: string[] = [];
      page.on("console", (message) => lines.push(message.text()));
      await page.goto(`http://127.0.0.1:${(server.address() as { port: number }).port}/`);
      await page.waitForFunction(() => document.title !== "", undefined, { timeout: 30_000 });
      assert.equal(await page.title(), "done");
      assert.ok(
        lines.some((line) => /shared build, 1 threads/.test(line)),
        lines.join("\n"),
      );
    } finally {
      await browser.close();
      server.close();
    }
  });
});
