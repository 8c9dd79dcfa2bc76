/** Text to commands, by the generated parser. Mistakes get their place here. */
import type { ChainItem, Command, TableItem } from "./ast.ts";
import { located, type Source } from "./faults.ts";
import { parse as generated, SyntaxError as PeggySyntaxError } from "./parser.ts";
import { isReserved, SyntaxFault } from "./vocabulary.ts";

/** Where commands came from: errors found later still show the line. */
export interface Parsed<T> {
  readonly source: Source;
  readonly items: readonly T[];
}
/** Bytes. */
const LONGEST_COMMENT = 128;
type StartRule = "Ruleset" | "TableBlock" | "ChainBlock";

/**
 * Parses quietly first: keeping account of what could have come at each place costs more than the parsing itself, and is needed for
 * texts with mistakes only.
 */
function run<T>(source: Source, startRule: StartRule): Parsed<T> {
  const text = source.text.endsWith("\n") ? source.text : `${source.text}\n`;
  const whole = { ...source, text };
  const options = { startRule, longestComment: source.longestComment ?? LONGEST_COMMENT };
  try {
    return { source: whole, items: generated(text, { ...options, peg$silentFails: 1 }) as readonly T[] };
  } catch {
    try {
      return { source: whole, items: generated(text, options) as readonly T[] };
    } catch (error) {
      throw syntaxError(whole, error);
    }
  }
}
export const parseRuleset = (source: Source): Parsed<Command> => run(source, "Ruleset");
export const parseTableBlock = (source: Source): Parsed<TableItem> => run(source, "TableBlock");
export const parseChainBlock = (source: Source): Parsed<ChainItem> => run(source, "ChainBlock");

/** The token at a place, as nft's scanner would cut it: that is what an error points at. */
const TOKEN = /^("[^"\n]*"|[A-Za-z_][A-Za-z0-9_/.\\-]*\*?|[0-9a-fA-F]*:[0-9a-fA-F:.]+|\d+\.\d+\.\d+\.\d+|\d\w*|[=!<>]=|<<|>>|[\s\S])/;
function tokenAt(text: string, offset: number): { readonly word: string; readonly kind: string } {
  if (offset >= text.length) return { word: " ", kind: "end of file" };
  const word = TOKEN.exec(text.slice(offset, offset + 256))?.[0] ?? " ";
  if (word === "\n" || word === "#") return { word: " ", kind: "newline" };
  if (/^[A-Za-z_]/.test(word)) return { word, kind: isReserved(word) ? word : "string" };
  if (/^\d/.test(word)) return { word, kind: "number" };
  return { word, kind: word.startsWith('"') ? "quoted string" : `'${word}'` };
}
interface Expectation {
  readonly type: string;
  readonly text?: string;
  readonly description?: string;
}
const wordOf = (each: Expectation): string | undefined =>
  each.type === "literal" ? each.text?.trim() : each.type === "other" ? each.description : undefined;

function syntaxError(source: Source, error: unknown): unknown {
  // The parser's own stack is the only one that can be full here.
  if (error instanceof RangeError) return located(source, { at: { start: 0, end: 1 }, message: "nested too deeply to be read" });
  if (error instanceof SyntaxFault) return located(source, error);
  if (!(error instanceof PeggySyntaxError)) return error;
  const at = (error as unknown as { readonly location: { readonly start: { readonly offset: number } } }).location.start.offset;
  const { word, kind } = tokenAt(source.text, at);
  const expected = (error as unknown as { readonly expected?: readonly Expectation[] }).expected ?? [];
  const words = [...new Set(expected.map(wordOf).filter((each): each is string => each !== undefined && each !== ""))].sort();
  const known = words.length === 0 || words.length > 12 ? "" : `, expecting ${words.join(" or ")}`;
  return located(source, { at: { start: at, end: at + word.length }, message: `syntax error, unexpected ${kind}${known}` });
}
