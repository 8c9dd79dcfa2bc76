import type { HeldTable } from "./tables.ts";
import type { Names } from "./types.ts";
export function rulesetJson(_t: readonly HeldTable[], _n: Names): unknown {
  return null;
}
