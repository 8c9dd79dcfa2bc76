import type { Command } from "./ast.ts";
import type { HeldTable } from "./tables.ts";
import type { Names } from "./types.ts";
export function listRuleset(_t: readonly HeldTable[], _n: Names): string {
  return "";
}
export function listCommand(_c: Command & { readonly c: "list" }, _t: readonly HeldTable[], _n: Names): string {
  return "";
}
