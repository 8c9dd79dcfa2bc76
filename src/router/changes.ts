/** What differs between two parts of a configuration. Equal is what would be written the same. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]));
}

/** Entries that were and are no more, and those that were not. */
export function changed<T>(next: readonly T[], before: readonly T[]): { gone: T[]; fresh: T[] } {
  return {
    gone: before.filter((old) => !next.some((each) => same(each, old))),
    fresh: next.filter((each) => !before.some((old) => same(each, old))),
  };
}
