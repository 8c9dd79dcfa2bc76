/** A network with rules: ports that share them, the functions that were compiled for each hook, and what is tracked. */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { type IpAddress, networkOf } from "../base/ip-address.ts";
import { checkOptions, type Shape, yesNo } from "../base/options.ts";
import { namesOf } from "./abi-names.ts";
import type { EngineMemory } from "./memory.ts";
import type { Port } from "./port.ts";

/** Parts of hooks that have a function each: names of abi.SEGMENT_*. */
export const SEGMENTS: readonly string[] = namesOf("SEGMENT")
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name);

/** What rules know an interface by. */
export interface IfaceFacts {
  readonly name?: string;
  readonly index?: number;
  /** ARPHRD_*; 1 is Ethernet. */
  readonly type?: number;
  readonly group?: number;
  readonly kind?: string;
  /** Name of the bridge that it is a port of, and the VLAN of untagged frames; null: of none. */
  readonly bridge?: { readonly name: string; readonly pvid: number } | null;
  /** What masquerade and redirect put in; null: none. */
  readonly address4?: IpAddress | null;
  readonly address6?: IpAddress | null;
}

/** Families whose flows are tracked, and whether their fragments are put together first. */
export interface Tracked {
  readonly 4: boolean;
  readonly 6: boolean;
  readonly defrag: boolean;
}

export interface NetworkOptions {
  readonly track?: boolean;
  /** With `track`: fragments go to the host layer first, which puts them together. */
  readonly defrag?: boolean;
  /** There are chains of type nat. */
  readonly nat?: boolean;
  /** First packets ask for a service's backend. */
  readonly balance?: boolean;
  /** What flows with a helper carry goes by the host layer. */
  readonly helpers?: boolean;
  /** Handshakes are answered in servers' places. */
  readonly proxies?: boolean;
  /** Rules put packets into zones. */
  readonly zones?: boolean;
}

const NETWORK: Shape<NetworkOptions> = {
  track: yesNo,
  defrag: yesNo,
  nat: yesNo,
  balance: yesNo,
  helpers: yesNo,
  proxies: yesNo,
  zones: yesNo,
};

/** A network's prefix inside, and what it is known by beyond a port. */
export interface PrefixPair {
  readonly inside: IpAddress;
  readonly outside: IpAddress;
  /** Bits of both. */
  readonly length: number;
  /** What leads outside. */
  readonly port: Port;
}

/** IPv4 as IPv6 sees it, and the other way round (RFC 6052, RFC 6146). */
export interface FamilyTranslation {
  readonly prefix: IpAddress;
  /** 32, 40, 48, 56, 64 or 96. */
  readonly length: number;
  readonly pool: IpAddress;
  readonly poolLength: number;
}

const encoder = new TextEncoder();
const words = (bytes: Uint8Array) => Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1]);
/** Ones' complement sum of 16-bit words. */
const onesSum = (all: readonly number[]) => all.reduce((sum, word) => ((sum + word) & 0xffff) + ((sum + word) >>> 16), 0);

export class Network {
  readonly index: number;
  private readonly memory: EngineMemory;
  private readonly at: number;
  /** Of those with the same last bits. */
  private readonly ownPorts = new Uint32Array(abi.OWN_PORTS);
  private readonly askers = new Map<string, Tracked>();
  private readonly ports = new Set<Port>();

  constructor(memory: EngineMemory, index: number) {
    this.memory = memory;
    this.index = index;
    this.at = memory.base(abi.REGION_NETNS) + index * abi.NETNS_SIZE;
    memory.setU32(this.at + abi.NETNS_KIND, (index << abi.KIND_NETWORK_SHIFT) >>> 0);
  }

  /** The port's packets go through this network's rules from now on. */
  add(port: Port): this {
    this.memory.setU16(this.memory.port(port.index) + abi.PORT_NETNS, this.index + 1);
    this.ports.add(port);
    return this;
  }

  remove(port: Port): this {
    this.memory.setU16(this.memory.port(port.index) + abi.PORT_NETNS, 0);
    this.ports.delete(port);
    return this;
  }

  /** Nothing is known of it any more, and no port is in it. */
  release(): void {
    for (const port of [...this.ports]) this.remove(port);
    this.memory.u8.fill(0, this.at, this.at + abi.NETNS_SIZE);
  }

  /** Switches of whoever owns the network; those of tracking are one asker's among others (`track`). */
  configure(options: NetworkOptions): this {
    checkOptions("network", NETWORK, options);
    const { track, defrag = false, nat, balance, helpers, proxies, zones } = options;
    if (track !== undefined) this.track("owner", { 4: track, 6: track, defrag });
    if (balance) this.need("services", "balance");
    this.set(abi.NETNS_NAT, nat);
    this.set(abi.NETNS_BALANCE, balance);
    this.set(abi.NETNS_HELPERS, helpers);
    this.set(abi.NETNS_SYNPROXY, proxies);
    this.set(abi.NETNS_ZONES, zones);
    return this;
  }

  /** What one asker wants tracked; flows of a family are tracked while anybody wants them. */
  track(asker: string, wanted: Tracked): void {
    if (wanted[4] || wanted[6]) this.need("flows", "track connections");
    this.askers.set(asker, wanted);
    const any = (of: keyof Tracked) => [...this.askers.values()].some((each) => each[of]);
    this.set(abi.NETNS_TRACK, any(4));
    this.set(abi.NETNS_TRACK6, any(6));
    this.set(abi.NETNS_DEFRAG, any("defrag"));
  }

  /** A socket of the host's own is on a port (1), or is no longer (-1): no mapping takes such a port. */
  ownPort(port: number, by: 1 | -1): void {
    const bit = port % abi.OWN_PORTS;
    const at = this.at + abi.NETNS_OWN_PORTS + (bit >>> 3);
    this.ownPorts[bit] += by;
    if (this.ownPorts[bit] > 0) this.memory.u8[at] |= 1 << (bit & 7);
    else this.memory.u8[at] &= ~(1 << (bit & 7));
  }

  private need(size: "flows" | "services", what: string): void {
    if (this.memory.layout.sizes[size] === 0) throw new LoomError("ENOTSUP", `this engine cannot ${what}; create it with \`${size}\``);
  }

  private set(bit: number, on: boolean | undefined): void {
    const flags = this.memory.getU32(this.at + abi.NETNS_FLAGS);
    if (on !== undefined) this.memory.setU32(this.at + abi.NETNS_FLAGS, on ? flags | bit : flags & ~bit);
  }

  /**
   * Prefixes that packets have inside and outside of ports (RFC 6296), in place of those there were. Throws EINVAL for lengths other
   * than 1 to 64 and for more than eight pairs.
   */
  translatePrefixes(pairs: readonly PrefixPair[]): void {
    if (pairs.length > abi.NETNS_MOST_PAIRS) throw invalid(`${pairs.length} pairs of prefixes; expected ${abi.NETNS_MOST_PAIRS} at most`);
    const { memory, at } = this;
    for (const { inside, outside, length } of pairs) {
      if (!(length >= 1 && length <= 64)) throw invalid(`a prefix of ${length} bits cannot be translated; expected 1 to 64`);
      if (inside.family !== 6 || outside.family !== 6) throw invalid("prefixes of IPv4 are not translated so; snat prefix does that");
    }
    memory.setU32(at + abi.NETNS_PAIR_COUNT, 0);
    for (const [i, { inside, outside, length, port }] of pairs.entries()) {
      const pair = at + abi.NETNS_PAIRS + i * abi.NPT_SIZE;
      const [inner, outer] = [inside, outside].map((each) => networkOf(each, length).bytes());
      memory.u8.set(inner, pair + abi.NPT_INSIDE);
      memory.u8.set(outer, pair + abi.NPT_OUTSIDE);
      memory.u8[pair + abi.NPT_LENGTH] = length;
      memory.setU16(pair + abi.NPT_PORT, port.index);
      memory.setU16(pair + abi.NPT_ADJUST, onesSum([...words(inner), ...words(outer).map((word) => ~word & 0xffff)]));
    }
    memory.setU32(at + abi.NETNS_PAIR_COUNT, pairs.length);
  }

  /**
   * The way between the families for ports that are one (the device `families`): IPv4 addresses are behind the prefix, IPv6 hosts get
   * addresses of the pool, from its third on. Throws EINVAL for other prefixes than RFC 6052's and pools of fewer than eight.
   */
  translateFamilies({ prefix, length, pool, poolLength }: FamilyTranslation): void {
    if (prefix.family !== 6 || ![32, 40, 48, 56, 64, 96].includes(length))
      throw invalid(`${prefix}/${length} cannot have IPv4 addresses behind it; expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits`);
    if (pool.family !== 4 || poolLength < 8 || poolLength > 29)
      throw invalid(`${pool}/${poolLength} is no pool; expected an IPv4 prefix of 8 to 29 bits`);
    this.need("flows", "translate between the families");
    const { memory } = this;
    const at = this.at + abi.NETNS_NAT64;
    const bytes = networkOf(prefix, length).bytes();
    if (length === 96 && bytes[8] !== 0)
      throw invalid(`${prefix}/${length} has something at bits 64 to 71; expected zeros there (RFC 6052 §2.2)`);
    memory.u8.set(bytes, at + abi.NAT64_PREFIX);
    memory.u8[at + abi.NAT64_LENGTH] = length;
    memory.setU32(at + abi.NAT64_POOL, (networkOf(pool, poolLength).v4 + 2) >>> 0);
    // Neither the network's own address, nor the way's, nor the broadcast.
    memory.setU32(at + abi.NAT64_POOL_SIZE, 2 ** (32 - poolLength) - 3);
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
    if (facts.bridge !== undefined) {
      this.text(at + abi.IFACE_BRIDGE, facts.bridge?.name ?? "");
      memory.setU16(at + abi.IFACE_PVID, facts.bridge?.pvid ?? 0);
    }
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
