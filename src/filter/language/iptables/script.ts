/**
 * The commands of nft that a text of iptables becomes, and what the tables hold behind them: rules are named by their numbers, or by what they say, and
 * both mean the rules as they are at that point of the text.
 */

import type { Span } from "../vocabulary.ts";
import { baseChain, isBuiltIn, quoted } from "./chains.ts";
import type { Existing, Place } from "./existing.ts";

type Family = Place["family"];

/** A rule that this text adds. */
interface Rule {
  readonly target: string;
  readonly text: string;
  readonly isAppended: boolean;
  /** So many stood before it when it was inserted; those that are known, and those behind it. */
  readonly index: number;
  readonly before: readonly (number | Rule)[];
  readonly behind: readonly (number | Rule)[];
  /** Deleted again by the same text. */
  isGone: boolean;
}
const isGone = (each: number | Rule): boolean => typeof each !== "number" && each.isGone;

function ruleLine({ target, text, isAppended, index, before, behind }: Rule): string {
  const place = index - before.filter(isGone).length;
  const isLast = isAppended || (place > 0 && index === before.length && behind.every(isGone));
  return `${isLast ? "add" : "insert"} rule ${target}${isLast || place === 0 ? "" : ` index ${place}`} ${text}`;
}
const targetOf = ({ family, table, chain }: Place): string => `${family} ${table} ${quoted(chain)}`;

export class Script {
  private readonly written: { readonly line: string | Rule; readonly at: Span }[] = [];
  /** Where the command stands that is being translated. */
  at: Span = { start: 0, end: 0 };
  /** Rules of chains that were named, in order: handles of those that are there, and this text's own. */
  private readonly rules = new Map<string, (number | Rule)[]>();
  /** Tables and chains that this text has made. */
  private readonly made = new Set<string>();
  /** Tables that hold no rule but this text's. */
  private readonly emptied = new Set<string>();
  /** Sets that went with their rules. */
  private readonly dropped = new Set<string>();
  /** Chains that this text has taken away. */
  private readonly gone = new Set<string>();
  /** Chains that have been renamed, and what `existing` knows them by. */
  private readonly origins = new Map<string, Place>();
  /** Rules of `existing` that are gone. */
  private readonly deleted = new Set<number>();
  private setCount = 0;

  constructor(private readonly existing?: Existing) {}

  /** Commands of nft, each with the place of what it comes from. */
  get commands(): readonly { readonly text: string; readonly at: Span }[] {
    return this.written.flatMap(({ line, at }) => {
      if (typeof line === "string") return [{ text: line, at }];
      return line.isGone ? [] : [{ text: ruleLine(line), at }];
    });
  }
  private write(...lines: readonly (string | Rule)[]): void {
    for (const line of lines) this.written.push({ line, at: this.at });
  }

  // ── Tables ──────────────────────────────────────────────────────────────────────────────────────

  needTable(family: Family, table: string): void {
    const key = `${family} ${table}`;
    if (this.made.has(key)) return;
    this.made.add(key);
    this.write(`add table ${key}`);
  }

  /** The table holds nothing from here on but what follows. */
  replaceTable(family: Family, table: string): void {
    const key = `${family} ${table}`;
    this.write(`add table ${key}`, `delete table ${key}`);
    this.forgetRules(key);
    for (const chain of this.existing?.userChains(family, table) ?? []) this.gone.add(targetOf({ family, table, chain }));
    for (const each of this.made) if (each === key || each.startsWith(`${key} `)) this.made.delete(each);
    this.needTable(family, table);
  }

  flushTable(family: Family, table: string): void {
    this.needTable(family, table);
    this.write(`flush table ${family} ${table}`);
    this.forgetRules(`${family} ${table}`);
    for (const chain of this.existing?.chains(family, table) ?? []) this.dropSets({ family, table, chain });
  }

  private forgetRules(key: string): void {
    this.emptied.add(key);
    for (const target of this.rules.keys()) if (target.startsWith(`${key} `)) this.rules.set(target, []);
  }

  // ── Chains ──────────────────────────────────────────────────────────────────────────────────────

  /** The table, and the chain if it is one of those that are always there. */
  needChain(place: Place): void {
    this.needTable(place.family, place.table);
    const target = targetOf(place);
    if (!isBuiltIn(place.table, place.chain) || this.made.has(target)) return;
    this.made.add(target);
    this.write(`add chain ${target} ${baseChain(place.table, place.chain)}`);
  }

  /** One of those that are always there, with its policy (or the one it had). */
  setPolicy(place: Place, policy: string | undefined): void {
    this.needTable(place.family, place.table);
    this.made.add(targetOf(place));
    this.write(`add chain ${targetOf(place)} ${baseChain(place.table, place.chain, policy)}`);
  }

  /** A chain of one's own that is not there. */
  createChain(place: Place): void {
    this.begin(place);
    this.write(`create chain ${targetOf(place)}`);
  }

  /** A chain of one's own, empty, whether it was there or not. */
  declareChain(place: Place): void {
    this.begin(place);
    this.write(`add chain ${targetOf(place)}`, `flush chain ${targetOf(place)}`);
    if (!this.emptied.has(`${place.family} ${place.table}`)) this.dropSets(place);
  }

  private begin(place: Place): void {
    const target = targetOf(place);
    this.needTable(place.family, place.table);
    this.made.add(target);
    this.rules.set(target, []);
    this.gone.delete(target);
  }

  flushChain(place: Place): void {
    this.needChain(place);
    this.write(`flush chain ${targetOf(place)}`);
    this.rules.set(targetOf(place), []);
    this.dropSets(place);
  }

  removeChain(place: Place): void {
    const target = targetOf(place);
    this.rules.set(target, []);
    this.made.delete(target);
    this.gone.add(target);
    this.write(`delete chain ${target}`);
  }

  /** What is known of a chain is known of it by its new name. */
  renameChain(place: Place, name: string): void {
    const [from, to] = [targetOf(place), targetOf({ ...place, chain: name })];
    this.rules.set(to, this.rulesOf(place));
    this.rules.delete(from);
    this.gone.add(from);
    this.gone.delete(to);
    this.origins.set(to, this.originOf(place));
    if (this.made.delete(from)) this.made.add(to);
    this.write(`rename chain ${from} ${quoted(name)}`);
  }

  /** Chains of one's own that are there now. */
  userChains(family: Family, table: string): readonly Place[] {
    const prefix = `${family} ${table} `;
    const own = [...this.made].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length).replace(/^"(.*)"$/, "$1"));
    const all = new Set([...(this.existing?.userChains(family, table) ?? []), ...own]);
    const places = [...all].map((chain) => ({ family, table, chain }));
    return places.filter((place) => !isBuiltIn(table, place.chain) && !this.gone.has(targetOf(place)));
  }

  // ── Rules ───────────────────────────────────────────────────────────────────────────────────────

  private rulesOf(place: Place): (number | Rule)[] {
    const target = targetOf(place);
    const isEmpty = this.emptied.has(`${place.family} ${place.table}`);
    const known = this.rules.get(target) ?? (isEmpty ? [] : [...(this.existing?.handles(this.originOf(place)) ?? [])]);
    this.rules.set(target, known);
    return known;
  }
  private originOf(place: Place): Place {
    return this.origins.get(targetOf(place)) ?? place;
  }

  count(place: Place): number {
    return this.rulesOf(place).length;
  }

  /** Rules of one command; `index`: so many stand before them, undefined: all. `sets`: commands that make those which they name. */
  addRules(place: Place, texts: readonly string[], sets: readonly string[], index?: number): void {
    this.write(...sets);
    const there = this.rulesOf(place);
    const isAppended = index === undefined;
    // They stand in their order when they are appended, and each before the last when they are inserted.
    for (const text of texts) {
      const at = index ?? there.length;
      const [before, behind] = isAppended || at === 0 ? [[], []] : [there.slice(0, at), there.slice(at)];
      const rule: Rule = { target: targetOf(place), text, isAppended, index: at, before, behind, isGone: false };
      this.write(rule);
      there.splice(at, 0, rule);
    }
  }

  /** Where the first rule that is the same stands, from 0; -1: nowhere. */
  find(place: Place, text: string, sets: readonly string[]): number {
    const handle = this.existing?.find(this.originOf(place), text, sets, this.deleted);
    return this.rulesOf(place).findIndex((each) => each === handle || (typeof each !== "number" && each.text === text));
  }

  removeRule(place: Place, index: number): void {
    const [rule] = this.rulesOf(place).splice(index, 1);
    if (typeof rule !== "number") {
      rule.isGone = true;
      return;
    }
    this.deleted.add(rule);
    this.write(`delete rule ${targetOf(place)} handle ${rule}`);
    this.dropSets(place, rule);
  }

  /** A name that no set of the table has. */
  setName(family: Family, table: string, kind: string): string {
    for (;;) {
      const name = `${kind}${this.setCount++}`;
      if (!this.existing?.hasSet(family, table, name)) return name;
    }
  }

  /** What rules kept goes with them. */
  private dropSets(place: Place, handle?: number): void {
    for (const name of this.existing?.ownSets(this.originOf(place), handle) ?? []) {
      const set = `${place.family} ${place.table} ${name}`;
      if (this.dropped.has(set)) continue;
      this.dropped.add(set);
      this.write(`delete set ${set}`);
    }
  }
}
