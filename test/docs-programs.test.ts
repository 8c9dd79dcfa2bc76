/** The programs of pages under docs/, as printed, and what they show. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { checkQdisc } from "../src/queue/options.ts";
import { TCP_SHAPE } from "../src/tcp/option-shape.ts";
import { DEFAULT_OPTIONS } from "../src/tcp/tcb.ts";

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

describe("options on pages", () => {
  const cell = (row: string, i: number) => row.split("|")[i + 1]?.trim() ?? "";
  const quoted = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1]);

  it("docs/tcp.md names each of TCP, with its default", () => {
    const section = readFileSync("docs/tcp.md", "utf8").split("## Options")[1].split("\n## ")[0];
    const rows = section.split("\n").filter((line) => line.startsWith("| `"));
    const found = new Map<string, unknown>();
    for (const row of rows) {
      const defaults = quoted(cell(row, 1)).map((text) => JSON.parse(text) as unknown);
      quoted(cell(row, 0)).forEach((name, i) => {
        found.set(name, defaults[i] ?? defaults[0]);
      });
    }
    assert.deepEqual(Object.fromEntries([...found].sort()), Object.fromEntries(Object.entries(DEFAULT_OPTIONS).sort()));
    assert.deepEqual([...found.keys()].sort(), Object.keys(TCP_SHAPE).sort());
  });

  it("docs/queue.md names each of each kind", () => {
    const section = readFileSync("docs/queue.md", "utf8").split("### Options")[1].split("\n## ")[0];
    const rows = new Map(
      section
        .split("\n")
        .filter((line) => line.startsWith("| `"))
        .map((row) => [quoted(cell(row, 0))[0], cell(row, 1)]),
    );
    for (const kind of ["pfifo", "bfifo", "prio", "tbf", "htb", "fq", "fq_codel", "cake", "red"]) {
      const told = refusal(() => checkQdisc({ kind, "no such option at all": 1 } as never));
      const names = told
        .slice(told.indexOf("one of ") + 7)
        .split(", ")
        .filter((name) => name !== "kind" && name !== "handle");
      assert.ok(names.length > 0, told);
      assert.deepEqual(
        names.filter((name) => !quoted(rows.get(kind) ?? "").includes(name)),
        [],
        kind,
      );
    }
  });
});

function refusal(what: () => void): string {
  try {
    what();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}
