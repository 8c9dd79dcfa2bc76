/** A line of iptables into its words, with quotes taken away, and where each stands. */
import { Fault } from "../faults.ts";
import type { Span } from "../vocabulary.ts";

export interface Word {
  readonly text: string;
  readonly at: Span;
}
const WORD = /"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"']+)/g;

export function wordsOf(line: string, offset: number): Word[] {
  const open = line.replace(WORD, (all) => " ".repeat(all.length)).search(/["']/);
  if (open >= 0 && !line.trimStart().startsWith("#"))
    throw new Fault({ start: offset + open, end: offset + line.length }, "a quote that is never closed");
  return [...line.matchAll(WORD)].map((match) => ({
    text: match[3] ?? match[2] ?? match[1].replace(/\\(.)/g, "$1"),
    at: { start: offset + match.index, end: offset + match.index + match[0].length },
  }));
}
/** What stands between quotes in nft as well: all but a quote may be in it. */
const QUOTED = new Set("--comment --helper -i -o --in-interface --out-interface --oif".split(" "));
/** And these, where `$` begins a name of nft's. */
const PREFIXES = new Set(["--log-prefix", "--nflog-prefix"]);
const wrongIn = (option: string): RegExp => (QUOTED.has(option) ? /["\n]/ : PREFIXES.has(option) ? /["\n$]/ : /[\s"';{}#$]/);

/** A value that is one word for nft too: it has no way to write a quote, and others of these end or begin something. */
function plain(word: Word, option: Word): string {
  const wrong = wrongIn(option.text).exec(word.text);
  if (wrong) throw new Fault(word.at, `${option.text}: nft has no way to write ${JSON.stringify(wrong[0])} here`);
  return word.text;
}
const NUMBER = /^(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i;
/** A whole number of `option`: decimal, hexadecimal, or octal with a 0 before it. */
export function number(text: string, option: Word): number {
  if (!NUMBER.test(text)) throw new Fault(option.at, `${option.text} is "${text}"; expected a number`);
  return Number(/^0[0-7]+$/.test(text) ? `0o${text}` : text);
}
const TOS_NAMES: Readonly<Record<string, number>> = {
  "minimize-delay": 0x10,
  "maximize-throughput": 0x08,
  "maximize-reliability": 0x04,
  "minimize-cost": 0x02,
  "normal-service": 0x00,
};
/** A TOS byte and the bits that count: all of a number, the lower six of a name. */
export function tosBits(text: string, option: Word): readonly [value: number, mask: number] {
  const named = TOS_NAMES[text.toLowerCase()];
  if (named !== undefined) return [named, 0x3f];
  const [value, mask = 0xff] = text.split("/").map((half) => number(half, option));
  if (value > 0xff || mask > 0xff || (value & ~mask) !== 0)
    throw new Fault(option.at, `${option.text} is "${text}"; expected a byte, and none of its bits outside of its mask`);
  return [value, mask];
}
export const hex = (text: string, option: Word): string => `0x${number(text, option).toString(16)}`;

/** Words read one by one; what is missing is said with the option that misses it. */
export class Words {
  private next = 0;
  private readonly words: Word[];
  constructor(words: readonly Word[]) {
    this.words = [...words];
  }
  get current(): Word | undefined {
    return this.words[this.next];
  }
  take(): Word | undefined {
    return this.words[this.next++];
  }
  /** The next word, where an option may stand: `--dport=80` and `-mstate` are two. */
  option(): Word | undefined {
    const word = this.take();
    const [, name, sign, value] = /^(--[a-z0-9-]+(?==)|-[ptsdiojgmAIDCNXFPE](?=.))(=?)(.*)$/.exec(word?.text ?? "") ?? [];
    if (!word || name === undefined) return word;
    const middle = word.at.start + name.length;
    this.words.splice(this.next, 0, { text: value, at: { start: middle + sign.length, end: word.at.end } });
    return { text: name, at: { start: word.at.start, end: middle } };
  }
  value(option: Word): string {
    return this.word(option).text;
  }
  word(option: Word): Word {
    const word = this.take();
    if (!word) throw new Fault(option.at, `option ${option.text} requires an argument`);
    return { text: plain(word, option), at: word.at };
  }
  /** All that follow up to the next option. */
  values(): readonly Word[] {
    const found: Word[] = [];
    for (let word = this.current; word && !word.text.startsWith("-"); word = this.current) found.push(this.word(word));
    return found;
  }
  /** A value that is there only if no option follows. */
  maybe(): string | undefined {
    const word = this.current;
    if (!word || word.text.startsWith("-") || word.text === "!") return undefined;
    this.next++;
    return word.text;
  }
}
