/**
 * iptables into nft: what `iptables-save` prints, or single commands as they are typed. What has no translation is refused with its
 * place, never left out.
 */
import { Fault, located, type Source } from "../faults.ts";
import { baseChain, isBuiltIn, isForeign, isTable, quoted, TABLES } from "./chains.ts";
import type { Existing, Place } from "./existing.ts";
import { BASICS, bareLimit, MATCHES, markOption } from "./matches.ts";
import { emptyMatch } from "./modules.ts";
import { bareRpfilter } from "./more-matches.ts";
import { type Gathered, gathered, written } from "./rule.ts";
import { ChosenTarget } from "./targets.ts";
import { number, type Word, Words, wordsOf } from "./words.ts";

type IpFamily = "ip" | "ip6";
export interface TranslateOptions {
  /** `ip6`: the text is of ip6tables. Commands that begin with a program's name say it themselves. */
  readonly family?: IpFamily;
  readonly file?: string;
  /** As iptables-restore does it: a table that the text names holds nothing but what the text says. */
  readonly restore?: boolean;
  /** Rules that are there, for `-D`, `-C` and `-X`. */
  readonly existing?: Existing;
}
const ALIASES: Readonly<Record<string, string>> = {
  "--source": "-s",
  "--src": "-s",
  "--destination": "-d",
  "--dst": "-d",
  "--protocol": "-p",
  "--proto": "-p",
  "--in-interface": "-i",
  "--out-interface": "-o",
  "--fragment": "-f",
  "--jump": "-j",
  "--goto": "-g",
  "--match": "-m",
  "--table": "-t",
  "--append": "-A",
  "--insert": "-I",
  "--delete": "-D",
  "--check": "-C",
  "--rename-chain": "-E",
  "--new-chain": "-N",
  "--delete-chain": "-X",
  "--flush": "-F",
  "--policy": "-P",
  "--set-counters": "-c",
};
interface RuleState {
  /** The match named last by `-m`; all of them, and the options that were understood. */
  module?: string;
  readonly modules: { readonly name: string; readonly word: Word }[];
  readonly taken: Set<string>;
  target?: ChosenTarget;
}
/** A rule to be added, inserted, deleted or looked for. */
interface Order {
  readonly verb: "-A" | "-I" | "-D" | "-C";
  readonly word: Word;
  readonly chain: Word;
  /** Its number in its chain, from 1. */
  readonly place?: number;
}

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

class Translator {
  private readonly lines: (string | Rule)[] = [];
  /** Rules of chains that commands have named, in order: handles of those that are there, and this text's own. */
  private readonly rules = new Map<string, (number | Rule)[]>();
  /** The one that is open, where it begins. */
  private section: Word | undefined;
  private table = "filter";
  private setCount = 0;
  private isTrial = false;
  /** Tables and chains that this text has made. */
  private readonly made = new Set<string>();
  /** Tables that hold no rule but this text's. */
  private readonly flushed = new Set<string>();
  /** Sets that went with their rules. */
  private readonly dropped = new Set<string>();
  /** Chains that this text has taken away. */
  private readonly gone = new Set<string>();
  /** Chains that have been renamed, and what `existing` knows them by. */
  private readonly origins = new Map<string, Place>();
  /** Rules of `existing` that are gone. */
  private readonly deleted = new Set<number>();
  constructor(
    private family: IpFamily,
    private readonly options: TranslateOptions = {},
  ) {}

  get out(): readonly string[] {
    return this.lines.flatMap((line) => (typeof line === "string" ? [line] : line.isGone ? [] : [ruleLine(line)]));
  }
  line(line: string, offset: number): void {
    const all = wordsOf(line, offset);
    const [first] = all;
    if (!first || first.text.startsWith("#")) return;
    if (first.text === "COMMIT") {
      this.section = undefined;
      return;
    }
    if (first.text.startsWith("*")) this.begin({ text: first.text.slice(1), at: first.at });
    else if (first.text.startsWith(":")) this.declare(first, all[1]);
    else this.command(all);
  }
  /** Throws when a section of a text that replaces others has no end: the text is cut off. */
  end(): void {
    if (this.options.restore && this.section) throw new Fault(this.section.at, "the section has no COMMIT at its end");
  }
  private begin(name: Word): void {
    this.end();
    this.section = name;
    this.table = tableName(name);
    const where = `${this.family} ${this.table}`;
    if (this.options.restore) {
      this.lines.push(`add table ${where}`, `delete table ${where}`);
      this.forget(where);
      for (const chain of this.options.existing?.userChains(this.family, this.table) ?? []) this.gone.add(`${where} ${quoted(chain)}`);
      for (const key of this.made) if (key === where || key.startsWith(`${where} `)) this.made.delete(key);
    }
    this.needTable(this.table);
  }
  /** A table holds no rule any more. */
  private forget(where: string): void {
    this.flushed.add(where);
    for (const target of this.rules.keys()) if (target.startsWith(`${where} `)) this.rules.set(target, []);
  }
  private declare(name: Word, policy: Word | undefined): void {
    const chain = name.text.slice(1);
    if (!/^[^\s"';{}#]+$/.test(chain)) throw new Fault(name.at, "expected the name of a chain behind the colon");
    if (policy && !/^(ACCEPT|DROP|-)$/.test(policy.text))
      throw new Fault(policy.at, "expected a policy: ACCEPT, DROP, or - for a chain that has none");
    this.needTable(this.table);
    const target = `${this.family} ${this.table} ${quoted(chain)}`;
    this.made.add(`${this.family} ${this.table} ${chain}`);
    this.gone.delete(target);
    if (isBuiltIn(this.table, chain)) {
      this.lines.push(`add chain ${target} ${baseChain(this.table, chain, policy && policy.text !== "-" ? policy.text : undefined)}`);
      return;
    }
    // A chain of one's own begins anew where it is declared, also where the others stay (`iptables-restore --noflush`).
    this.lines.push(`add chain ${target}`, `flush chain ${target}`);
    this.rules.set(target, []);
    if (!this.options.restore) this.dropSets({ family: this.family, table: this.table, chain });
  }
  private needTable(table: string): void {
    const key = `${this.family} ${table}`;
    if (this.made.has(key)) return;
    this.made.add(key);
    this.lines.push(`add table ${key}`);
  }
  /** The table, and the chain if it is one of those that are always there. */
  private needChain(table: string, { text: chain, at }: Word): void {
    if (isForeign(table, chain)) throw new Fault(at, `table ${table} has no chain ${chain}`);
    this.needTable(table);
    const key = `${this.family} ${table} ${chain}`;
    if (!isBuiltIn(table, chain) || this.made.has(key)) return;
    this.made.add(key);
    this.lines.push(`add chain ${key} ${baseChain(table, chain)}`);
  }
  /** A name that no set of the table has. */
  private setName(table: string, kind: string): string {
    for (;;) {
      const name = `${kind}${this.setCount++}`;
      if (!this.options.existing?.hasSet(this.family, table, name)) return name;
    }
  }
  private command(all: readonly Word[]): void {
    const program = /^(ip6?)tables(-(nft|legacy))?$/.exec(all[0].text);
    if (program) this.family = program[1] as IpFamily;
    const counted = all.filter(({ text }) => !/^\[\d+:\d+\]$/.test(text));
    const words = new Words(program ? counted.slice(1) : counted);
    let table = this.table;
    let order: Order | undefined;
    let ofChains: { readonly name: string; readonly word: Word; readonly values: readonly Word[] } | undefined;
    const rule = gathered(this.family, (kind) => this.setName(table, kind));
    const state: RuleState = { modules: [], taken: new Set() };
    this.checkNegations(all);
    let not = false;
    /** Words of a rule, and commands. */
    const parts: Word[] = [];
    const commands: Word[] = [];
    for (let word = words.take(); word; word = words.take()) {
      const name = ALIASES[word.text] ?? word.text;
      if (name === "!") {
        not = true;
        continue;
      }
      if (name === "-t") {
        if (this.options.restore) throw new Fault(word.at, "the table is that of the section, which no command changes");
        table = tableName(words.word(word));
      } else if (name === "-A" || name === "-I" || name === "-D" || name === "-C") {
        commands.push(word);
        order = orderOf(name, word, words);
      } else if (name in CHAIN_COMMANDS) {
        commands.push(word);
        ofChains = { name, word, values: words.values() };
      } else if (name in ELSEWHERE) throw new Fault(word.at, `${word.text} ${ELSEWHERE[name]}`);
      else {
        if (!NO_PARTS.has(name)) parts.push(word);
        if (ONCE.has(name) && state.taken.has(name)) throw new Fault(word.at, `multiple ${word.text} flags not allowed`);
        this.option(name, word, words, rule, state, not);
        state.taken.add(name);
      }
      not = false;
    }
    if (commands.length > 1) throw new Fault(commands[1].at, `another command stands before ${commands[1].text}: expected one a line`);
    const isPlain = ofChains !== undefined || (order?.verb === "-D" && order.place !== undefined);
    if (isPlain && parts.length > 0) throw new Fault(parts[0].at, `${parts[0].text} is of a rule, and ${commands[0].text} takes none here`);
    if (ofChains && ofChains.values.length > CHAIN_COMMANDS[ofChains.name])
      throw new Fault(
        ofChains.values[CHAIN_COMMANDS[ofChains.name]].at,
        `${ofChains.word.text} takes no more than ${CHAIN_COMMANDS[ofChains.name]} words`,
      );
    if (ofChains) this.chainCommand(ofChains.name, table, ofChains.values, ofChains.word);
    else if (!order) throw new Fault(all[0].at, "no command that is translated: expected -A, -I, -D, -C, -N, -X, -E, -F or -P");
    else this.ruleCommand(order, table, rule, state, words);
  }
  private ruleCommand(order: Order, table: string, rule: Gathered, state: RuleState, words: Words): void {
    const { verb, chain, place } = order;
    this.needChain(table, chain);
    const where = { family: this.family, table, chain: chain.text };
    const target = `${this.family} ${table} ${quoted(chain.text)}`;
    if (verb === "-D" && place !== undefined) {
      this.deleteAt(where, target, place, order);
      return;
    }
    for (const { name, word } of state.modules) {
      const fault = emptyMatch(name, state.taken);
      if (fault) throw new Fault(word.at, fault);
      if (name === "limit") bareLimit(rule);
      if (name === "rpfilter") bareRpfilter(rule, words, word);
    }
    rule.target = state.target?.write(rule) ?? "";
    const rules = written(rule);
    if (verb === "-D" || verb === "-C") {
      const sets = rule.sets.map(({ name, body }) => `add set ${this.family} ${table} ${name} { ${body} }`);
      for (const text of rules) this.lookFor(order, where, target, text, sets);
      return;
    }
    for (const { name, body } of rule.sets) this.lines.push(`add set ${this.family} ${table} ${name} { ${body} }`);
    const there = this.rulesOf(where, target);
    const index = verb === "-A" ? there.length : (place ?? 1) - 1;
    const isAppended = verb === "-A";
    // Several rules of one command stand in their order when they are appended, and each before the last when they are inserted.
    for (const text of rules) {
      const at = isAppended ? there.length : index;
      const [before, behind] = isAppended || at === 0 ? [[], []] : [there.slice(0, at), there.slice(at)];
      const added: Rule = { target, text, isAppended, index: at, before, behind, isGone: false };
      this.lines.push(added);
      there.splice(at, 0, added);
    }
  }
  private rulesOf(where: Place, target: string): (number | Rule)[] {
    const isEmpty = this.flushed.has(`${where.family} ${where.table}`);
    const known = this.rules.get(target) ?? (isEmpty ? [] : [...(this.options.existing?.handles(where) ?? [])]);
    this.rules.set(target, known);
    return known;
  }
  /** The first rule that is the same. */
  private lookFor({ verb, word }: Order, where: Place, target: string, text: string, sets: readonly string[]): void {
    const there = this.rulesOf(where, target);
    const handle = this.options.existing?.find(this.origins.get(target) ?? where, text, sets, this.deleted);
    const at = there.findIndex((each) => each === handle || (typeof each !== "number" && each.text === text));
    if (at < 0 && !this.isTrial) throw new Fault(word.at, "there is no such rule in that chain");
    if (verb === "-D" && at >= 0) this.remove(where, target, there, at);
  }
  private deleteAt(where: Place, target: string, place: number, { word }: Order): void {
    const there = this.rulesOf(where, target);
    if (place > there.length) throw new Fault(word.at, `there is no rule ${place} in that chain, which has ${there.length}`);
    this.remove(where, target, there, place - 1);
  }
  /** What rules kept goes with them. */
  private dropSets(where: Place, handle?: number): void {
    const { family, table } = where;
    for (const name of this.options.existing?.ownSets(this.origins.get(`${family} ${table} ${quoted(where.chain)}`) ?? where, handle) ??
      []) {
      const set = `${family} ${table} ${name}`;
      if (this.dropped.has(set)) continue;
      this.dropped.add(set);
      this.lines.push(`delete set ${set}`);
    }
  }
  private remove(where: Place, target: string, there: (number | Rule)[], at: number): void {
    const [rule] = there.splice(at, 1);
    if (typeof rule !== "number") {
      rule.isGone = true;
      return;
    }
    this.deleted.add(rule);
    this.lines.push(`delete rule ${target} handle ${rule}`);
    this.dropSets(where, rule);
  }
  /** An exclamation mark that changes nothing was not understood. */
  private checkNegations(all: readonly Word[]): void {
    if (this.isTrial) return;
    for (const [i, { text, at }] of all.entries()) {
      if (text !== "!") continue;
      const [without, whole] = [all.filter((_, k) => k !== i), all].map((words) => this.trial(words));
      if (without === whole) throw new Fault(at, `"!" before ${all[i + 1]?.text ?? "nothing"} is not translated`);
    }
  }
  /** What a command alone becomes here; what is wrong with it is another's to say. */
  private trial(words: readonly Word[]): string {
    const other = new Translator(this.family);
    Object.assign(other, { table: this.table, isTrial: true, setCount: this.setCount });
    try {
      // What is looked for, or deleted, is written as if it were added.
      other.command(words.map((word) => (LOOKING.has(word.text) ? { ...word, text: "-A" } : word)));
    } catch (error) {
      return String(error);
    }
    return other.out.join("\n");
  }
  private option(name: string, word: Word, words: Words, rule: Gathered, state: RuleState, not: boolean): void {
    if (name === "-m") {
      state.module = words.value(word);
      state.modules.push({ name: state.module, word });
    } else if (name === "-j" || name === "-g") {
      const target = words.word(word);
      state.target = new ChosenTarget(target, name === "-j" ? "jump" : "goto");
    } else if (name === "-c") {
      words.value(word);
      words.value(word);
    } else if (name === "-w" || name === "--wait") words.maybe();
    else if (!state.target?.take(word, words)) {
      const option = BASICS[name] ?? (name === "--mark" ? markOption(state.module) : MATCHES[name]);
      if (!option) throw new Fault(word.at, `unknown option ${word.text}, or one that is not translated`);
      option(rule, words, word, not);
      state.taken.add(name);
    }
  }
  private chainCommand(name: string, table: string, [chain, value]: readonly Word[], word: Word): void {
    const where = `${this.family} ${table}`;
    if (chain === undefined) {
      this.ofAllChains(name, table, word);
      return;
    }
    const target = `${where} ${quoted(chain.text)}`;
    if (name === "-N") {
      if (isBuiltIn(table, chain.text)) throw new Fault(chain.at, `chain ${chain.text} is there already`);
      this.needTable(table);
      this.made.add(`${where} ${chain.text}`);
      this.rules.set(target, []);
      this.gone.delete(target);
      this.lines.push(`create chain ${target}`);
    } else if (name === "-P") {
      if (!isBuiltIn(table, chain.text))
        throw new Fault(chain.at, `only chains that are always there have a policy: ${chain.text} is none of table ${table}`);
      if (!value || !/^(ACCEPT|DROP)$/.test(value.text)) throw new Fault((value ?? chain).at, "expected a policy: ACCEPT or DROP");
      this.needTable(table);
      this.made.add(`${where} ${chain.text}`);
      this.lines.push(`add chain ${target} ${baseChain(table, chain.text, value.text)}`);
    } else if (name === "-F") {
      this.needChain(table, chain);
      this.lines.push(`flush chain ${target}`);
      this.rules.set(target, []);
      this.dropSets({ family: this.family, table, chain: chain.text });
    } else if (isBuiltIn(table, chain.text)) throw new Fault(chain.at, `chain ${chain.text} is always there`);
    else if (name === "-X") {
      const place = { family: this.family, table, chain: chain.text };
      if (this.rulesOf(place, target).length > 0) throw new Fault(chain.at, `chain ${chain.text} has rules: flush it before`);
      this.removeChain(where, chain.text);
    } else {
      if (!value) throw new Fault(word.at, `${word.text} needs the new name of the chain`);
      this.rename({ family: this.family, table, chain: chain.text }, value.text);
    }
  }
  private removeChain(where: string, chain: string): void {
    const target = `${where} ${quoted(chain)}`;
    this.rules.set(target, []);
    this.made.delete(`${where} ${chain}`);
    this.gone.add(target);
    this.lines.push(`delete chain ${target}`);
  }
  /** What is known of a chain is known of it by its new name. */
  private rename(place: Place, name: string): void {
    const where = `${place.family} ${place.table}`;
    const [from, to] = [place.chain, name].map((chain) => `${where} ${quoted(chain)}`);
    this.rules.set(to, this.rulesOf(place, from));
    this.rules.delete(from);
    this.gone.add(from);
    this.gone.delete(to);
    this.origins.set(to, this.origins.get(from) ?? place);
    if (this.made.delete(`${where} ${place.chain}`)) this.made.add(`${where} ${name}`);
    this.lines.push(`rename chain ${from} ${quoted(name)}`);
  }
  private ofAllChains(name: string, table: string, word: Word): void {
    const where = `${this.family} ${table}`;
    if (name !== "-F" && name !== "-X") throw new Fault(word.at, `${word.text} needs the name of a chain`);
    this.needTable(table);
    if (name === "-F") {
      this.lines.push(`flush table ${where}`);
      this.forget(where);
      for (const chain of this.options.existing?.chains(this.family, table) ?? []) this.dropSets({ family: this.family, table, chain });
      return;
    }
    const own = [...this.made].filter((key) => key.startsWith(`${where} `)).map((key) => key.slice(where.length + 1));
    const chains = new Set([
      ...(this.options.existing?.userChains(this.family, table) ?? []),
      ...own.filter((chain) => !isBuiltIn(table, chain)),
    ]);
    for (const chain of chains) {
      const target = `${where} ${quoted(chain)}`;
      if (this.gone.has(target)) continue;
      if (this.rulesOf({ family: this.family, table, chain }, target).length > 0)
        throw new Fault(word.at, `chain ${chain} has rules: flush it before`);
      this.removeChain(where, chain);
    }
  }
}

function tableName({ text, at }: Word): string {
  if (!isTable(text)) throw new Fault(at, `there is no table ${text}, expected ${TABLES.join(", ")}`);
  return text;
}
function orderOf(verb: Order["verb"], word: Word, words: Words): Order {
  const chain = words.word(word);
  const isCounted = verb === "-I" || (verb === "-D" && /^\d+$/.test(words.current?.text ?? ""));
  if (!isCounted) return { verb, word, chain };
  const place = number(words.maybe() ?? "1", word);
  if (place < 1) throw new Fault(word.at, "rules are counted from 1");
  return { verb, word, chain, place };
}
/** Commands about chains, and how many words each takes. */
const CHAIN_COMMANDS: Readonly<Record<string, number>> = { "-N": 1, "-X": 1, "-F": 1, "-P": 2, "-E": 2 };
/** Options that may not stand twice, and those that say nothing of a rule. */
const ONCE: ReadonlySet<string> = new Set(["-s", "-d", "-p", "-i", "-o", "-j", "-g"]);
const NO_PARTS: ReadonlySet<string> = new Set(["-w", "--wait", "-c"]);
const LOOKING: ReadonlySet<string> = new Set(["-D", "--delete", "-C", "--check"]);
const LISTS = "shows rules, which `nft list ruleset` does here";
const ELSEWHERE: Readonly<Record<string, string>> = {
  "-L": LISTS,
  "-S": LISTS,
  "--list": LISTS,
  "--list-rules": LISTS,
  "-Z": "is not translated: `nft reset` puts named counters to zero",
  "--zero": "is not translated: `nft reset` puts named counters to zero",
  "-R": "is not translated: delete the rule and insert the other in its place",
  "--replace": "is not translated: delete the rule and insert the other in its place",
};

/** Commands of nft, one a line, that do what the text of iptables does. Throws an {@link NftError} with the place of what has no translation. */
export function translateIptables(text: string, options: TranslateOptions = {}): string {
  const source: Source = { name: options.file ?? "iptables", text };
  const translator = new Translator(options.family ?? "ip", options);
  let offset = 0;
  try {
    for (const line of text.split("\n")) {
      translator.line(line, offset);
      offset += line.length + 1;
    }
    translator.end();
  } catch (error) {
    if (error instanceof Fault) throw located(source, error);
    throw error;
  }
  return translator.out.map((line) => `${line}\n`).join("");
}
