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
  private table = "filter";
  private setCount = 0;
  private isTrial = false;
  /** Tables and chains that this text has made. */
  private readonly made = new Set<string>();
  /** Tables that hold no rule but this text's. */
  private readonly flushed = new Set<string>();
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
    if (!first || first.text.startsWith("#") || first.text === "COMMIT") return;
    if (first.text.startsWith("*")) this.begin({ text: first.text.slice(1), at: first.at });
    else if (first.text.startsWith(":")) this.declare(first, all[1]);
    else this.command(all);
  }
  private begin(name: Word): void {
    this.table = tableName(name);
    const where = `${this.family} ${this.table}`;
    if (this.options.restore) {
      this.lines.push(`add table ${where}`, `delete table ${where}`);
      this.flushed.add(where);
    }
    this.needTable(this.table);
  }
  private declare(name: Word, policy: Word | undefined): void {
    const chain = name.text.slice(1);
    this.needTable(this.table);
    const isBase = isBuiltIn(this.table, chain);
    this.made.add(`${this.family} ${this.table} ${chain}`);
    const base = isBase ? ` ${baseChain(this.table, chain, policy && policy.text !== "-" ? policy.text : undefined)}` : "";
    this.lines.push(`add chain ${this.family} ${this.table} ${quoted(chain)}${base}`);
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
  private command(all: readonly Word[]): void {
    const program = /^(ip6?)tables(-(nft|legacy))?$/.exec(all[0].text);
    if (program) this.family = program[1] as IpFamily;
    const counted = all.filter(({ text }) => !/^\[\d+:\d+\]$/.test(text));
    const words = new Words(program ? counted.slice(1) : counted);
    let table = this.table;
    let order: Order | undefined;
    let ofChains: { readonly name: string; readonly word: Word; readonly values: readonly Word[] } | undefined;
    const rule = gathered(this.family, (kind) => `${kind}${this.setCount++}`);
    const state: RuleState = { modules: [], taken: new Set() };
    this.checkNegations(all);
    let not = false;
    for (let word = words.take(); word; word = words.take()) {
      const name = ALIASES[word.text] ?? word.text;
      if (name === "!") {
        not = true;
        continue;
      }
      if (name === "-t") table = tableName(words.word(word));
      else if (name === "-A" || name === "-I" || name === "-D" || name === "-C") order = orderOf(name, word, words);
      else if (CHAIN_COMMANDS.has(name)) ofChains = { name, word, values: words.values() };
      else if (name in ELSEWHERE) throw new Fault(word.at, `${word.text} ${ELSEWHERE[name]}`);
      else this.option(name, word, words, rule, state, not);
      not = false;
    }
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
      for (const text of rules) this.lookFor(order, where, target, text);
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
  private lookFor({ verb, word }: Order, where: Place, target: string, text: string): void {
    const there = this.rulesOf(where, target);
    const handle = this.options.existing?.find(where, text, this.deleted);
    const at = there.findIndex((each) => each === handle || (typeof each !== "number" && each.text === text));
    if (at < 0 && !this.isTrial) throw new Fault(word.at, "there is no such rule in that chain");
    if (verb === "-D" && at >= 0) this.remove(target, there, at);
  }
  private deleteAt(where: Place, target: string, place: number, { word }: Order): void {
    const there = this.rulesOf(where, target);
    if (place > there.length) throw new Fault(word.at, `there is no rule ${place} in that chain, which has ${there.length}`);
    this.remove(target, there, place - 1);
  }
  private remove(target: string, there: (number | Rule)[], at: number): void {
    const [rule] = there.splice(at, 1);
    if (typeof rule !== "number") {
      rule.isGone = true;
      return;
    }
    this.deleted.add(rule);
    this.lines.push(`delete rule ${target} handle ${rule}`);
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
    const other = new Translator(this.family, this.options);
    Object.assign(other, { table: this.table, isTrial: true });
    try {
      other.command(words);
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
      const target = words.take();
      if (!target) throw new Fault(word.at, `option ${word.text} requires an argument`);
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
      this.lines.push(`add chain ${target}`);
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
    } else if (isBuiltIn(table, chain.text)) throw new Fault(chain.at, `chain ${chain.text} is always there`);
    else if (name === "-X") this.lines.push(`delete chain ${target}`);
    else {
      if (!value) throw new Fault(word.at, `${word.text} needs the new name of the chain`);
      this.lines.push(`rename chain ${target} ${quoted(value.text)}`);
    }
  }
  private ofAllChains(name: string, table: string, word: Word): void {
    const where = `${this.family} ${table}`;
    if (name !== "-F" && name !== "-X") throw new Fault(word.at, `${word.text} needs the name of a chain`);
    this.needTable(table);
    if (name === "-F") {
      this.lines.push(`flush table ${where}`);
      this.flushed.add(where);
      for (const target of this.rules.keys()) if (target.startsWith(`${where} `)) this.rules.set(target, []);
      return;
    }
    const own = [...this.made].filter((key) => key.startsWith(`${where} `)).map((key) => key.slice(where.length + 1));
    const chains = new Set([
      ...(this.options.existing?.userChains(this.family, table) ?? []),
      ...own.filter((chain) => !isBuiltIn(table, chain)),
    ]);
    for (const chain of chains) {
      this.made.delete(`${where} ${chain}`);
      this.lines.push(`delete chain ${where} ${quoted(chain)}`);
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
const CHAIN_COMMANDS: ReadonlySet<string> = new Set(["-N", "-X", "-F", "-P", "-E"]);
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
  } catch (error) {
    if (error instanceof Fault) throw located(source, error);
    throw error;
  }
  return translator.out.map((line) => `${line}\n`).join("");
}
