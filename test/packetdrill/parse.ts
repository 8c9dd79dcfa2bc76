/** Text to script: the grammar of `language.peggy`, compiled when it is first needed, and --define. */
import { existsSync, readFileSync } from "node:fs";
import peggy from "peggy";
import { type Script, ScriptError } from "./script.ts";

let parser: peggy.Parser | undefined;

/** The grammar lies beside the source; the compiled tests run from dist/. */
function grammar(): string {
  const here = new URL("language.peggy", import.meta.url);
  return readFileSync(existsSync(here) ? here : new URL("../../../test/packetdrill/language.peggy", import.meta.url), "utf8");
}

/** Words that --define gives a value, in the script and outside; `text` keeps its lines. */
function define(text: string, names: ReadonlyMap<string, string>): string {
  if (names.size === 0) return text;
  const word = new RegExp(`\\b(${[...names.keys()].join("|")})\\b`, "g");
  return text
    .split("\n")
    .map((line) => (line.startsWith("--define") ? line : line.replace(word, (name) => names.get(name) ?? name)))
    .join("\n");
}

export function parse(text: string, defines: ReadonlyMap<string, string> = new Map()): Script {
  parser ??= peggy.generate(grammar());
  const names = new Map(defines);
  for (const [, name, value] of text.matchAll(/^--define[= ](\w+)=(.*?)\s*$/gm)) names.set(name, value);
  try {
    return parser.parse(define(text, names)) as Script;
  } catch (error) {
    if (error instanceof parser.SyntaxError) throw new ScriptError(error.location.start.line, error.message);
    throw error;
  }
}
