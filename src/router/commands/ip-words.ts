/** What the objects of ip(8) have in common: words that choose, and how what was found is printed. */
import { type Output, pick, takeWord } from "./command.ts";

export interface Asked {
  readonly family: 4 | 6 | undefined;
  readonly withStats: boolean;
  readonly json: boolean;
  readonly brief: boolean;
}

export const lines = (texts: readonly string[]): Output => ({ stdout: texts.map((text) => `${text}\n`).join("") });
export const done: Output = {};

/** What is shown, as text or (-j) as iproute2's JSON. */
export function shown<T>({ json }: Asked, items: readonly T[], text: (item: T) => string, object: (item: T) => unknown): Output {
  return json ? { stdout: `${JSON.stringify(items.map(object))}\n` } : lines(items.map(text));
}

export const isShow = (word: string | undefined) => pick(word, ["show", "list", "lst"] as const, "show") !== undefined;
export const deviceOf = (words: readonly string[]) => {
  const [name, rest] = takeWord(words, "dev");
  return name ?? rest[0];
};
