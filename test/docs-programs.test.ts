/** The programs of pages under docs/, as printed, and what they show. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

const PAGES: Readonly<Record<string, readonly RegExp[]>> = {
  balance: [
    /^10\.0\.0\.1:8080: up → draining$/m,
    /^connected\nfrom 192\.0\.2\.9$/m,
    /^(one|two)$/m,
    /^10\.0\.0\.1:80 is down: .*refused.*\n10\.0\.0\.1:80 is up: good$/m,
  ],
  filter: [
    /^\{ waiting: 0, accepted: 0, dropped: 0, lost: 0 \}$/m,
    /^trace id 9e3779b1 inet t in rule icmp type echo-request accept \(verdict accept\)$/m,
  ],
  nat: [/^0 \{\s+entries: 0,/, /^10\.0\.0\.2 wants 192\.0\.2\.80 port 443$/m, /^\[\]$/m],
};

for (const [name, shown] of Object.entries(PAGES))
  describe(`docs/${name}.md`, { concurrency: 1 }, () => {
    const page = readFileSync(`docs/${name}.md`, "utf8");
    const programs = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]);
    it("has programs", () => assert.equal(programs.length, shown.length));

    for (const [i, program] of programs.entries())
      it(`runs its program ${i + 1}`, () => {
        const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
          encoding: "utf8",
          timeout: 60_000,
        });
        assert.equal(stderr, "");
        assert.equal(status, 0);
        assert.match(stdout, shown[i]);
      });
  });
