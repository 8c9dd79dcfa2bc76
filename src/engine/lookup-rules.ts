/** Rules by which ports look up what comes in (RULES_* in abi.ts, assembly/table/lookup-rules.ts): written whole, swapped by one word. */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import type { BucketSpace } from "./groups.ts";
import type { EngineMemory } from "./memory.ts";
import type { DataPlane } from "./module.ts";
import type { Port } from "./port.ts";
import type { RouteTable } from "./route-table.ts";

/** An address as it lies in packets (4 or 16 bytes), and how many of its bits count. */
export interface Bits {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** One rule of a family. What is left out holds for every packet; what is given has to hold together, or not to with `not`. */
export interface LookupRule {
  readonly not?: boolean;
  /** It describes nothing that comes in. */
  readonly never?: boolean;
  /** Index of the port that the packet comes in by. */
  readonly iif?: number;
  readonly from?: Bits;
  readonly to?: Bits;
  readonly mark?: number;
  /** The bits of the mark that count. Default all. */
  readonly markMask?: number;
  readonly protocol?: number;
  /** Lowest and highest; packets without ports, and fragments, have none. */
  readonly sourcePorts?: readonly [number, number];
  readonly destinationPorts?: readonly [number, number];
  /** Where to look; all of a port's rules name tables that share next hops with the port's own. */
  readonly table: RouteTable;
  /** Instead of looking into the table: a next hop of it. */
  readonly hop?: number;
}

const ANY_PORT = [0, 0xffff] as const;

export class LookupRules {
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly space: BucketSpace;

  constructor(memory: EngineMemory, plane: DataPlane, space: BucketSpace) {
    this.memory = memory;
    this.plane = plane;
    this.space = space;
  }

  /** Gives a port its rules of a family; none: its table alone holds. ENOMEM: raise `groupBytes`. */
  set(port: Port, family: 4 | 6, rules: readonly LookupRule[]): void {
    const { memory } = this;
    const word = memory.port(port.index) + (family === 4 ? abi.PORT_RULES4 : abi.PORT_RULES6);
    const before = memory.getU32(word);
    const at = rules.length === 0 ? 0 : this.write(family, rules);
    Atomics.store(memory.i32, word / 4, at);
    if (before === 0) return;
    this.space.give(before, shortsFor(memory.getU32(before + abi.RULES_COUNT)), this.plane.epochEnd());
  }

  private write(family: 4 | 6, rules: readonly LookupRule[]): number {
    const { memory } = this;
    const shorts = shortsFor(rules.length);
    const at = this.space.take(shorts, (epoch) => this.passed(epoch));
    memory.u8.fill(0, at, at + 2 * shorts);
    memory.setU32(at + abi.RULES_COUNT, rules.length);
    for (const [i, rule] of rules.entries()) this.writeRule(at + abi.RULES_FIRST + i * abi.RULE_SIZE, family, rule);
    return at;
  }

  private writeRule(at: number, family: 4 | 6, rule: LookupRule): void {
    const { memory } = this;
    if (rule.table.family !== family) throw invalid(`a rule of IPv${family} names a table of IPv${rule.table.family}`);
    const ports = rule.sourcePorts || rule.destinationPorts ? abi.RULE_PORTS : 0;
    memory.u8[at + abi.RULE_FLAGS] = (rule.not ? abi.RULE_NOT : 0) | (rule.never ? abi.RULE_NEVER : 0) | ports;
    memory.setU32(at + abi.RULE_IIF, rule.iif ?? abi.RULE_IIF_ANY);
    memory.setU16(at + abi.RULE_TABLE, rule.table.index);
    memory.setU32(at + abi.RULE_HOP, rule.hop ?? 0);
    memory.setU32(at + abi.RULE_MARK, rule.mark ?? 0);
    memory.setU32(at + abi.RULE_MARK_MASK, rule.mark === undefined ? 0 : (rule.markMask ?? 0xffffffff));
    memory.setU32(at + abi.RULE_PROTOCOL, rule.protocol ?? abi.RULE_PROTOCOL_ANY);
    for (const [offset, range] of [
      [abi.RULE_SOURCE_PORTS, rule.sourcePorts],
      [abi.RULE_DESTINATION_PORTS, rule.destinationPorts],
    ] as const) {
      const [low, high] = range ?? ANY_PORT;
      memory.setU16(at + offset, low);
      memory.setU16(at + offset + 2, high);
    }
    this.writeBits(at + abi.RULE_SOURCE, at + abi.RULE_SOURCE_MASK, rule.from);
    this.writeBits(at + abi.RULE_DESTINATION, at + abi.RULE_DESTINATION_MASK, rule.to);
  }

  private writeBits(at: number, mask: number, bits: Bits | undefined): void {
    if (!bits) return;
    this.memory.u8.set(bits.bytes, at);
    for (let bit = 0; bit < bits.length; bit++) this.memory.u8[mask + (bit >>> 3)] |= 0x80 >>> (bit & 7);
  }

  private passed(epoch: number): void {
    for (let turn = 0; turn < 1_000_000; turn++) if (this.plane.epochPassed(epoch)) return;
    throw new LoomError("EBUSY", "a worker has been in one burst for too long; try again");
  }
}

/** Room for so many rules, in steps, so that another list may have it later; counted in u16, as bucket memory is. */
function shortsFor(count: number): number {
  return (abi.RULES_FIRST + abi.RULE_SIZE * 2 ** Math.ceil(Math.log2(count))) / 2;
}
