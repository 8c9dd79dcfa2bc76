/**
 * Mappings of NAT: which outer address and port an inner one has, whatever it talks to (RFC 4787 §4.1). Rules make them for flows
 * (`masquerade full-cone`), and programs by name, as PCP and its elders do for their clients.
 *
 *   conntrack.mappings.add({ protocol: 17, inner: { address, port: 5000 }, outer: { address: own, port: 5000 }, lifetimeMs: 60_000 });
 */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Engine } from "../engine/engine.ts";
import { type End, networkOfSpace, readTuple, type Tuple, writeTuple } from "./flow.ts";

/** Who may come to a mapping's outer end (RFC 4787 §5): anybody, hosts that the inner end has talked to, only what answers. */
export type Filtering = "endpoint-independent" | "address-dependent" | "address-and-port-dependent";

export interface Mapping {
  /** Names the mapping while it lives. */
  readonly id: number;
  readonly protocol: number;
  readonly inner: End;
  readonly outer: End;
  readonly filtering: Filtering;
  /** Asked for by name; lives for the time it was given. */
  readonly isExplicit: boolean;
  /** Flows that use it. */
  readonly flows: number;
  /** Milliseconds until it ends; for one that flows use, at least. */
  readonly expiresMs: number;
}

export interface MappingOptions {
  /** 6 (TCP), 17 (UDP), 33, 132 or 136. */
  readonly protocol: number;
  readonly inner: End;
  readonly outer: End;
  readonly lifetimeMs: number;
}

const FILTERING: Readonly<Record<number, Filtering>> = {
  [abi.NAT_FULL_CONE]: "endpoint-independent",
  [abi.NAT_RESTRICTED_CONE]: "address-dependent",
  [abi.NAT_PORT_RESTRICTED_CONE]: "address-and-port-dependent",
};
const CONES = abi.NAT_FULL_CONE | abi.NAT_RESTRICTED_CONE | abi.NAT_PORT_RESTRICTED_CONE;
const LONGEST_MS = 2 ** 30;

export class Mappings {
  private readonly engine: Engine;
  private readonly at: number;

  /** `network`: the number of that whose mappings these are. */
  constructor(
    engine: Engine,
    private readonly network: number,
  ) {
    this.engine = engine;
    this.at = engine.memory.base(abi.REGION_FLOWS);
  }

  private get ticks(): number {
    return this.engine.clock.now() >>> 0;
  }

  private word(offset: number): number {
    return this.engine.memory.getU32(this.at + offset);
  }

  /** Mappings that live, in no order. */
  *list(): Generator<Mapping> {
    if (this.word(abi.FLOWS_MAPPINGS) === 0) return;
    for (let id = 1; id < this.word(abi.FLOWS_FRESH); id++) {
      const mapping = this.read(id);
      if (mapping) yield mapping;
    }
  }

  /** A mapping of this network? */
  private isOne(hot: number): boolean {
    const space = this.engine.memory.u8[hot + abi.FLOW_SPACE];
    return (space & abi.SPACE_MAPPING) !== 0 && networkOfSpace(space) === this.network;
  }

  private read(id: number): Mapping | undefined {
    const { memory } = this.engine;
    const hot = this.word(abi.FLOWS_HOT) + id * abi.FLOW_SIZE;
    if (!this.isOne(hot)) return undefined;
    if ((memory.getU32(hot + abi.FLOW_STATUS) & (abi.IPS_CONFIRMED | abi.IPS_DYING)) !== abi.IPS_CONFIRMED) return undefined;
    const [original, answers] = [this.tuple(id, 0), this.tuple(id, 1)];
    const mark = memory.getU32(hot + abi.FLOW_MARK);
    // What is for one far address belongs to another.
    if (!original.dst.isUnspecified && !(mark & abi.MAPPING_EXPLICIT)) return undefined;
    const flows = memory.getU32(this.word(abi.FLOWS_COLD) + id * abi.COLD_SIZE);
    const expiresMs = Math.max(0, (memory.getU32(hot + abi.FLOW_EXPIRES) - this.ticks) | 0);
    const isExplicit = (mark & abi.MAPPING_EXPLICIT) !== 0;
    if (expiresMs === 0 && (isExplicit || flows === 0)) return undefined;
    return {
      id,
      protocol: memory.u8[hot + abi.FLOW_PROTOCOL],
      inner: { address: original.src, port: original.sport ?? 0 },
      outer: { address: answers.dst, port: answers.dport ?? 0 },
      filtering: FILTERING[mark & CONES],
      isExplicit,
      flows,
      expiresMs,
    };
  }

  private tuple(id: number, direction: number): Tuple {
    const scratch = this.engine.memory.base(abi.REGION_HOST);
    this.engine.plane.flowTuple(id, direction, scratch);
    return readTuple(this.engine.memory, scratch);
  }

  /** The mapping of an inner end, if it has one. */
  of(protocol: number, inner: End): Mapping | undefined {
    const found = this.find(protocol, inner, undefined);
    return found && (found & 1) === 0 ? this.read(found >>> 1) : undefined;
  }

  /** The mapping with that outer end, if there is one. */
  behind(protocol: number, outer: End): Mapping | undefined {
    const found = this.find(protocol, undefined, outer);
    return found & 1 ? this.read(found >>> 1) : undefined;
  }

  private find(protocol: number, src: End | undefined, dst: End | undefined): number {
    const scratch = this.engine.memory.base(abi.REGION_HOST);
    writeTuple(this.engine.memory, scratch, { protocol, network: this.network, mapping: true, src, dst });
    return this.engine.plane.flowFind(scratch);
  }

  /**
   * Maps an inner end to an outer one for a time, open to anybody; one that is there already lives so long from now. Several outer ends
   * may lead to one inner end, which sends by the first. Undefined when the outer end is another's, or the table is full.
   */
  add({ protocol, inner, outer, lifetimeMs }: MappingOptions): Mapping | undefined {
    if (!(lifetimeMs > 0 && lifetimeMs <= LONGEST_MS))
      throw invalid(`a mapping's lifetime is ${lifetimeMs} ms; expected 1 to ${LONGEST_MS}`);
    if (inner.address.family !== outer.address.family)
      throw invalid(`${inner.address} cannot be mapped to ${outer.address}: they are of two families`);
    const { memory, plane } = this.engine;
    const from = memory.base(abi.REGION_HOST);
    const to = from + abi.TUPLE_SIZE;
    writeTuple(memory, from, { protocol, network: this.network, src: inner });
    writeTuple(memory, to, { protocol, network: this.network, src: outer });
    const id = plane.flowMap(0, from, to, abi.NAT_FULL_CONE | abi.MAPPING_EXPLICIT, this.ticks, Math.ceil(lifetimeMs));
    return id === 0 ? undefined : this.read(id);
  }

  /** Ends a mapping; flows that use it go on. False when there is none of that number. */
  remove(id: number): boolean {
    return this.engine.plane.flowEnd(0, id, this.ticks) !== 0;
  }

  /** Ends those under an outer address that is nobody's any more (without one: all), and what belongs to them. */
  removeOf(address?: IpAddress): void {
    for (let id = 1; id < this.word(abi.FLOWS_FRESH) && this.word(abi.FLOWS_MAPPINGS) > 0; id++) {
      const hot = this.word(abi.FLOWS_HOT) + id * abi.FLOW_SIZE;
      if (!this.isOne(hot)) continue;
      if (!address || this.tuple(id, 1).dst.equals(address)) this.remove(id);
    }
  }
}
