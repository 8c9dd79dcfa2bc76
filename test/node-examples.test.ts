/** What the README and the examples show of Node's modules, as it stands there. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { transform } from "esbuild";

/** Inside the project, where "packetloom" is the project itself. */
const folder = join("build", `examples-${process.pid}`);
const run = (source: string, name: string) => {
  writeFileSync(join(folder, name), source);
  return spawnSync(process.execPath, [join(folder, name)], { encoding: "utf8", timeout: 30_000 });
};

/** Blocks of JavaScript below a heading of the README. */
function blocks(heading: string): string[] {
  const text = readFileSync("README.md", "utf8");
  const chapter = text.slice(text.indexOf(`## ${heading}`)).split(/\n## /)[0];
  return [...chapter.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
}

describe("examples of Node's modules", () => {
  before(() => mkdirSync(folder, { recursive: true }));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("README: a server and a request between two hosts", () => {
    const [hosts] = blocks("Hosts, TCP, sockets");
    const [example] = blocks("Node's modules, Deno's calls");
    // The hosts are the chapter's before; its last line closes what this one uses.
    const setup = hosts.slice(0, hosts.indexOf("(async () =>"));
    const source = `${setup}${example}\nsetTimeout(() => engine.close().then(() => process.exit()), 300);`;
    const { stdout, stderr } = run(source, "readme.mjs");
    assert.equal(stdout, "hello 10.0.0.1", stderr);
  });

  const programs = ["ip", "curl"].every((name) => ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].some((each) => existsSync(`${each}/${name}`)));
  const absent =
    process.getuid?.() !== 0 ? "needs root" : !existsSync("/dev/net/tun") ? "needs /dev/net/tun" : programs ? false : "needs ip, curl";
  it("examples/http.ts: the kernel's curl, and a request to the kernel", { skip: absent }, async () => {
    const { code } = await transform(readFileSync("examples/http.ts", "utf8"), { loader: "ts", format: "esm" });
    const { status, stdout, stderr } = run(code, "http.mjs");
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^Hello 10\.99\.0\.1, this is \/index\.html from a TCP stack in JavaScript\.\n\nHello 10\.99\.0\.2, says the kernel\.\n$/,
    );
  });

  it("examples/forward.ts: one sentence without its arguments", async () => {
    const { code } = await transform(readFileSync("examples/forward.ts", "utf8"), { loader: "ts", format: "esm" });
    const { status, stdout, stderr } = run(code, "forward.mjs");
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /^forward\.mjs needs two captures, [^\n]*\n$/);
  });

  for (const name of ["http", "tap", "xdp"]) {
    it(`examples/${name}.ts: one sentence without root`, async () => {
      const { code } = await transform(readFileSync(`examples/${name}.ts`, "utf8"), { loader: "ts", format: "esm" });
      const { status, stdout, stderr } = run(`process.getuid = () => 1000;\n${code}`, `${name}-user.mjs`);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, new RegExp(`^${name}\\.mjs makes [^\\n]* needs root [^\\n]*\\n$`));
    });
  }
});
