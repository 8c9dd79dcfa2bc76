/** The committed parser is the one the grammar makes, and texts with mistakes are shown as nft shows them. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { NftError, Ruleset } from "../src/filter/language/index.ts";

const source = new URL("../src/filter/language/", import.meta.url);
const folder = existsSync(new URL("grammar/commands.peggy", source)) ? source : new URL("../../src/filter/language/", import.meta.url);

describe("the language's grammar", () => {
  it("parser.ts is what test/nft/make-parser.mjs makes", async () => {
    const { parserSource } = await import(new URL("../../../test/nft/make-parser.mjs", folder).href);
    assert.ok(
      parserSource(new URL("grammar/", folder)) === readFileSync(new URL("parser.ts", folder), "utf8"),
      "parser.ts is out of date: run node test/nft/make-parser.mjs",
    );
  });
  it("a mistake is shown with its line, and carets under it", () => {
    const text = "table inet t {\n\tchain c {\n\t\ttcp dport 80 accept\n\t\ttcp dpotr 81 accept\n\t}\n}\n";
    assert.throws(
      () => new Ruleset().apply(text, { file: "rules.nft" }),
      (error: unknown) => {
        assert.ok(error instanceof NftError);
        assert.deepEqual([error.line, error.from, error.to, error.code], [4, 7, 11, "EINVAL"]);
        const [head, line, carets] = error.message.split("\n");
        assert.match(head, /^rules\.nft:4:7-11: Error: syntax error, unexpected string, expecting sport or dport/);
        assert.equal(line, "\t\ttcp dpotr 81 accept");
        assert.equal(carets, "\t\t    ^^^^^");
        return true;
      },
    );
  });
  it("numbers of queues come from definitions", () => {
    for (const queue of ["queue num $d bypass", "queue flags bypass num $d", "queue flags bypass to $d"]) {
      const ruleset = new Ruleset();
      ruleset.apply(`define d = 1-3\ntable ip t { chain c { ${queue}; }; }`);
      assert.match(ruleset.list(), /\tqueue flags bypass to 1-3\n/);
    }
  });
  it("what is no class of tc is refused", () => {
    for (const text of ["x:y", "1:2x", "-1:2", "1x:2", "", "fffff:1"])
      assert.throws(() => new Ruleset().apply(`table ip t { chain c { meta priority set "${text}"; }; }`), {
        reason: text === "fffff:1" ? "Value 68719411201 exceeds valid range 0-4294967295" : "Could not parse TC classid",
      });
  });
  it("what is at odds with something else underlines both", () => {
    const ruleset = new Ruleset();
    ruleset.apply("add table ip t; add chain ip t c");
    assert.throws(() => ruleset.apply("add rule ip t c accept drop"), {
      message:
        "ruleset:1:24-27: Error: Statement after terminal statement has no effect\nadd rule ip t c accept drop\n                ~~~~~~ ^^^^",
    });
  });
  it("a text with a mistake changes nothing", () => {
    const ruleset = new Ruleset();
    ruleset.apply("add table ip t; add chain ip t c; add rule ip t c accept");
    const before = ruleset.spec();
    assert.throws(() => ruleset.apply("flush ruleset; add table ip x; add rule ip x nothing accept"), NftError);
    assert.deepEqual(ruleset.spec(), before);
  });
  it("elements that are added one by one are those that are added together, and a mistake is told where it is", () => {
    const ruleset = new Ruleset();
    ruleset.apply(
      "add table ip t; add map ip t m { type ipv4_addr : inet_service; }; add set ip t s { type ipv4_addr; flags interval; auto-merge; }",
    );
    const [apart, together] = [ruleset.fork(), ruleset.fork()];
    apart.apply("add element ip t s { 10.0.0.0/25 }\nadd element ip t s { 10.0.0.128/25 }\nadd element ip t s { 10.0.0.1, 10.0.2.1 }");
    together.apply("add element ip t s { 10.0.0.0/25, 10.0.0.128/25, 10.0.0.1, 10.0.2.1 }");
    assert.equal(apart.list(), together.list());
    assert.match(apart.list(), /elements = \{ 10\.0\.0\.0\/24, 10\.0\.2\.1 \}/);
    const before = ruleset.list();
    for (const [second, message] of [
      ["{ 10.0.0.1 : 81 }", /^ruleset:2:20-36: Error: Could not process rule: File exists/],
      ["{ 10.0.0.2 : 65536 }", /^ruleset:2:33-37: Error: Service out of range/],
    ] as const)
      assert.throws(
        () => ruleset.apply(`add element ip t m { 10.0.0.1 : 80 }\nadd element ip t m ${second}\nadd element ip t m { 10.0.0.3 : 80 }`),
        { message },
      );
    assert.equal(ruleset.list(), before);
    apart.apply("delete element ip t s { 10.0.0.0/24 }\ndelete element ip t s { 10.0.2.1 }");
    assert.doesNotMatch(apart.list(), /elements/);
    ruleset.apply("add element ip t m { 10.0.0.1 : 80, 10.0.0.2 : 80 }");
    assert.throws(
      () => ruleset.apply("delete element ip t m { 10.0.0.2 }\ndelete element ip t m { 10.0.0.1 }\ndelete element ip t m { 10.0.0.1 }"),
      {
        message: /^ruleset:3:/,
      },
    );
    ruleset.apply("destroy element ip t m { 10.0.0.1, 10.0.0.3 }");
    assert.match(ruleset.list(), /elements = \{ 10\.0\.0\.2 : 80 \}/);
  });
});
