// Makes src/filter/language/parser.ts of the grammar beside it: `node test/nft/make-parser.mjs`. nft-grammar.test.ts compares the two.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import peggy from "peggy";

const PARTS = ["tokens", "expressions", "statements", "commands"];
const HEAD = `// Generated from grammar/*.peggy by test/nft/make-parser.mjs.
// biome-ignore-all lint: generated
// biome-ignore-all format: generated
// biome-ignore-all assist: generated
// @ts-nocheck
`;

/** The parser's text, of the grammar in a folder. A ruleset is what is parsed, and the blocks an include may stand in. */
export function parserSource(folder) {
  const source = PARTS.map((part) => ({ source: `${part}.peggy`, text: readFileSync(new URL(`${part}.peggy`, folder), "utf8") }));
  const allowedStartRules = ["Ruleset", "TableBlock", "ChainBlock"];
  const code = peggy.generate(source, { allowedStartRules, output: "source", format: "es" });
  const { code: small } = transformSync(code, { minify: true, format: "esm", target: "es2022" });
  return `${HEAD}import * as vocabulary from "./vocabulary.ts";\n${small}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const grammar = new URL("../../src/filter/language/grammar/", import.meta.url);
  writeFileSync(new URL("../parser.ts", grammar), parserSource(grammar));
}
