/** Which sources of a group are wanted, by a socket and by an interface (RFC 3376 §3, RFC 3810 §4, RFC 3678). */
import type { IpAddress } from "../../base/ip-address.ts";

export interface SourceFilter {
  /** Only these sources, or all but these. */
  readonly mode: "include" | "exclude";
  /** By their keys. */
  readonly sources: ReadonlyMap<string, IpAddress>;
}

export function sourceFilter(mode: SourceFilter["mode"], sources: Iterable<IpAddress> = []): SourceFilter {
  return { mode, sources: new Map([...sources].map((source) => [source.key, source])) };
}

/** Everything of a group, and nothing: what "not a member" means. */
export const EVERYTHING = sourceFilter("exclude");
export const NOTHING = sourceFilter("include");

export function allows({ mode, sources }: SourceFilter, source: IpAddress): boolean {
  return sources.size === 0 ? mode === "exclude" : sources.has(source.key) === (mode === "include");
}

export function isNothing({ mode, sources }: SourceFilter): boolean {
  return mode === "include" && sources.size === 0;
}

/** What an interface must take so that every socket gets what it wants (RFC 3376 §3.2). */
export function merge(filters: readonly SourceFilter[]): SourceFilter {
  const wanted = new Map(filters.filter(({ mode }) => mode === "include").flatMap(({ sources }) => [...sources]));
  const excluding = filters.filter(({ mode }) => mode === "exclude");
  const [first, ...others] = excluding;
  if (!first) return { mode: "include", sources: wanted };
  const unwanted = [...first.sources].filter(([key]) => !wanted.has(key) && others.every(({ sources }) => sources.has(key)));
  return { mode: "exclude", sources: new Map(unwanted) };
}

/** Sources of `a` that are not in `b`. */
export function without(a: ReadonlyMap<string, IpAddress>, b: ReadonlyMap<string, unknown>): IpAddress[] {
  return [...a].filter(([key]) => !b.has(key)).map(([, source]) => source);
}
