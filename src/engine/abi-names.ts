/** Names of what the memory's layout numbers: for counters, regions and hooks as people read them. */
import * as abi from "../../assembly/abi.ts";

/** Of the constants `PREFIX_*` the names behind the prefix, in lower case, with their numbers; a `PREFIX_COUNT` is none of them. */
export function namesOf(prefix: string): [name: string, value: number][] {
  return Object.entries(abi)
    .filter(([name]) => name.startsWith(`${prefix}_`) && !name.endsWith("_COUNT"))
    .map(([name, value]) => [name.slice(prefix.length + 1).toLowerCase(), value as number]);
}
