/**
 * iptables into nft: what `iptables-save` prints, or single commands as they are typed. What has no translation is refused with its
 * place, never left out.
 */
import { Fault, located, type Source } from "../faults.ts";
import { deviceUnknown, isBuiltIn, isForeign, isTable, TABLES } from "./chains.ts";
import type { Existing, Place } from "./existing.ts";
import { BASICS, bareLimit, MATCHES, markOption } from "./matches.ts";
import { emptyMatch, missingProtocol } from "./modules.ts";
import { bareRpfilter } from "./more-matches.ts";
import { type Gathered, gathered, written } from "./rule.ts";
import { Script } from "./script.ts";
import { ChosenTarget } from "./targets.ts";
import { number, type Word, Words, wordsOf } from "./words.ts";

type IpFamily = "ip" | "ip6";
/** Bytes of `-m comment`. */
const LONGEST_COMMENT = 255;
export interface TranslateOptions {
  /** `ip6`: the text is of ip6tables. Commands that begin with a program's name say it themselves. */
  readonly family?: IpFamily;
  /** What errors call the text, and where it stands in that ({@link Source}). */
  readonly file?: string;
  readonly lines?: number;
  readonly columns?: number;
  /** As iptables-restore does it: a table that the text names holds nothing but what the text says. */
  readonly restore?: boolean;
  /** Rules that are there, for `-D`, `-C` and `-X`. */
  readonly existing?: Existing;
}
const ALIASES: ReadonlyMap<string, string> = new Map(
  Object.entries({
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
  }),
);
interface RuleState {
  /** The match named last by `-m`; all of them, and the options that were understood. */
  module?: string;
  readonly modules: { readonly name: string; readonly word: Word; readonly own: Set<string> }[];
  readonly taken: Set<string>;
  /** Options of matches, where they stand; what those are of that `-m` named last, by name. */
  readonly options: Word[];
  readonly open: Map<string, Set<string>>;
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

class Translator {
  private readonly script: Script;
  /** The section that is open, where it begins. */
  private section: Word | undefined;
  private table = "filter";
  private isTrial = false;
  constructor(
    private family: IpFamily,
    private readonly options: TranslateOptions = {},
  ) {
    this.script = new Script(options.existing);
  }

  get commands(): Script["commands"] {
    return this.script.commands;
  }
  line(line: string, offset: number): void {
    const all = wordsOf(line, offset);
    const [first] = all;
    if (!first || first.text.startsWith("#")) return;
    this.script.at = { start: first.at.start, end: all[all.length - 1].at.end };
    if (first.text === "COMMIT") this.section = undefined;
    else if (first.text.startsWith("*")) this.begin({ text: first.text.slice(1), at: first.at });
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
    if (this.options.restore) this.script.replaceTable(this.family, this.table);
    else this.script.needTable(this.family, this.table);
  }
  private declare(name: Word, policy: Word | undefined): void {
    const place = { family: this.family, table: this.table, chain: name.text.slice(1) };
    if (!/^[^\s"';{}#]+$/.test(place.chain)) throw new Fault(name.at, "expected the name of a chain behind the colon");
    if (policy && !/^(ACCEPT|DROP|-)$/.test(policy.text))
      throw new Fault(policy.at, "expected a policy: ACCEPT, DROP, or - for a chain that has none");
    if (isBuiltIn(this.table, place.chain)) this.script.setPolicy(place, policy?.text === "-" ? undefined : policy?.text);
    // A chain of one's own begins anew where it is declared, also where the others stay (`iptables-restore --noflush`).
    else this.script.declareChain(place);
  }
  private command(all: readonly Word[]): void {
    const program = /^(ip6?)tables(-(nft|legacy))?$/.exec(all[0].text);
    if (program) this.family = program[1] as IpFamily;
    const counted = all.filter(({ text }) => !/^\[\d+:\d+\]$/.test(text));
    const words = new Words(program ? counted.slice(1) : counted);
    let table = this.table;
    let order: Order | undefined;
    let ofChains: { readonly name: string; readonly word: Word; readonly values: readonly Word[] } | undefined;
    const rule = gathered(this.family, (kind) => this.script.setName(this.family, table, kind));
    const state: RuleState = { modules: [], taken: new Set(), options: [], open: new Map() };
    this.checkNegations(all);
    let not = false;
    /** Words of a rule, and commands. */
    const parts: Word[] = [];
    const commands: Word[] = [];
    for (let word = words.option(); word; word = words.option()) {
      const name = nameOf(word, state);
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
      } else if (Object.hasOwn(CHAIN_COMMANDS, name)) {
        commands.push(word);
        ofChains = { name, word, values: words.values() };
      } else if (Object.hasOwn(ELSEWHERE, name)) throw new Fault(word.at, `${word.text} ${ELSEWHERE[name]}`);
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
    else this.ruleCommand(order, table, rule, state);
  }
  private ruleCommand(order: Order, table: string, rule: Gathered, state: RuleState): void {
    const { verb, word, chain, place } = order;
    const { script } = this;
    if (isForeign(table, chain.text)) throw new Fault(chain.at, `table ${table} has no chain ${chain.text}`);
    const unknown = deviceUnknown(chain.text);
    if (unknown && state.taken.has(unknown)) throw new Fault(chain.at, `chain ${chain.text} has no packets with a device for ${unknown}`);
    const where = { family: this.family, table, chain: chain.text };
    script.needChain(where);
    if (verb === "-D" && place !== undefined) {
      if (place > script.count(where))
        throw new Fault(word.at, `there is no rule ${place} in that chain, which has ${script.count(where)}`);
      script.removeRule(where, place - 1);
      return;
    }
    const protocol = rule.protocol?.not ? undefined : rule.protocol?.name;
    for (const { name, word, own } of state.modules) {
      const fault = emptyMatch(name, own, protocol);
      if (fault) throw new Fault(word.at, fault);
    }
    for (const option of state.options) {
      const needed = missingProtocol(option.text, protocol);
      if (needed) throw new Fault(option.at, `${option.text} is of one protocol: expected -p ${needed}`);
    }
    rule.target = state.target?.write(rule) ?? "";
    const rules = written(rule);
    const sets = rule.sets.map(({ name, body }) => `add set ${this.family} ${table} ${name} { ${body} }`);
    if (verb === "-A" || verb === "-I") script.addRules(where, rules, sets, verb === "-A" ? undefined : (place ?? 1) - 1);
    else for (const text of rules) this.lookFor(order, where, text, sets);
  }
  private lookFor({ verb, word }: Order, where: Place, text: string, sets: readonly string[]): void {
    const at = this.script.find(where, text, sets);
    if (at < 0) throw new Fault(word.at, "there is no such rule in that chain");
    if (verb === "-D") this.script.removeRule(where, at);
  }
  /** An exclamation mark that changes nothing was not understood. */
  private checkNegations(all: readonly Word[]): void {
    if (this.isTrial) return;
    for (const [i, { text, at }] of all.entries()) {
      if (text !== "!") continue;
      const [without, whole] = [all.filter((_, k) => k !== i), all].map((words) => this.trial(words));
      if (whole !== undefined && without === whole) throw new Fault(at, `"!" before ${all[i + 1]?.text ?? "nothing"} is not translated`);
    }
  }
  /** What a command alone becomes here, if anything; what is wrong with it is another's to say. */
  private trial(words: readonly Word[]): string | undefined {
    const other = new Translator(this.family);
    Object.assign(other, { table: this.table, isTrial: true });
    try {
      // What is looked for, or deleted, is written as if it were added.
      other.command(words.map((word) => (LOOKING.has(word.text) ? { ...word, text: "-A" } : word)));
    } catch {
      return undefined;
    }
    return other.commands.map(({ text }) => text).join("\n");
  }
  private option(name: string, word: Word, words: Words, rule: Gathered, state: RuleState, not: boolean): void {
    if (name === "-m") this.match(word, words, rule, state);
    else if (name === "-j" || name === "-g") {
      const target = words.word(word);
      state.target = new ChosenTarget(target, name === "-j" ? "jump" : "goto");
    } else if (name === "-c") {
      words.value(word);
      words.value(word);
    } else if (WAITS.includes(name)) words.maybe();
    else if (NO_MATTER.has(name)) return;
    else if (!state.target?.take({ ...word, text: name }, words)) {
      const option = BASICS[name] ?? (name === "--mark" ? markOption(state.module) : MATCHES[name]);
      if (!option) throw new Fault(word.at, `unknown option ${word.text}, or one that is not translated`);
      option(rule, words, word, not);
      state.options.push(word);
      for (const own of state.open.values()) own.add(name);
    }
  }
  /** A match by name: it begins anew, also if it was named before. */
  private match(word: Word, words: Words, rule: Gathered, state: RuleState): void {
    const name = words.value(word);
    const isFirst = !state.open.has(name);
    // The protocol's options may stand before its name.
    const own = new Set<string>(isFirst ? state.options.map(({ text }) => text) : []);
    state.module = name;
    state.modules.push({ name, word, own });
    state.open.set(name, own);
    if (!isFirst) rule.said.delete(name);
    if (name === "limit") bareLimit(rule);
    if (name === "rpfilter") bareRpfilter(rule, words, word);
  }
  private chainCommand(name: string, table: string, [chain, value]: readonly Word[], word: Word): void {
    const { script, family } = this;
    if (chain === undefined) {
      this.ofAllChains(name, table, word);
      return;
    }
    const place = { family, table, chain: chain.text };
    const isAlways = isBuiltIn(table, chain.text);
    if (name === "-P") {
      if (!isAlways) throw new Fault(chain.at, `only chains that are always there have a policy: ${chain.text} is none of table ${table}`);
      if (!value || !/^(ACCEPT|DROP)$/.test(value.text)) throw new Fault((value ?? chain).at, "expected a policy: ACCEPT or DROP");
      script.setPolicy(place, value.text);
    } else if (name === "-F") script.flushChain(place);
    else if (isAlways) throw new Fault(chain.at, `chain ${chain.text} is always there`);
    else if (name === "-N") script.createChain(place);
    else if (name === "-X") this.remove(place, chain);
    else {
      if (!value) throw new Fault(word.at, `${word.text} needs the new name of the chain`);
      script.renameChain(place, value.text);
    }
  }
  private ofAllChains(name: string, table: string, word: Word): void {
    if (name === "-F") this.script.flushTable(this.family, table);
    else if (name === "-X") for (const place of this.script.userChains(this.family, table)) this.remove(place, word);
    else throw new Fault(word.at, `${word.text} needs the name of a chain`);
  }
  private remove(place: Place, { at }: Word): void {
    if (this.script.count(place) > 0) throw new Fault(at, `chain ${place.chain} has rules: flush it before`);
    this.script.removeChain(place);
  }
}

/** An option's one name: of others for the same, of what is short for it alone, and of ports where `multiport` asks for several. */
function nameOf({ text }: Word, { modules, target }: RuleState): string {
  if (!text.startsWith("--")) return text;
  const isMultiport = modules.at(-1)?.name === "multiport";
  if (isMultiport && Object.hasOwn(MATCHES, `${text}s`)) return `${text}s`;
  const all = [target?.optionNames ?? [], [...ALIASES.keys(), ...Object.keys(MATCHES), ...Object.keys(ELSEWHERE), "--mark", ...WAITS]];
  for (const names of all) {
    if (names.includes(text)) return ALIASES.get(text) ?? text;
    // The shortest of several is one that the others only say longer (--to-port, --to-ports), or they are different ones.
    const begun = names.filter((name) => name.startsWith(text)).sort((a, b) => a.length - b.length);
    if (begun.length > 0 && begun.every((name) => name.startsWith(begun[0]))) return ALIASES.get(begun[0]) ?? begun[0];
  }
  return text;
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
const WAITS = ["-w", "-W", "--wait", "--wait-interval"];
/** Of listings, which no command here is. */
const NO_MATTER: ReadonlySet<string> = new Set(["-v", "--verbose", "-n", "--numeric", "-x", "--exact", "--line-numbers"]);
const NO_PARTS: ReadonlySet<string> = new Set([...WAITS, ...NO_MATTER, "-c"]);
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
  return translated(text, options).text;
}

/** The same; and what is wrong with a line of the translation, said of the line that it comes from. */
export function translated(text: string, options: TranslateOptions = {}): Source {
  const { file: name = "iptables", lines, columns } = options;
  const source: Source = { name, text, lines, columns };
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
  const { commands } = translator;
  return {
    name,
    longestComment: LONGEST_COMMENT,
    text: commands.map((command) => `${command.text}\n`).join(""),
    blame: (error) => located(source, { at: commands[error.line - 1]?.at ?? { start: 0, end: text.length }, message: error.reason }),
  };
}
