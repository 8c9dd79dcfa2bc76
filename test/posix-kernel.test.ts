/** The same little programs of system calls on the Linux kernel and over a host: every call must return the same. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Lab } from "../src/lab/index.ts";
import { Process } from "../src/posix/index.ts";
import { describeOutcomes, type Outcome, parse, runHere } from "./posix/program.ts";
import { SCENARIOS } from "./posix/scenarios/index.ts";

const python = process.platform === "linux" && spawnSync("python3", ["-c", "import ctypes"]).status === 0;
const skip = python ? false : "needs Linux and python3";

describe("system calls as the kernel has them", { skip }, () => {
  const isRoot = process.getuid?.() === 0 && spawnSync("ip", ["-V"]).status === 0;
  const names = Object.keys(SCENARIOS).filter((name) => isRoot || !needsRoot(name));
  const programs = names.map((name) => parse(SCENARIOS[name]));
  const folder = mkdtempSync(join(tmpdir(), "loom-posix-"));
  let kernel: Outcome[][] = [];

  before(() => {
    const script = join("test", "posix", "kernel.py");
    const run = spawnSync("python3", [script, folder], { input: JSON.stringify(programs), maxBuffer: 64 << 20, timeout: 60_000 });
    assert.equal(run.status, 0, String(run.stderr));
    kernel = JSON.parse(String(run.stdout)) as Outcome[][];
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of Object.keys(SCENARIOS).filter(needsRoot)) if (!isRoot) it(name, { skip: "needs root and ip(8)" });

  for (const [i, name] of names.entries()) {
    it(name, async () => {
      const lab = await Lab.create({ seed: i + 1, interfaces: 1, hosts: 1, memory: { appBytes: 16 << 20 } });
      const host = await lab.host({ interfaces: [{ addresses: ["192.0.2.1/24", "2001:db8::1/64"] }] });
      const outcomes = await runHere(lab, new Process(host), programs[i]);
      const lines = SCENARIOS[name].split("\n").filter((line) => line.trim() !== "");
      const side = (results: readonly Outcome[]) =>
        describeOutcomes(programs[i], results).map((text, at) => `${lines[at].trim()}  →  ${text}`);
      assert.deepEqual(side(outcomes), side(kernel[i]));
      // One slab may stay with small datagrams.
      assert.ok(host.ip.slabs.available >= host.ip.slabs.total - 1, "slabs are not back");
      await host.close();
    });
  }
});

/** What is done in a network namespace of its own. */
function needsRoot(name: string): boolean {
  return SCENARIOS[name].trimStart().startsWith("namespace");
}
