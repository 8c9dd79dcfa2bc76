/**
 * The rules of a network, in nftables' language: text in, packets through, text out.
 *
 *   const firewall = new Firewall(engine, network);
 *   firewall.apply("table inet filter { chain forward { type filter hook forward priority 0; policy drop; ct state established accept } }");
 *   firewall.list();
 *
 * A text is applied as a whole or not at all, and comes into force between two bursts: no packet meets half of it. What
 * stays the same keeps its counters and its elements. Tracking runs while something asks for it, as in the kernel.
 */
import { LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Network, Tracked } from "../engine/network.ts";
import type { LogSpec, RulesetSpec, SetElement } from "./expressions.ts";
import { NftError, Ruleset, type RulesetOptions } from "./language/index.ts";
import { Machine, type MachineOptions } from "./machine/machine.ts";
import type { ObjectState, RuleState, TableName } from "./machine/state.ts";

export interface FirewallOptions extends RulesetOptions {
  readonly random?: MachineOptions["random"];
}

export class Firewall {
  private readonly network: Network;
  private readonly machine: Machine;
  private ruleset: Ruleset;
  private tracked: Tracked = { 4: false, 6: false, defrag: false };

  constructor(engine: Engine, network: Network, options: FirewallOptions = {}) {
    if (engine.memory.layout.sizes.filterBytes === 0) {
      throw new LoomError("ENOTSUP", "this engine has no room for rules; create it with `filterBytes` (a megabyte does for most)");
    }
    this.network = network;
    this.machine = new Machine(engine, network, { random: options.random });
    this.ruleset = new Ruleset(options);
  }

  /** Commands as nft takes them, all or none. Returns what `list` commands among them print. Throws EINVAL with nft's own kind of text. */
  apply(text: string, { file = "ruleset" }: { file?: string } = {}): string {
    const next = this.ruleset.fork();
    let output: readonly string[];
    try {
      output = next.apply(text, { file });
    } catch (error) {
      if (error instanceof NftError) throw new LoomError("EINVAL", error.message);
      throw error;
    }
    this.load(next);
    return output.join("\n");
  }

  private load(next: Ruleset): void {
    const spec = next.spec();
    const [before, wanted] = [this.tracked, trackedBy(spec)];
    // Flows are tracked before a rule asks for them, and no longer when none does any more.
    this.track({ 4: before[4] || wanted[4], 6: before[6] || wanted[6], defrag: before.defrag || wanted.defrag });
    try {
      this.machine.load(spec);
    } catch (error) {
      this.track(before);
      throw error;
    }
    this.ruleset = next;
    this.track(wanted);
    this.network.configure({ nat: hasNat(spec), helpers: hasHelpers(spec) });
  }

  private track(wanted: Tracked): void {
    this.network.track("rules", wanted);
    this.tracked = wanted;
  }

  /** What `nft list ruleset` prints. */
  list(): string {
    return this.ruleset.list();
  }

  /** What `nft -j list ruleset` prints, as an object. */
  json(): unknown {
    return this.ruleset.json();
  }

  get spec(): RulesetSpec {
    return this.machine.spec;
  }

  /** What rules have counted. */
  counters(): RuleState[] {
    return this.machine.counters();
  }

  objects(): ObjectState[] {
    return this.machine.objects();
  }

  elements(set: TableName & { set: string }): SetElement[] {
    return this.machine.elements(set);
  }

  /** Puts elements into a named set, without a new ruleset: for programs that feed sets. */
  addElements(set: TableName & { set: string }, elements: readonly SetElement[]): void {
    this.machine.addElements(set, elements);
  }

  deleteElements(set: TableName & { set: string }, elements: readonly SetElement[]): number {
    return this.machine.deleteElements(set, elements);
  }

  /** The helper ("ftp", "tftp") of a `ct helper` object that a flow was given, by its number. */
  helperName(number: number): string | undefined {
    const statement = this.machine.statement(number);
    return statement?.op === "object" && statement.object.object.type === "ct helper" ? statement.object.object.helper : undefined;
  }

  /** The log statement that a number names (PUNT_LOG), while it is in force. */
  logStatement(number: number): LogSpec | undefined {
    const statement = this.machine.statement(number);
    return statement?.op === "log" ? statement : undefined;
  }
}

const TRACKED = new Set(["ct", "ct-set", "nat", "masq", "redir", "notrack", "connlimit", "synproxy"]);

/** Each family is tracked when a rule of it asks for that, as in the kernel: a chain of type nat alone does not. */
function trackedBy({ tables }: RulesetSpec): Tracked {
  const asking = tables.filter(({ dormant, chains, objects }) => {
    const rules = chains.flatMap((chain) => chain.rules);
    return (
      !dormant &&
      (rules.some(({ expressions }) => expressions.some(({ op }) => TRACKED.has(op))) ||
        objects.some(({ object }) => object.type.startsWith("ct ")))
    );
  });
  const has = (family: string) => asking.some((table) => table.family === family || table.family === "inet");
  return { 4: has("ip"), 6: has("ip6"), defrag: asking.length > 0 };
}

function hasNat({ tables }: RulesetSpec): boolean {
  return tables.some(({ chains, dormant }) => !dormant && chains.some(({ base }) => base?.type === "nat"));
}

function hasHelpers({ tables }: RulesetSpec): boolean {
  return tables.some(({ objects }) => objects.some(({ object }) => object.type === "ct helper"));
}
