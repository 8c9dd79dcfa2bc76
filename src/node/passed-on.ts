/** What newer versions of Node's modules have, and this one may not. */
export function passedOn(module: object, ...names: readonly string[]): Record<string, unknown> {
  const all = module as Record<string, unknown>;
  return Object.fromEntries(names.filter((name) => all[name] !== undefined).map((name) => [name, all[name]]));
}
