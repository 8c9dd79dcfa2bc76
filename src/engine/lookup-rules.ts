/** Rules by which ports look up what comes in (RULES_* in abi.ts, assembly/table/lookup-rules.ts): written whole, swapped by a word of each port. */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import { awaitPassed } from "./epochs.ts";
import type { BucketSpace } from "./groups.ts";
import type { EngineMemory } from "./memory.ts";
import type { DataPlane } from "./module.ts";
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

interface Old {
  readonly lists: readonly number[];
  readonly room: number;
}

/** The rules of one family that a host's ports have in common. */
export class LookupRules {
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly space: BucketSpace;
  private readonly family: 4 | 6;
  /** Two lists of one size, one of them in use: a list that does not grow needs no memory. */
  private lists: readonly [number, number] | undefined;
  private room = 0;
  private current = 0;
  /** When the other list went out of use. */
  private swapped: number | undefined;
  /** Smaller lists that ports may still have. */
  private old: Old | undefined;

  constructor(memory: EngineMemory, plane: DataPlane, space: BucketSpace, family: 4 | 6) {
    this.memory = memory;
    this.plane = plane;
    this.space = space;
    this.family = family;
  }

  /** Room for so many rules, so that `write` needs none. ENOMEM: raise `groupBytes`; nothing has changed then. */
  reserve(count: number): void {
    if (this.lists && count <= this.room) return;
    const room = Math.max(8, 2 ** Math.ceil(Math.log2(count)));
    const passed = (epoch: number) => awaitPassed(this.plane, epoch);
    const first = this.space.take(shortsFor(room), passed);
    let second: number;
    try {
      second = this.space.take(shortsFor(room), passed);
    } catch (error) {
      this.giveBack({ lists: [first], room });
      throw error;
    }
    const before = this.lists && { lists: this.lists, room: this.room };
    // Ports may still have the first of several that were too small.
    if (before && this.old) this.giveBack(before);
    else this.old = before;
    this.lists = [first, second];
    this.room = room;
    this.swapped = undefined;
  }

  /** Writes a list, for `Port.useRules` of all ports that have it; then `written` has to be told. */
  write(rules: readonly LookupRule[]): number {
    for (const { table } of rules)
      if (table.family !== this.family) throw invalid(`a rule of IPv${this.family} names a table of IPv${table.family}`);
    this.reserve(rules.length);
    if (this.swapped !== undefined) awaitPassed(this.plane, this.swapped);
    this.current ^= 1;
    const at = (this.lists as readonly [number, number])[this.current];
    this.memory.u8.fill(0, at, at + 2 * shortsFor(this.room));
    this.memory.setU32(at + abi.RULES_COUNT, rules.length);
    for (const [i, rule] of rules.entries()) this.writeRule(at + abi.RULES_FIRST + i * abi.RULE_SIZE, rule);
    return at;
  }

  /** All ports have what `write` wrote last, or none: nobody reads what was before. */
  written(): void {
    this.swapped = this.plane.epochEnd();
    if (this.old) this.giveBack(this.old);
    this.old = undefined;
  }

  /** Gives the memory back; no port has the rules any more. */
  close(): void {
    this.written();
    if (this.lists) this.giveBack({ lists: this.lists, room: this.room });
    this.lists = undefined;
  }

  private giveBack({ lists, room }: Old): void {
    const epoch = this.plane.epochEnd();
    for (const at of lists) this.space.give(at, shortsFor(room), epoch);
  }

  private writeRule(at: number, rule: LookupRule): void {
    const { memory } = this;
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
}

/** Room for so many rules, counted in u16 as bucket memory is. */
function shortsFor(room: number): number {
  return (abi.RULES_FIRST + abi.RULE_SIZE * room) / 2;
}
