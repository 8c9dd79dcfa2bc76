/** A learning bridge: ports joined at layer 2, with ageing, static stations and 802.1Q VLANs. */
import * as abi from "../../assembly/abi.ts";
import { formatMac, parseMac } from "../base/address.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { bridgeSize, buckets } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import type { DataPlane } from "./module.ts";
import type { Port } from "./port.ts";

export interface BridgeOptions {
  /** Seconds after which an unheard station is forgotten. Default 300 (IEEE 802.1Q table 8-8). */
  ageingSeconds?: number;
  /** Honour 802.1Q membership. Default false: tags are payload. */
  vlanFiltering?: boolean;
}

/** Somebody that a bridge knows, as `bridge fdb` shows it. */
export interface Station {
  readonly mac: string;
  readonly port: Port;
  /** 0 on a bridge without VLANs. */
  readonly vlan: number;
  /** Seconds since it was heard; undefined: it is pinned. */
  readonly age: number | undefined;
}

const MOST_MTU = 65_535;
/** Ethernet's header and a tag. */
const FRAMING = 18;
const MOST_VLAN = 4094;
const MOST_AGEING = 1_000_000;

/** Writes the bridges' directory; once. */
export function initBridges(memory: EngineMemory): void {
  const { bridges, stations } = memory.layout.sizes;
  const base = memory.base(abi.REGION_BRIDGES);
  const first = Math.ceil((base + 4 * bridges) / 64) * 64;
  const step = Math.ceil(bridgeSize(stations) / 64) * 64;
  for (let i = 0; i < bridges; i++) memory.setU32(base + 4 * i, first + i * step);
}

export class Bridge {
  readonly index: number;
  /** A port of the engine's that is for this bridge alone: what is joined to it is a host on the bridge (`addHost`). */
  readonly own: Port;
  private readonly members: (Port | undefined)[] = [];
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly at: number;
  private readonly now: () => number;
  /** Members that forward while the bridge is up, a bit each. */
  private active = 0n;
  private isUp = true;
  private isReleased = false;

  constructor(memory: EngineMemory, plane: DataPlane, index: number, own: Port, options: BridgeOptions, now: () => number) {
    this.memory = memory;
    this.plane = plane;
    this.index = index;
    this.own = own;
    this.now = now;
    this.at = memory.getU32(memory.base(abi.REGION_BRIDGES) + 4 * index);
    const { ageingSeconds = 300, vlanFiltering = false } = options;
    if (!Number.isInteger(ageingSeconds) || ageingSeconds < 1 || ageingSeconds > MOST_AGEING)
      throw invalid(`ageingSeconds is ${ageingSeconds}; expected a whole number from 1 to ${MOST_AGEING}`);
    memory.u8.fill(0, this.at, this.at + bridgeSize(memory.layout.sizes.stations));
    memory.u16.fill(abi.NO_PORT, (this.at + abi.BRIDGE_PORTS) / 2, (this.at + abi.BRIDGE_PORTS) / 2 + abi.BRIDGE_MAX_MEMBERS);
    memory.setU32(this.at + abi.BRIDGE_MASK, buckets(memory.layout.sizes.stations) - 1);
    memory.setU32(this.at + abi.BRIDGE_AGEING, ageingSeconds);
    memory.setU32(this.at + abi.BRIDGE_FILTERING, vlanFiltering ? 1 : 0);
  }

  /** Its members. */
  get ports(): readonly Port[] {
    return this.members.filter((port) => port !== undefined);
  }

  /** Makes a port a member, untagged in VLAN `pvid` (default 1). */
  add(port: Port, pvid = 1): this {
    if (this.isReleased) throw new LoomError("EINVAL", "the bridge was given back; expected one of `createBridge`");
    if (this.members.includes(port)) throw new LoomError("EEXIST", `port ${port.index} is a member already`);
    if (this.memory.u8[this.memory.port(port.index) + abi.PORT_MODE] === abi.MODE_BRIDGED)
      throw new LoomError("EBUSY", `port ${port.index} is a member of another bridge`);
    const free = this.members.indexOf(undefined);
    const member = free < 0 ? this.members.length : free;
    if (member >= abi.BRIDGE_MAX_MEMBERS) throw new LoomError("ENOMEM", `a bridge has at most ${abi.BRIDGE_MAX_MEMBERS} ports`);
    const { memory } = this;
    const at = memory.port(port.index);
    const vlan = checkVlan(pvid);
    memory.setU16(at + abi.PORT_BRIDGE, this.index);
    memory.setU16(at + abi.PORT_MEMBER, member);
    memory.setU16(this.at + abi.BRIDGE_PORTS + 2 * member, port.index);
    this.members[member] = port;
    this.setDefaultVlan(port, vlan);
    memory.u8[at + abi.PORT_MODE] = abi.MODE_BRIDGED;
    this.active |= 1n << BigInt(member);
    this.activate();
    return this;
  }

  /**
   * Makes the bridge's own port a member, for a host on the bridge: what is joined to that port gets what is for its address `mac` and for groups, and
   * nothing that is for somebody unknown.
   */
  addHost(mac: string, pvid = 1): this {
    const { memory, own } = this;
    this.add(own.configure({ mac, up: true }), pvid);
    memory.u64[(this.at + abi.BRIDGE_HOST) / 8] = this.bitOf(own);
    this.pin(mac, own);
    return this;
  }

  /** The host on the bridge has another address. */
  setHost(mac: string): void {
    const { own } = this;
    this.forget(own.mac, this.defaultVlan(own));
    own.configure({ mac });
    this.pin(mac, own);
  }

  /** A port is no member any more: it is as it was, stations behind it are forgotten. */
  remove(port: Port): void {
    const { memory } = this;
    const bit = this.bitOf(port);
    const member = this.members.indexOf(port);
    this.active &= ~bit;
    this.activate();
    if (memory.u64[(this.at + abi.BRIDGE_HOST) / 8] === bit) memory.u64[(this.at + abi.BRIDGE_HOST) / 8] = 0n;
    memory.u8[memory.port(port.index) + abi.PORT_MODE] = abi.MODE_ROUTED;
    for (let vlan = 1; vlan <= MOST_VLAN; vlan++) this.membershipOf(vlan, bit, false);
    this.plane.stationsForget(this.index, bit, 1);
    memory.setU16(this.at + abi.BRIDGE_PORTS + 2 * member, abi.NO_PORT);
    memory.setU16(memory.port(port.index) + abi.PORT_PVID, 1);
    this.members[member] = undefined;
  }

  /** Forgets what was learned behind a member. */
  flush(port: Port): void {
    this.plane.stationsForget(this.index, this.bitOf(port), 0);
  }

  /** A bridge that is down passes nothing on and forgets what it has learned. */
  setUp(up: boolean): void {
    if (up === this.isUp) return;
    this.isUp = up;
    this.activate();
    if (!up) this.plane.stationsForget(this.index, this.active, 0);
  }

  private activate(): void {
    this.memory.u64[(this.at + abi.BRIDGE_ACTIVE) / 8] = this.isUp ? this.active : 0n;
    this.refreshMtu();
  }

  /** A member's MTU is another. */
  refreshMtu(): void {
    const smallest = Math.min(...this.ports.map(({ mtu }) => mtu), MOST_MTU);
    this.memory.setU32(this.at + abi.BRIDGE_LARGEST, smallest + FRAMING);
  }

  private bitOf(port: Port): bigint {
    const member = this.members.indexOf(port);
    if (member < 0) throw new LoomError("ENOENT", `port ${port.index} is no member of this bridge`);
    return 1n << BigInt(member);
  }

  /** VLAN of a member's untagged frames; it is untagged there from now on. */
  setDefaultVlan(port: Port, pvid: number): void {
    this.memory.setU16(this.memory.port(port.index) + abi.PORT_PVID, checkVlan(pvid));
    this.allow(port, pvid, { tagged: false });
  }

  /** Lets a VLAN in and out through a member port, tagged or not. */
  allow(port: Port, vlan: number, options: { tagged: boolean }): this {
    this.membershipOf(checkVlan(vlan), this.bitOf(port), true, options.tagged);
    return this;
  }

  /** Shuts a VLAN out of a member port. */
  deny(port: Port, vlan: number): this {
    this.membershipOf(checkVlan(vlan), this.bitOf(port), false);
    return this;
  }

  private membershipOf(vlan: number, bit: bigint, isMember: boolean, tagged = true): void {
    const { u64 } = this.memory;
    const entry = (this.at + abi.BRIDGE_VLANS + vlan * abi.BRIDGE_VLAN_SIZE) / 8;
    u64[entry] = isMember ? u64[entry] | bit : u64[entry] & ~bit;
    u64[entry + 1] = isMember && !tagged ? u64[entry + 1] | bit : u64[entry + 1] & ~bit;
  }

  /** VLANs of a member, as `bridge vlan` shows them. */
  vlans(port: Port): { vlan: number; tagged: boolean; isDefault: boolean }[] {
    const bit = this.bitOf(port);
    const pvid = this.memory.getU16(this.memory.port(port.index) + abi.PORT_PVID);
    const entry = (vlan: number) => (this.at + abi.BRIDGE_VLANS + vlan * abi.BRIDGE_VLAN_SIZE) / 8;
    return Array.from({ length: MOST_VLAN }, (_, i) => i + 1)
      .filter((vlan) => (this.memory.u64[entry(vlan)] & bit) !== 0n)
      .map((vlan) => ({ vlan, tagged: (this.memory.u64[entry(vlan) + 1] & bit) === 0n, isDefault: vlan === pvid }));
  }

  /** Where untagged frames of a port are looked up. */
  private defaultVlan(port: Port): number {
    const filtering = this.memory.getU32(this.at + abi.BRIDGE_FILTERING) !== 0;
    return filtering ? this.memory.getU16(this.memory.port(port.index) + abi.PORT_PVID) : 0;
  }

  /** Pins a station to a port; it neither moves nor ages. */
  pin(mac: string, port: Port, vlan = this.defaultVlan(port)): void {
    const member = Math.log2(Number(this.bitOf(port)));
    const ok = this.plane.stationSet(this.index, macWord(parseMac(mac)), vlan, member, this.now());
    if (!ok) throw new LoomError("ENOMEM", `no room for station ${mac}; raise stations`);
  }

  /** Forgets a station, static or learned. */
  forget(mac: string, vlan = 0): void {
    this.plane.stationSet(this.index, macWord(parseMac(mac)), vlan, abi.NONE, this.now());
  }

  /** The port behind which a station was last heard, or undefined. */
  find(mac: string, vlan = 0): Port | undefined {
    const member = this.plane.stationFind(this.index, macWord(parseMac(mac)), vlan, this.now()) >>> 0;
    return member === abi.NONE ? undefined : this.members[member];
  }

  /** Everybody that it knows. */
  stations(): Station[] {
    const { memory, at } = this;
    const out: Station[] = [];
    const end = at + bridgeSize(memory.layout.sizes.stations);
    for (let entry = at + abi.BRIDGE_BUCKETS; entry < end; entry += abi.STATION_SIZE) {
      const key = memory.u64[(entry + abi.STATION_KEY) / 8];
      const port = key === 0n ? undefined : this.members[memory.getU32(entry + abi.STATION_MEMBER)];
      const seen = memory.getU32(entry + abi.STATION_SEEN);
      const age = seen === abi.SEEN_STATIC ? undefined : Math.max(this.now() - seen, 0);
      if (!port || (age ?? 0) > memory.getU32(at + abi.BRIDGE_AGEING)) continue;
      const mac = formatMac(memory.u8.slice(entry + abi.STATION_KEY, entry + abi.STATION_KEY + 6));
      out.push({ mac, port, vlan: Number((key >> 48n) & 0xfffn), age });
    }
    return out;
  }

  /** Every member leaves, and none comes any more: for `engine.releaseBridge`. @internal */
  release(): void {
    for (const port of this.ports) this.remove(port);
    this.isReleased = true;
  }
}

/** The six bytes as they lie in memory, as one little-endian number. */
export function macWord(mac: Uint8Array): bigint {
  let word = 0n;
  for (let i = 5; i >= 0; i--) word = (word << 8n) | BigInt(mac[i]);
  return word;
}

function checkVlan(vlan: number): number {
  if (!Number.isInteger(vlan) || vlan < 1 || vlan > MOST_VLAN) throw invalid(`VLAN ${vlan}; expected 1 to ${MOST_VLAN}`);
  return vlan;
}
