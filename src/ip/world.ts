/** The network layer as its parts see it: each part is given this and nothing else, so that no part imports another. */

import type { IpAddress } from "../base/ip-address.ts";
import type { Random } from "../base/random.ts";
import type { Timers } from "../base/timers.ts";
import type { Engine } from "../engine/engine.ts";
import type { RouteTable } from "../engine/route-table.ts";
import type { Cuts } from "./cuts.ts";
import type { IcmpErrorKind } from "./icmp.ts";
import type { Identifications } from "./identification.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbours } from "./neighbours.ts";
import type { PathMtus } from "./path-mtu.ts";
import type { PolicyRouting } from "./policy-routing.ts";
import type { PolicyTable } from "./policy-table.ts";
import type { Routes } from "./routes.ts";
import type { PathHint } from "./rule.ts";
import type { IcmpHandler, IpCounters, PacketNote, Path, RawReceiver, Transport } from "./types.ts";

export interface World {
  readonly engine: Engine;
  readonly timers: Timers;
  readonly random: Random;
  /** Time of this round (ms). */
  readonly now: number;
  readonly forwarding: boolean;
  readonly interfaces: readonly NetInterface[];
  readonly tables: { readonly 4: RouteTable; readonly 6: RouteTable };
  readonly neighbours: Neighbours;
  readonly routes: Routes;
  readonly rules: PolicyRouting;
  readonly mtus: PathMtus;
  /** How addresses are chosen (RFC 6724). */
  readonly policy: PolicyTable;
  readonly identifications: Identifications;
  readonly preferPublic: boolean;
  readonly acceptRedirects: boolean;
  readonly sendRedirects: boolean;
  readonly counters: IpCounters;
  /** The record of the packet in hand, and its address. */
  readonly words: Int32Array;
  readonly segment: number;
  readonly transports: ReadonlyMap<number, Transport>;
  /** Undefined while there are no raw sockets. */
  readonly raw: RawReceiver | undefined;

  setTransport(protocol: number, transport: Transport): void;
  /** Who takes ICMP messages of a type. */
  handleIcmp(family: 4 | 6, type: number, handler: IcmpHandler): void;
  isLocal(address: IpAddress): boolean;
  /** May packets of this host come from it? */
  isSource(address: IpAddress): boolean;
  ingress(id: number): NetInterface | undefined;
  /** The packet that is being delivered. */
  inHand: number;
  source(): IpAddress;
  destination(): IpAddress;
  packetBytes(id: number, most?: number): Uint8Array;
  /** A buffer chain that holds a packet; undefined without buffers. */
  chainOf(packet: Uint8Array): number | undefined;
  /** `options`: of IPv4. */
  packetOf(
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    payload: Uint8Array,
    hopLimit?: number,
    tos?: number,
    options?: Uint8Array,
  ): Uint8Array;

  pathTo(to: IpAddress, iface?: NetInterface, hint?: PathHint): Path;
  /** The best own address of an interface for a destination. */
  sourceOn(iface: NetInterface, to: IpAddress): IpAddress | undefined;
  sourceFor(to: IpAddress, path: Path): IpAddress | undefined;
  sendPacket(packet: Uint8Array, path: Path, note?: PacketNote): boolean;
  /** `flags`: of descriptors, for each piece. */
  sendFragments(packet: Uint8Array, path: Pick<Path, "hop" | "mtu">, note?: PacketNote): boolean;
  /** How packets that were put together were cut, by abi.CUT_NUMBER: of the last ones. */
  readonly cuts: Cuts;
  sendFrame(iface: NetInterface, frame: Uint8Array, segment?: number): void;
  /** `iface`: where it seems to have come in, when it is for this host. */
  route(id: number, family: 4 | 6, hop: number, iface?: NetInterface): boolean;
  /** A packet whose next hop has no link-layer address yet. */
  /** `backend`: plus one, the packet goes to it instead of its destination; 0: to that. */
  findNeighbour(id: number, hop: number, backend?: number): void;
  /** A packet whose protocol is to be served. */
  deliver(id: number): void;
  sendErrorFor(id: number, kind: IcmpErrorKind, rest: number): void;
  sendIcmp(
    iface: NetInterface | undefined,
    from: IpAddress | undefined,
    to: IpAddress,
    type: number,
    code: number,
    rest: number,
    data: Uint8Array,
    hopLimit?: number,
  ): boolean;
}
