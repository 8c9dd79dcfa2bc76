/** A learning bridge: ports joined at layer 2, with ageing, static stations and 802.1Q VLANs. */
import * as abi from "../../assembly/abi.ts";
import { parseMac } from "../base/address.ts";
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
  readonly ports: Port[] = [];
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly at: number;
  private readonly now: () => number;

  constructor(memory: EngineMemory, plane: DataPlane, index: number, options: BridgeOptions, now: () => number) {
    this.memory = memory;
    this.plane = plane;
    this.index = index;
    this.now = now;
    this.at = memory.getU32(memory.base(abi.REGION_BRIDGES) + 4 * index);
    memory.setU32(this.at + abi.BRIDGE_MASK, buckets(memory.layout.sizes.stations) - 1);
    memory.setU32(this.at + abi.BRIDGE_AGEING, options.ageingSeconds ?? 300);
    memory.setU32(this.at + abi.BRIDGE_FILTERING, options.vlanFiltering ? 1 : 0);
  }

  /** Makes a port a member, untagged in VLAN `pvid` (default 1). */
  add(port: Port, pvid = 1): this {
    const member = this.ports.length;
    if (member >= abi.BRIDGE_MAX_MEMBERS) throw new LoomError("ENOMEM", `a bridge has at most ${abi.BRIDGE_MAX_MEMBERS} ports`);
    if (this.ports.includes(port)) throw new LoomError("EEXIST", `port ${port.index} is a member already`);
    const { memory } = this;
    const at = memory.port(port.index);
    memory.setU16(at + abi.PORT_BRIDGE, this.index);
    memory.setU16(at + abi.PORT_MEMBER, member);
    memory.setU16(at + abi.PORT_PVID, checkVlan(pvid));
    memory.setU16(this.at + abi.BRIDGE_PORTS + 2 * member, port.index);
    this.ports.push(port);
    memory.setU32(this.at + abi.BRIDGE_MEMBERS, this.ports.length);
    this.allow(port, pvid, { tagged: false });
    memory.u8[at + abi.PORT_MODE] = abi.MODE_BRIDGED;
    return this;
  }

  /** Lets a VLAN in and out through a member port, tagged or not. */
  allow(port: Port, vlan: number, options: { tagged: boolean }): this {
    const { entry, bit } = this.membership(port, vlan);
    this.memory.u64[entry] |= bit;
    if (options.tagged) this.memory.u64[entry + 1] &= ~bit;
    else this.memory.u64[entry + 1] |= bit;
    return this;
  }

  /** Shuts a VLAN out of a member port. */
  deny(port: Port, vlan: number): this {
    const { entry, bit } = this.membership(port, vlan);
    this.memory.u64[entry] &= ~bit;
    this.memory.u64[entry + 1] &= ~bit;
    return this;
  }

  /** Where untagged frames of a port are looked up. */
  private defaultVlan(port: Port): number {
    const filtering = this.memory.getU32(this.at + abi.BRIDGE_FILTERING) !== 0;
    return filtering ? this.memory.getU16(this.memory.port(port.index) + abi.PORT_PVID) : 0;
  }

  private membership(port: Port, vlan: number): { entry: number; bit: bigint } {
    const member = this.ports.indexOf(port);
    if (member < 0) throw new LoomError("ENOENT", `port ${port.index} is no member of this bridge`);
    const entry = (this.at + abi.BRIDGE_VLANS + checkVlan(vlan) * abi.BRIDGE_VLAN_SIZE) / 8;
    return { entry, bit: 1n << BigInt(member) };
  }

  /** Pins a station to a port; it neither moves nor ages. */
  pin(mac: string, port: Port, vlan = this.defaultVlan(port)): void {
    const member = this.ports.indexOf(port);
    if (member < 0) throw new LoomError("ENOENT", `port ${port.index} is no member of this bridge`);
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
    return member === abi.NONE ? undefined : this.ports[member];
  }
}

/** The six bytes as they lie in memory, as one little-endian number. */
export function macWord(mac: Uint8Array): bigint {
  let word = 0n;
  for (let i = 5; i >= 0; i--) word = (word << 8n) | BigInt(mac[i]);
  return word;
}

function checkVlan(vlan: number): number {
  if (!Number.isInteger(vlan) || vlan < 1 || vlan > 4094) throw invalid(`VLAN ${vlan}; expected 1 to 4094`);
  return vlan;
}
