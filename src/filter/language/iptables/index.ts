/**
 * iptables into nft: what `iptables-save` prints, or single commands as they are typed. What has no translation is refused with its
 * place, never left out.
 */
import { Fault, located, type Source } from "../faults.ts";
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
  "--new-chain": "-N",
  "--delete-chain": "-X",
  "--flush": "-F",
  "--policy": "-P",
  "--set-counters": "-c",
};
const HOOKS: Readonly<Record<string, string>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};
const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };

/** Base chain of a table of iptables: hook, type and priority follow from both names. */
function baseChain(table: string, chain: string, policy: string): string {
  const hook = HOOKS[chain];
  const type = table === "nat" ? "nat" : table === "mangle" && chain === "OUTPUT" ? "route" : "filter";
  const priority = table === "nat" ? (chain === "PREROUTING" || chain === "OUTPUT" ? -100 : 100) : PRIORITIES[table];
  return `{ type ${type} hook ${hook} priority ${priority}; policy ${policy.toLowerCase()}; }`;
}

interface RuleState {
  /** The match named last by `-m`; all of them, and the options that were understood. */
  module?: string;
  readonly modules: { readonly name: string; readonly word: Word }[];
  readonly taken: Set<string>;
  target?: ChosenTarget;
}
function ruleVerb(verb: Word, chain: string, words: Words): (where: string) => string {
  if (verb.text === "-A") return (where) => `add rule ${where} ${chain}`;
  const place = number(words.maybe() ?? "1", verb);
  return (where) => `insert rule ${where} ${chain}${place > 1 ? ` index ${place - 1}` : ""}`;
}

class Translator {
  readonly out: string[] = [];
  private table = "filter";
  private setCount = 0;
  private isTrial = false;
  constructor(private family: IpFamily) {}

  line(line: string, offset: number): void {
    const all = wordsOf(line, offset);
    const [first] = all;
    if (!first || first.text.startsWith("#") || first.text === "COMMIT") return;
    if (first.text.startsWith("*")) {
      this.table = first.text.slice(1);
      this.out.push(`add table ${this.family} ${this.table}`);
    } else if (first.text.startsWith(":")) this.declare(first, all[1]);
    else this.command(all);
  }
  private declare(name: Word, policy: Word | undefined): void {
    const chain = name.text.slice(1);
    const base = policy && policy.text !== "-" ? ` ${baseChain(this.table, chain, policy.text)}` : "";
    this.out.push(`add chain ${this.family} ${this.table} ${chain}${base}`);
  }
  private command(all: readonly Word[]): void {
    const program = /^(ip6?)tables(-(nft|legacy))?$/.exec(all[0].text);
    if (program) this.family = program[1] as IpFamily;
    const counted = all.filter(({ text }) => !/^\[\d+:\d+\]$/.test(text));
    const words = new Words(program ? counted.slice(1) : counted);
    let table = this.table;
    let verb: ((where: string) => string) | undefined;
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
      if (name === "-t") table = words.value(word);
      else if (name === "-A" || name === "-I") verb = ruleVerb(word, words.value(word), words);
      else if (["-N", "-X", "-F", "-P"].includes(name)) {
        this.chainCommand(name, table, words, word);
        return;
      } else this.option(name, word, words, rule, state, not);
      not = false;
    }
    if (!verb) throw new Fault(all[0].at, "no command that is translated: expected -A, -I, -N, -X, -F or -P");
    for (const { name, word } of state.modules) {
      const fault = emptyMatch(name, state.taken);
      if (fault) throw new Fault(word.at, fault);
      if (name === "limit") bareLimit(rule);
      if (name === "rpfilter") bareRpfilter(rule, words, word);
    }
    rule.target = state.target?.write(rule) ?? "";
    const rules = written(rule);
    for (const { name, body } of rule.sets) this.out.push(`add set ${this.family} ${table} ${name} { ${body} }`);
    for (const text of rules) this.out.push(`${verb(`${this.family} ${table}`)} ${text}`);
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
  private chainCommand(name: string, table: string, words: Words, word: Word): void {
    const chain = words.maybe();
    const where = `${this.family} ${table}`;
    if (chain === undefined) {
      if (name !== "-F") throw new Fault(word.at, `${word.text} needs the name of a chain`);
      this.out.push(`flush table ${where}`);
    } else if (name === "-N") this.out.push(`add chain ${where} ${chain}`);
    else if (name === "-X") this.out.push(`delete chain ${where} ${chain}`);
    else if (name === "-F") this.out.push(`flush chain ${where} ${chain}`);
    else this.out.push(`add chain ${where} ${chain} ${baseChain(table, chain, words.value(word))}`);
  }
}

/** Commands of nft, one a line, that do what the text of iptables does. */
export function translateIptables(text: string, options: TranslateOptions = {}): string {
  const source: Source = { name: options.file ?? "iptables", text };
  const translator = new Translator(options.family ?? "ip");
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
