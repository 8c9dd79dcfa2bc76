/**
 * Mistakes in a text, as nft shows them: `file:line:col-col: Error: message`, the line, and carets under what is meant. A second span
 * (what the first one is at odds with) is underlined with tildes.
 */
import { LoomError } from "../../base/index.ts";
import type { Span } from "./vocabulary.ts";

/** A text and its name, which is empty for a command line; spans of nodes are offsets into it. */
export interface Source {
  readonly name: string;
  readonly text: string;
  /** Where it stands in what has that name: lines in front of it, and columns in front of each of its lines. Default 0. */
  readonly lines?: number;
  readonly columns?: number;
  /** It was translated: what is wrong with it, said of what it was translated from. */
  readonly blame?: (error: NftError) => NftError;
  /** Bytes that a comment in it may have. Default 128. */
  readonly longestComment?: number;
}
/** Thrown inside; {@link located} makes the error for people of it. */
export class Fault extends Error {
  constructor(
    readonly at: Span,
    message: string,
    readonly other?: Span,
  ) {
    super(message);
  }
}
/** What a caller gets: the sentence with its place, and the place by itself. */
export class NftError extends LoomError {
  constructor(
    text: string,
    readonly line: number,
    readonly from: number,
    readonly to: number,
    readonly reason: string,
  ) {
    super("EINVAL", text);
    this.name = "NftError";
  }
}

const LONGEST_LINE = 300;

export function located(source: Source, fault: { readonly at: Span; readonly message: string; readonly other?: Span }): NftError {
  const { text, name, lines = 0, columns = 0 } = source;
  const start = Math.min(fault.at.start, text.length);
  const lineStart = text.lastIndexOf("\n", start - 1) + 1;
  const lineEnd = text.indexOf("\n", lineStart);
  const line = text.slice(lineStart, lineEnd < 0 ? undefined : lineEnd);
  const row = text.slice(0, lineStart).split("\n").length;
  const last = Math.max(Math.min(fault.at.end, lineEnd < 0 ? text.length : Math.max(lineEnd, start + 1)), start + 1);
  const [from, to] = [start - lineStart + 1, last - lineStart];
  const marks: string[] = Array.from({ length: Math.max(to, line.length) }, (_, i) =>
    i + 1 >= from && i + 1 <= to ? "^" : line[i] === "\t" ? "\t" : " ",
  );
  if (fault.other)
    for (let i = fault.other.start - lineStart; i < fault.other.end - lineStart; i++) if (i >= 0 && marks[i] !== "^") marks[i] = "~";
  // Of a line that no screen holds, what is around the mistake.
  const cut = line.length > LONGEST_LINE ? Math.max(0, from - 1 - LONGEST_LINE / 2) : 0;
  const shown = line.length > LONGEST_LINE ? line.slice(cut, cut + LONGEST_LINE) : line;
  const where = `${name === "" ? "" : `${name}:${row + lines}:${from + columns}-${to + columns}: `}Error: ${fault.message}`;
  const error = new NftError(
    `${where}\n${shown}\n${marks
      .slice(cut, cut + shown.length + 1)
      .join("")
      .trimEnd()}`,
    row + lines,
    from + columns,
    to + columns,
    fault.message,
  );
  return source.blame ? source.blame(error) : error;
}
