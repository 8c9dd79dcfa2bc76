/** A network with rules: ports that share them, the functions that were compiled for each hook, and what is tracked. */
import * as abi from "../../assembly/abi.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { EngineMemory } from "./memory.ts";
import type { Port } from "./port.ts";

/** Parts of hooks that have a function each: names of abi.SEGMENT_*. */
export const SEGMENTS: readonly string[] = Object.entries(abi)
  .filter(([name]) => name.startsWith("SEGMENT_") && name !== "SEGMENT_COUNT")
  .sort(([, a], [, b]) => (a as number) - (b as number))
  .map(([name]) => name.slice("SEGMENT_".length).toLowerCase());

/** What rules know an interface by. */
export interface IfaceFacts {
  readonly name?: string;
  readonly index?: number;
  /** ARPHRD_*; 1 is Ethernet. */
  readonly type?: number;
  readonly group?: number;
  readonly kind?: string;
  /** What masquerade and redirect put in; null: none. */
  readonly address4?: IpAddress | null;
  readonly address6?: IpAddress | null;
}

const encoder = new TextEncoder();

export class Network {
  readonly index: number;
  private readonly memory: EngineMemory;
  private readonly at: number;

  constructor(memory: EngineMemory, index: number) {
    this.memory = memory;
    this.index = index;
    this.at = memory.base(abi.REGION_NETNS) + index * abi.NETNS_SIZE;
  }

  /** The port's packets go through this network's rules from now on. */
  add(port: Port): this {
    this.memory.setU16(this.memory.port(port.index) + abi.PORT_NETNS, this.index + 1);
    return this;
  }

  remove(port: Port): this {
    this.memory.setU16(this.memory.port(port.index) + abi.PORT_NETNS, 0);
    return this;
  }

  /** Switches: track flows, reassemble fragments before that, there are chains of type nat, services. */
  configure({
    track,
    track4 = track,
    track6 = track,
    defrag,
    nat,
    balance,
    helpers,
    zone,
  }: {
    /** Both families. */
    track?: boolean;
    track4?: boolean;
    track6?: boolean;
    defrag?: boolean;
    nat?: boolean;
    balance?: boolean;
    helpers?: boolean;
    zone?: number;
  }): this {
    let flags = this.memory.getU32(this.at + abi.NETNS_FLAGS);
    const bits = [
      [track4, abi.NETNS_TRACK],
      [track6, abi.NETNS_TRACK6],
      [defrag, abi.NETNS_DEFRAG],
      [nat, abi.NETNS_NAT],
      [balance, abi.NETNS_BALANCE],
      [helpers, abi.NETNS_HELPERS],
    ] as const;
    for (const [on, bit] of bits) if (on !== undefined) flags = on ? flags | bit : flags & ~bit;
    this.memory.setU32(this.at + abi.NETNS_FLAGS, flags);
    if (zone !== undefined) this.memory.setU32(this.at + abi.NETNS_ZONE, zone);
    return this;
  }

  get tracks(): boolean {
    return (this.memory.getU32(this.at + abi.NETNS_FLAGS) & (abi.NETNS_TRACK | abi.NETNS_TRACK6)) !== 0;
  }

  /** The function (entry of `engine.programs`) that a segment calls from now on; undefined: none. */
  setProgram(segment: number, entry: number | undefined): void {
    this.memory.setU32(this.at + abi.NETNS_PROGRAMS + 4 * segment, entry === undefined ? 0 : entry + 1);
  }

  /** What rules see of a port. */
  describe(port: number, facts: IfaceFacts): this {
    const { memory } = this;
    const at = memory.base(abi.REGION_IFACES) + port * abi.IFACE_SIZE;
    if (facts.name !== undefined) this.text(at + abi.IFACE_NAME, facts.name);
    if (facts.kind !== undefined) this.text(at + abi.IFACE_KIND, facts.kind);
    if (facts.index !== undefined) memory.setU32(at + abi.IFACE_INDEX, facts.index);
    if (facts.type !== undefined) memory.setU32(at + abi.IFACE_TYPE, facts.type);
    if (facts.group !== undefined) memory.setU32(at + abi.IFACE_GROUP, facts.group);
    this.address(at + abi.IFACE_ADDRESS4, 4, facts.address4);
    this.address(at + abi.IFACE_ADDRESS6, 16, facts.address6);
    return this;
  }

  private text(at: number, value: string): void {
    const bytes = new Uint8Array(abi.IFACE_NAME_SIZE);
    bytes.set(encoder.encode(value).subarray(0, abi.IFACE_NAME_SIZE - 1));
    this.memory.u8.set(bytes, at);
  }

  private address(at: number, width: number, address: IpAddress | null | undefined): void {
    if (address === undefined) return;
    if (address === null) this.memory.u8.fill(0, at, at + width);
    else this.memory.u8.set(address.bytes(), at);
  }
}
