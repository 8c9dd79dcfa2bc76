/** A line of iptables into its words, with quotes taken away, and where each stands. */
import { Fault } from "../faults.ts";
import type { Span } from "../vocabulary.ts";

export interface Word {
  readonly text: string;
  readonly at: Span;
}
const WORD = /"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"']+)/g;

export function wordsOf(line: string, offset: number): Word[] {
  return [...line.matchAll(WORD)].map((match) => ({
    text: match[3] ?? match[2] ?? match[1].replace(/\\(.)/g, "$1"),
    at: { start: offset + match.index, end: offset + match.index + match[0].length },
  }));
}
/** Words read one by one; what is missing is said with the option that misses it. */
export class Words {
  private next = 0;
  constructor(private readonly words: readonly Word[]) {}
  get current(): Word | undefined {
    return this.words[this.next];
  }
  take(): Word | undefined {
    return this.words[this.next++];
  }
  value(option: Word): string {
    const word = this.take();
    if (!word) throw new Fault(option.at, `option ${option.text} requires an argument`);
    return word.text;
  }
  /** A value that is there only if no option follows. */
  maybe(): string | undefined {
    const word = this.current;
    if (!word || word.text.startsWith("-") || word.text === "!") return undefined;
    this.next++;
    return word.text;
  }
}
