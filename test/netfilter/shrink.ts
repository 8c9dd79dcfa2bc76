/**
 * The least case in which two routers still differ: events and lines of rules are left out as long as there is a difference
 * (Zeller and Hildebrandt's ddmin, in its plain form).
 */
import type { Case } from "./case.ts";
import { compare, type Difference } from "./compare.ts";
import { type Router, run } from "./router.ts";

/** How `got` differs from `expected` on a case, if it does; both are asked. Undefined too for rules that one of them refuses. */
export async function differ(it: Case, expected: Router, got: Router): Promise<{ it: Case; difference: Difference } | undefined> {
  try {
    const answered = await run(expected, it);
    const difference = compare(answered, await run(got, answered));
    return difference && { it: answered, difference };
  } catch {
    return undefined;
  }
}

/** Leaves out as many of `parts` as it can while `fails` holds. */
async function least<T>(parts: readonly T[], fails: (parts: readonly T[]) => Promise<boolean>): Promise<readonly T[]> {
  for (let size = Math.ceil(parts.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < parts.length; ) {
      const without = [...parts.slice(0, at), ...parts.slice(at + size)];
      if (await fails(without)) parts = without;
      else at += size;
    }
  }
  return parts;
}

/** Lines that can go together: a chain or a set with all of its lines, or one rule. */
const RULE = /^ {4}(?!type )\S/;

async function fewerRules(it: Case, fails: (it: Case) => Promise<boolean>): Promise<Case> {
  const lines = it.ruleset.split("\n");
  const without = (gone: ReadonlySet<number>) => ({ ...it, ruleset: lines.filter((_, i) => !gone.has(i)).join("\n") });
  const rules = lines.flatMap((line, i) => (RULE.test(line) ? [i] : []));
  const kept = await least(rules, (some) => fails(without(new Set(rules.filter((i) => !some.includes(i))))));
  return without(new Set(rules.filter((i) => !kept.includes(i))));
}

/** Chains and sets, then tables, one at a time. */
const BLOCKS = [/^ {2}(?:chain|set) .*\{\n(?: {4}.*\n)* {2}\}\n/gm, /^table .*\{\n(?: .*\n)*\}\n?/gm];

async function fewerBlocks(it: Case, fails: (it: Case) => Promise<boolean>): Promise<Case> {
  for (const blocks of BLOCKS) {
    for (const block of it.ruleset.match(blocks) ?? []) {
      const without = { ...it, ruleset: it.ruleset.replace(block, "") };
      if (await fails(without)) it = without;
    }
  }
  return it;
}

export async function shrink(it: Case, expected: Router, got: Router): Promise<{ it: Case; difference: Difference }> {
  const fails = async (some: Case) => (await differ(some, expected, got)) !== undefined;
  let before = "";
  while (before !== JSON.stringify(it)) {
    before = JSON.stringify(it);
    const whole = it;
    it = { ...it, events: await least(it.events, (events) => fails({ ...whole, events: [...events] })) };
    it = await fewerBlocks(await fewerRules(it, fails), fails);
    if (await fails({ ...it, sysctls: {} })) it = { ...it, sysctls: {} };
  }
  const found = await differ(it, expected, got);
  if (!found) throw new Error("the difference is gone: one of the routers answers by chance");
  return found;
}
