/**
 * A routing table and its next hops.
 *
 * A next hop is a small number, local to its table: it is what the trie's leaves hold. `RouteTable4` and
 * `RouteTable6` differ only in how an address is handed over.
 */
import * as abi from "../../assembly/abi.ts";
import { type Prefix, parse4, parse6, parsePrefix } from "../base/address.ts";
import { invalid, LoomError } from "../base/errors.ts";
import type { Columns4, Columns6 } from "../base/routes.ts";
import { awaitPassed } from "./epochs.ts";
import { type BucketSpace, fillBuckets, type GroupMember } from "./groups.ts";
import { hopBytes } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import type { DataPlane } from "./module.ts";

/** Where packets go. MACs are six bytes; `vlan` adds an 802.1Q tag. */
export type NextHop =
  | { kind: "forward"; port: number; destinationMac: Uint8Array; sourceMac: Uint8Array; vlan?: number; mtu?: number }
  | { kind: "glean" | "incomplete"; port: number }
  | { kind: "local" | "blackhole" | "unreachable" | "prohibit" | "broadcast" }
  | { kind: "group"; members: readonly GroupMember[]; buckets?: number };

const KINDS = {
  forward: abi.HOP_FORWARD,
  glean: abi.HOP_GLEAN,
  incomplete: abi.HOP_INCOMPLETE,
  local: abi.HOP_LOCAL,
  blackhole: abi.HOP_BLACKHOLE,
  unreachable: abi.HOP_UNREACHABLE,
  prohibit: abi.HOP_PROHIBIT,
  broadcast: abi.HOP_BROADCAST,
  group: abi.HOP_GROUP,
} as const;

/** Bytes of one record of a bulk change. */
const RECORD4 = 8;
const RECORD6 = 24;
const STAGE_BYTES = 24_576;

export type RouteResult = "added" | "replaced" | "removed" | "absent";
const RESULTS = new Map<number, RouteResult>([
  [abi.ROUTE_ADDED, "added"],
  [abi.ROUTE_REPLACED, "replaced"],
  [abi.ROUTE_REMOVED, "removed"],
  [abi.ROUTE_ABSENT, "absent"],
]);

/** Buckets of a group: as asked for, or sixteen for each member, 64 at least. */
function bucketsOf(group: NextHop & { kind: "group" }): number {
  return group.buckets ?? Math.max(64, 2 ** Math.ceil(Math.log2(group.members.length * 16 || 1)));
}

export class RouteTable {
  readonly family: 4 | 6;
  readonly index: number;
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly space: BucketSpace;
  private readonly stage: number;
  private readonly hops: number;
  /** What each next hop means; undefined where the number is free. Number 0 is "no route". */
  private readonly specs: (NextHop | undefined)[];
  /** Epoch at which a hop's other version went out of use. */
  private readonly swapped: Map<number, number>;
  private readonly ownAddresses = new Set<number>();
  /** Tables that share these next hops, this one among them. */
  private readonly sharing: RouteTable[];

  constructor(
    memory: EngineMemory,
    plane: DataPlane,
    index: number,
    family: 4 | 6,
    space: BucketSpace,
    stage: number,
    hopsOf?: RouteTable,
    isReused = false,
  ) {
    if (hopsOf && hopsOf.family !== family) throw invalid(`a table of IPv${family} cannot share next hops of IPv${hopsOf.family}`);
    this.memory = memory;
    this.plane = plane;
    this.index = index;
    this.family = family;
    this.space = space;
    this.stage = stage;
    const at = memory.table(index);
    const limit = memory.layout.sizes.nextHops;
    memory.setU32(at + abi.TABLE_FAMILY, family);
    memory.setU32(at + abi.TABLE_LEAF_BYTES, limit <= 255 ? 1 : 2);
    this.hops = hopsOf?.hops ?? memory.base(abi.REGION_NEXT_HOPS) + index * hopBytes(limit);
    this.specs = hopsOf?.specs ?? [{ kind: "unreachable" }];
    this.swapped = hopsOf?.swapped ?? new Map();
    this.sharing = hopsOf?.sharing ?? [];
    this.sharing.push(this);
    memory.setU32(at + abi.TABLE_HOPS, this.hops);
    for (let i = 0; i < limit && !hopsOf; i++) memory.setU32(this.hops + 4 * i, this.versionAt(i, 0));
    memory.setU32(at + abi.TABLE_HOP_LIMIT, limit);
    memory.u8.fill(0, at + abi.TABLE_OWN, at + abi.TABLE_SIZE);
    // An empty table that somebody gave back is as good as a new one.
    if (!isReused) this.result(plane.tableCreate(index), "the table itself");
  }

  /** Number of routes. */
  get size(): number {
    return this.memory.getU32(this.memory.table(this.index) + abi.TABLE_ROUTES);
  }

  /** Largest number a next hop of this table can have. */
  get leafHops(): number {
    return this.memory.layout.sizes.nextHops - 1;
  }

  // ── Next hops ─────────────────────────────────────────────────────────────────────────────────

  /** Adds a next hop and returns its number (1 or more). */
  addNextHop(hop: NextHop): number {
    const limit = this.memory.layout.sizes.nextHops;
    let index = this.specs.indexOf(undefined);
    if (index < 0) index = this.specs.length;
    if (index >= limit) throw new LoomError("ENOMEM", `this table holds ${limit - 1} next hops; raise nextHops to have more`);
    this.writeHop(index, hop);
    this.specs[index] = hop;
    return index;
  }

  /** Changes what a next hop means. A packet in flight sees the old meaning or the new one. */
  setNextHop(index: number, hop: NextHop): void {
    this.known(index);
    this.writeHop(index, hop);
    this.specs[index] = hop;
  }

  /**
   * Gives a next hop back; refused (EBUSY) while a route or a group names it. Finding that out takes half a millisecond:
   * who knows that it is `unused` need not ask.
   */
  removeNextHop(index: number, unused = false): void {
    this.known(index);
    if (!unused) this.assertUnused(index);
    this.writeHop(index, { kind: "unreachable" });
    this.specs[index] = undefined;
  }

  private assertUnused(index: number): void {
    const routes = this.sharing.reduce((uses, table) => uses + this.plane.hopUses(table.index, index), 0);
    const groups = this.specs.filter((spec) => spec?.kind === "group" && spec.members.some((member) => member.hop === index));
    if (routes || groups.length) {
      throw new LoomError("EBUSY", `next hop ${index} is named by ${routes} routes and ${groups.length} groups; withdraw those first`);
    }
  }

  /** A port's MTU changed: hops that did not set their own follow it. */
  refreshMtu(port: number): void {
    for (const [index, spec] of this.specs.entries()) {
      if (spec?.kind === "forward" && spec.port === port && spec.mtu === undefined) this.writeHop(index, spec);
    }
  }

  private known(index: number): void {
    if (index === 0 || !this.specs[index]) throw new LoomError("ENOENT", `there is no next hop ${index} in this table`);
  }

  private versionAt(index: number, version: number): number {
    const first = this.hops + Math.ceil(this.memory.layout.sizes.nextHops / 16) * 64;
    return first + (index * abi.HOP_VERSIONS + version) * abi.HOP_SIZE;
  }

  /** The version in use. */
  private hopAt(index: number): number {
    return this.memory.getU32(this.hops + 4 * index);
  }

  /** Fills the version that nobody reads, then swaps the address. */
  private writeHop(index: number, hop: NextHop): void {
    const { memory } = this;
    if (!Object.hasOwn(KINDS, hop.kind))
      throw invalid(`there is no next hop of kind "${hop.kind}"; expected one of ${Object.keys(KINDS).join(", ")}`);
    if (hop.kind === "forward") this.checkForward(hop);
    if ("port" in hop && !(hop.port >= 0 && hop.port < memory.layout.sizes.ports)) {
      throw invalid(`next hop names port ${hop.port}; expected 0 to ${memory.layout.sizes.ports - 1}`);
    }
    if (hop.kind === "group") this.checkGroup(hop.members, bucketsOf(hop));
    const swapped = this.swapped.get(index);
    if (swapped !== undefined) awaitPassed(this.plane, swapped);
    const current = this.hopAt(index);
    const at = current === this.versionAt(index, 0) ? this.versionAt(index, 1) : this.versionAt(index, 0);
    memory.u8.fill(0, at, at + abi.HOP_SIZE);
    memory.u8[at + abi.HOP_KIND] = KINDS[hop.kind];
    memory.setU32(at + abi.HOP_ID, index);
    if ("port" in hop) memory.setU16(at + abi.HOP_PORT, hop.port);
    if (hop.kind === "forward") this.writeRewrite(at, hop);
    if (hop.kind === "group") this.writeGroup(at, current, hop);
    Atomics.store(memory.i32, (this.hops + 4 * index) / 4, at);
    const epoch = this.plane.epochEnd();
    this.swapped.set(index, epoch);
    if (memory.u8[current + abi.HOP_KIND] === abi.HOP_GROUP) {
      this.space.give(memory.getU32(current + abi.HOP_BUCKETS), memory.getU32(current + abi.HOP_MASK) + 1, epoch);
    }
  }

  private checkForward(hop: NextHop & { kind: "forward" }): void {
    if (hop.destinationMac?.length !== 6 || hop.sourceMac?.length !== 6) throw invalid("a MAC address has six bytes");
    if (hop.vlan !== undefined && !(hop.vlan >= 1 && hop.vlan <= 4094)) throw invalid(`VLAN ${hop.vlan}; expected 1 to 4094`);
    if (hop.mtu !== undefined && !(hop.mtu >= 68 && hop.mtu <= 65_535)) throw invalid(`MTU ${hop.mtu}; expected 68 to 65535`);
  }

  /** The link-layer header, right-aligned, so that one store in front of L3 writes it. */
  private writeRewrite(at: number, hop: NextHop & { kind: "forward" }): void {
    const { memory } = this;
    const type = this.family === 4 ? [0x08, 0x00] : [0x86, 0xdd];
    const tag = hop.vlan === undefined ? [] : [0x81, 0x00, hop.vlan >> 8, hop.vlan & 255];
    const header = [...hop.destinationMac, ...hop.sourceMac, ...tag, ...type];
    memory.u8.set(header, at + abi.HOP_REWRITE + abi.HOP_REWRITE_SIZE - header.length);
    memory.u8[at + abi.HOP_L2_LENGTH] = header.length;
    memory.setU32(at + abi.HOP_MTU, hop.mtu ?? memory.getU32(memory.port(hop.port) + abi.PORT_MTU));
  }

  /**
   * Resilient hashing: buckets keep their member while it stays in the group and its share allows, so a
   * change moves as few flows as the weights permit.
   */
  private writeGroup(at: number, current: number, group: NextHop & { kind: "group" }): void {
    const { memory } = this;
    const buckets = bucketsOf(group);
    const array = this.space.take(buckets, (epoch) => awaitPassed(this.plane, epoch));
    const wasGroup = memory.u8[current + abi.HOP_KIND] === abi.HOP_GROUP && memory.getU32(current + abi.HOP_MASK) + 1 === buckets;
    const before = memory.getU32(current + abi.HOP_BUCKETS);
    if (wasGroup) memory.u8.copyWithin(array, before, before + 2 * buckets);
    else memory.u8.fill(0, array, array + 2 * buckets);
    fillBuckets(memory.u16.subarray(array >>> 1, (array >>> 1) + buckets), group.members);
    memory.setU32(at + abi.HOP_BUCKETS, array);
    memory.setU32(at + abi.HOP_MASK, buckets - 1);
  }

  private checkGroup(members: readonly GroupMember[], buckets: number): void {
    if (members.length === 0) throw invalid("a next-hop group needs at least one member");
    if (buckets < members.length || (buckets & (buckets - 1)) !== 0 || buckets > 32_768) {
      throw invalid(`${buckets} buckets for ${members.length} members; expected a power of two, at least one bucket each`);
    }
    for (const member of members) {
      const spec = member.hop > 0 ? this.specs[member.hop] : undefined;
      if (!spec || spec.kind === "group") {
        throw invalid(`group member ${member.hop} is no next hop of this table, or a group itself`);
      }
      if (member.weight !== undefined && !(member.weight >= 1)) throw invalid(`weight ${member.weight}; expected 1 or more`);
    }
  }

  // ── Routes ────────────────────────────────────────────────────────────────────────────────────

  /** Adds or replaces a route: "10.0.0.0/8" and the number of a next hop. */
  set(prefix: string | Prefix, hop: number): RouteResult {
    if (!Number.isInteger(hop) || hop < 1 || hop >= this.memory.layout.sizes.nextHops) {
      throw invalid(`next hop ${hop}; expected a number that addNextHop returned`);
    }
    return this.change(prefix, hop);
  }

  /** Withdraws a route. */
  delete(prefix: string | Prefix): RouteResult {
    return this.change(prefix, 0);
  }

  private change(text: string | Prefix, hop: number): RouteResult {
    const prefix = this.own(text);
    const result =
      prefix.family === 4
        ? this.plane.route4Set(this.index, prefix.address, prefix.length, hop)
        : this.plane.route6Set(this.index, prefix.high, prefix.low, prefix.length, hop);
    return this.result(result, text);
  }

  /**
   * An IPv4 address is this host's own from now on, or no longer: what comes from elsewhere under it goes nowhere. Its route says that it is
   * (`local`, `broadcast`); this is what lets a worker pass over all others without asking.
   */
  markOwn(address: number, isOwn: boolean): void {
    if (this.ownAddresses.has(address) === isOwn) return;
    if (isOwn) this.ownAddresses.add(address);
    else this.ownAddresses.delete(address);
    const bits = new Uint32Array((abi.TABLE_SIZE - abi.TABLE_OWN) / 4);
    for (const each of this.ownAddresses) {
      const swapped = ((each >>> 24) | ((each >>> 8) & 0xff00) | ((each & 0xff00) << 8) | (each << 24)) >>> 0;
      const bit = Math.imul(swapped, abi.OWN_ADDRESS_HASH) >>> 23;
      bits[bit >>> 5] |= 1 << (bit & 31);
    }
    for (const [i, word] of bits.entries()) this.memory.setU32(this.memory.table(this.index) + abi.TABLE_OWN + 4 * i, word);
  }

  private own(text: string | Prefix): Prefix {
    const prefix = typeof text === "string" ? parsePrefix(text) : text;
    if (prefix.family !== this.family) throw invalid(`an IPv${prefix.family} prefix for a table of IPv${this.family}`);
    return prefix;
  }

  private result(code: number, what: unknown): RouteResult {
    const result = RESULTS.get(code);
    if (result !== undefined) return result;
    if (code === abi.ROUTE_BUSY) throw new LoomError("EBUSY", "workers still read what would be replaced; try again");
    if (code === abi.ROUTE_NO_MEMORY) {
      throw new LoomError("ENOMEM", `no room for ${String(what)}; create the engine with larger routes${this.family}`);
    }
    throw invalid(`the data plane refused ${String(what)}`);
  }

  /** The next hop of exactly this route, or 0. */
  get(text: string | Prefix): number {
    const prefix = this.own(text);
    return prefix.family === 4
      ? this.plane.route4Get(this.index, prefix.address, prefix.length)
      : this.plane.route6Get(this.index, prefix.high, prefix.low, prefix.length);
  }

  /** Longest-prefix match: the next hop for an address (text, or a number for IPv4), or 0. */
  lookup(address: string | number): number {
    if (this.family === 4) {
      return this.plane.route4Lookup(this.index, typeof address === "number" ? address : parse4(address));
    }
    if (typeof address === "number") throw invalid("an IPv6 address is text, like 2001:db8::1");
    const { high, low } = parse6(address);
    return this.lookup6(high, low);
  }

  lookup6(high: bigint, low: bigint): number {
    writeQuery(this.memory, this.stage, high, low);
    return this.plane.route6Lookup(this.index, this.stage);
  }

  /** Many routes at once: recorded first, then all nodes are built in one pass. Hops must be numbers of next hops. */
  load(routes: Columns4 | Columns6): number {
    const { plane } = this;
    if (routes.family !== this.family) throw invalid(`IPv${routes.family} routes for a table of IPv${this.family}`);
    this.result(plane.tableDefer(this.index, 1), "a bulk load");
    try {
      if (routes.family === 4) this.load4(routes);
      else this.load6(routes);
    } finally {
      this.result(plane.tableDefer(this.index, 0), "a bulk load");
    }
    return routes.count;
  }

  private load4({ count, addresses, lengths, hops }: Columns4): void {
    const { u32, u16, u8 } = this.memory;
    const room = Math.floor(STAGE_BYTES / RECORD4);
    for (let done = 0; done < count; done += room) {
      const n = Math.min(room, count - done);
      for (let i = 0; i < n; i++) {
        const at = this.stage + i * RECORD4;
        u32[at >>> 2] = addresses[done + i];
        u8[at + 4] = lengths[done + i];
        u16[(at + 6) >>> 1] = hops[done + i];
      }
      this.applied(this.plane.routes4Set(this.index, this.stage, n), n);
    }
  }

  private load6({ count, high, low, lengths, hops }: Columns6): void {
    const { u64, u16, u8 } = this.memory;
    const room = Math.floor(STAGE_BYTES / RECORD6);
    for (let done = 0; done < count; done += room) {
      const n = Math.min(room, count - done);
      for (let i = 0; i < n; i++) {
        const at = this.stage + i * RECORD6;
        u64[at >>> 3] = high[done + i];
        u64[(at + 8) >>> 3] = low[done + i];
        u8[at + 16] = lengths[done + i];
        u16[(at + 18) >>> 1] = hops[done + i];
      }
      this.applied(this.plane.routes6Set(this.index, this.stage, n), n);
    }
  }

  private applied(done: number, wanted: number): void {
    if (done === wanted) return;
    throw new LoomError(
      "ENOMEM",
      `the table is full, or a record names a next hop it does not have; create the engine with larger routes${this.family}`,
    );
  }

  toString(): string {
    return `RouteTable(IPv${this.family}, ${this.size} routes)`;
  }
}

/** Puts an address into the form the search trees want: 16-bit words in host order, biased. */
export function writeQuery(memory: EngineMemory, at: number, high: bigint, low: bigint): void {
  for (let i = 0; i < 4; i++) {
    const shift = BigInt(48 - 16 * i);
    memory.u16[(at >>> 1) + i] = Number((high >> shift) & 0xffffn) ^ 0x8000;
    memory.u16[(at >>> 1) + 4 + i] = Number((low >> shift) & 0xffffn) ^ 0x8000;
  }
}
