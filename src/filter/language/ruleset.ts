/**
 * A ruleset that takes nft's commands, all of a text or none, and gives out what the machine runs, what `nft list ruleset` prints, and
 * JSON.
 */
import type { RulePlace, RulesetSpec } from "../expressions.ts";
import type { Command } from "./ast.ts";
import { type Listing, Transaction } from "./commands.ts";
import { Fault, located, type NftError, type Source } from "./faults.ts";
import { type RulesetJson, rulesetJson } from "./json.ts";
import { type ListOptions, listRuleset } from "./list.ts";
import { type Parsed, parseRuleset } from "./parse.ts";
import { runsOf } from "./runs.ts";
import { allChains, Draft, type HeldRule, type HeldTable, rulesetSpec } from "./tables.ts";
import type { Names } from "./types.ts";
import type { Span } from "./vocabulary.ts";

export interface RulesetOptions {
  /** Numbers of interfaces, for `iif` and `oif`; "lo" is 1 where nothing else is said. */
  readonly interfaceIndex?: (name: string) => number | undefined;
  readonly interfaceName?: (index: number) => string | undefined;
  /** The text of an included file, or several for a pattern. */
  readonly include?: (path: string) => readonly Source[];
}
export interface ApplyOptions extends Listing {
  /** What errors call the text. */
  readonly file?: string;
}
/** What came of a text. */
export interface Applied {
  /** Texts of its `list` and `reset` commands, in order. */
  readonly output: readonly string[];
  /** Tables with only those parts in them that its `reset` commands named. */
  readonly resets: readonly HeldTable[];
  /** Sets whose elements it changed, as `family table set`. */
  readonly touched: ReadonlySet<string>;
}

/** What no check has foreseen is still about one command, and told so. */
function unforeseen(command: Command, error: unknown): Fault {
  const why = error instanceof RangeError ? "it is nested too deeply" : (error as Error).message;
  const fault = new Fault(command.at, `this cannot be evaluated: ${why}`);
  fault.cause = error;
  return fault;
}

export class Ruleset {
  private held = new Draft();
  /** Where rules stand in the texts that brought them, until those are forgotten. */
  private readonly places = new Map<HeldRule, { readonly source: Source; readonly at: Span }>();
  readonly names: Names;

  constructor(private readonly options: RulesetOptions = {}) {
    const { interfaceIndex, interfaceName } = options;
    this.names = {
      interfaceIndex: interfaceIndex ?? ((name) => (name === "lo" ? 1 : undefined)),
      interfaceName: interfaceName ?? ((index) => (index === 1 ? "lo" : undefined)),
    };
  }

  /** One that holds nothing; what is made in it is numbered on from here, so that nothing is taken for what it replaces. */
  empty(): Ruleset {
    const other = new Ruleset(this.options);
    other.held.nextTable = this.held.nextTable;
    return other;
  }

  /** Another that holds the same: what is applied to one does not change the other. */
  fork(): Ruleset {
    const other = new Ruleset(this.options);
    other.held = new Draft(this.held);
    return other;
  }

  /** Does it hold the very same tables? Then nothing has to be loaded. */
  isSame(other: Ruleset): boolean {
    const [own, others] = [this.held.tables, other.held.tables];
    return own.size === others.size && [...own].every(([key, table]) => others.get(key) === table);
  }

  /** What is wrong with a rule, told as a mistake of the text that brought it; undefined when that is forgotten. */
  blame({ family, table, chain, handle }: RulePlace, why: string): NftError | undefined {
    const rule = this.rule({ family, table, chain, handle });
    const place = rule && this.places.get(rule);
    return place && located(place.source, { at: place.at, message: why });
  }
  /** A rule by its place, be it of a chain that another rule has for itself. */
  rule({ family, table, chain, handle }: RulePlace): HeldRule | undefined {
    const found = this.tables.find((each) => each.family === family && each.name === table);
    const there = found && (found.chains.get(chain) ?? allChains(found).find(({ name }) => name === chain));
    return there?.rules.find((each) => each.handle === handle);
  }
  /** The texts are not needed any more. */
  forgetTexts(): void {
    this.places.clear();
  }

  /** Applies every command of the text, or, when one fails, none. */
  apply(text: string | Parsed<Command>, options: ApplyOptions = {}): Applied {
    const parsed = typeof text === "string" ? parseRuleset({ name: options.file ?? "ruleset", text }) : text;
    const draft = new Draft(this.held);
    const transaction = new Transaction(draft, this.names, parsed.source, this.options.include, options);
    for (const run of runsOf(parsed.items)) {
      try {
        transaction.runTogether(run);
      } catch (error) {
        throw located(transaction.source, error instanceof Fault ? error : unforeseen(run[0], error));
      }
    }
    this.held = draft;
    for (const [rule, place] of transaction.places) this.places.set(rule, place);
    const { output, resets, touched } = transaction;
    return { output, resets, touched };
  }
  get tables(): readonly HeldTable[] {
    return [...this.held.tables.values()];
  }
  spec(): RulesetSpec {
    return rulesetSpec(this.tables);
  }
  list(options: ListOptions = {}): string {
    return listRuleset(this.tables, this.names, options);
  }
  json(): RulesetJson {
    return rulesetJson(this.tables, this.names);
  }
}
