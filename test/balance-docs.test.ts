/** The programs of docs/balance.md, as printed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

const page = readFileSync("docs/balance.md", "utf8");
const programs = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]);
const SHOWN = [/^10\.0\.0\.1:8080: up → draining$/m, /^(one|two)$/m, /^10\.0\.0\.1:80 is down: .*refused.*\n10\.0\.0\.1:80 is up: good$/m];

describe("docs/balance.md", { concurrency: 1 }, () => {
  it("has programs", () => assert.equal(programs.length, SHOWN.length));

  for (const [i, program] of programs.entries()) {
    it(`runs its program ${i + 1}`, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        encoding: "utf8",
        timeout: 60_000,
      });
      assert.equal(stderr, "");
      assert.equal(status, 0);
      assert.match(stdout, SHOWN[i]);
    });
  }
});
