/** A command against a running router: words in, text out, as the tool of that name would print it. */
import { LoomError } from "../../base/errors.ts";
import type { Router } from "../router.ts";

export interface Output {
  readonly stdout?: string;
  readonly stderr?: string;
  /** Exit code. Default 0. */
  readonly code?: number;
  /** Goes on until the reader has enough: what it returns ends it. */
  readonly follow?: (print: (text: string) => void) => () => void;
}

/** `input`: what a file named on the command line holds. */
export type Command = (router: Router, words: readonly string[], input?: string) => Output;

/** Wrong words, in the tool's manner. */
export function usage(message: string): LoomError {
  return new LoomError("EINVAL", message);
}

/** What a kernel would have answered: iproute2 tells that apart from wrong words by its exit code. */
export class Refused extends LoomError {}

export function refused(message: string): Refused {
  return new Refused("EINVAL", message);
}

/** Tools allow their words to be shortened: "a", "addr", "address". */
export function pick<T extends string>(word: string | undefined, names: readonly T[], other: T): T | undefined {
  if (word === undefined) return other;
  return names.find((name) => name.startsWith(word));
}

/** The word behind `name`, and the words without the two. */
export function takeWord(words: readonly string[], name: string): [string | undefined, readonly string[]] {
  const at = words.indexOf(name);
  return at < 0 ? [undefined, words] : [words[at + 1] ?? "", [...words.slice(0, at), ...words.slice(at + 2)]];
}
