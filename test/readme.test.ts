/** The README's programs, as printed: every block that begins with its imports is one, unless its first line says what it needs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

const page = readFileSync("README.md", "utf8");
const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]);
/** A block that goes on where the one that made two hosts ended. */
const pair = blocks.find((block) => block.includes("server.listen({ port: 7 })")) ?? "";
const programs = blocks.flatMap((block) => {
  if (block === pair || /^\/\/ needs /.test(block)) return [];
  if (/^\/\/ goes on /.test(block)) return [`${pair}\n${block}`];
  return [block];
});

describe("the README's programs", { concurrency: 1 }, () => {
  it("are found", () => assert.ok(programs.length >= 4 && pair !== ""));

  for (const program of programs) {
    const name = program.trimEnd().split("\n").at(-2)?.trim() ?? "";
    it(`run and end: … ${name.slice(0, 60)}`, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        encoding: "utf8",
        timeout: 60_000,
      });
      assert.equal(stderr, "");
      assert.equal(status, 0);
      assert.notEqual(stdout, "", "it shows something");
    });
  }
});
