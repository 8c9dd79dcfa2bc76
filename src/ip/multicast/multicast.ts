/** Groups of a host's interfaces: who is in them, and the messages that say so. Hostile messages change nothing but counters. */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import { IpAddress } from "../../base/ip-address.ts";
import type { NetInterface } from "../interface.ts";
import type { IncomingIcmp, Transport } from "../types.ts";
import type { World } from "../world.ts";
import { EVERYTHING, type SourceFilter } from "./filter.ts";
import { IGMP, IgmpWire, parseIgmp } from "./igmp.ts";
import { GroupMachine } from "./machine.ts";
import { MLD_QUERY, MLD_REPORT, MldWire, parseMldQuery } from "./mld.ts";

export interface MulticastCounters {
  in_queries: number;
  in_reports: number;
  in_errors: number;
}

export class Multicast implements Transport {
  readonly counters: MulticastCounters = { in_queries: 0, in_reports: 0, in_errors: 0 };
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
    world.setTransport(IGMP, this);
    world.handleIcmp(6, MLD_QUERY, (message) => this.receiveMld(message));
    world.handleIcmp(6, MLD_REPORT, (message) => this.receiveMld(message));
  }

  attach(iface: NetInterface): void {
    iface.groups4 = new GroupMachine(this.world, new IgmpWire(this.world, iface));
    iface.groups6 = new GroupMachine(this.world, new MldWire(this.world, iface));
  }

  /** What `owner` wants of a group on an interface from now on; `NOTHING` ends it. */
  want(iface: NetInterface, group: IpAddress, owner: object, filter: SourceFilter = EVERYTHING): void {
    if (!group.isMulticast) throw invalid(`${group} is not a group address`);
    iface.machine(group.family)?.want(group, owner, filter);
  }

  /** IGMP. */
  receive(id: number): void {
    const { world } = this;
    const iface = world.ingress(id);
    const packet = world.packetBytes(id);
    const message = parseIgmp(packet.subarray((packet[0] & 15) * 4));
    if (!iface || !message || world.words[0] >>> 24 !== 1) this.counters.in_errors++;
    else if ("query" in message) {
      this.counters.in_queries++;
      iface.groups4?.query(message.query);
    } else {
      this.counters.in_reports++;
      iface.groups4?.heardReport(message.reported);
    }
  }

  /** Only from this link: hop limit 1, a link-local source and a router alert (RFC 3810 §5.1.14). */
  private receiveMld({ iface, id, from, message, hopLimit }: IncomingIcmp): void {
    const { memory } = this.world.engine;
    const alerted = (memory.getU32(memory.descriptor(id) + abi.DESC_FLAGS) & abi.FLAG_HOP_BY_HOP) !== 0;
    const isQuery = message[0] === MLD_QUERY;
    const query = isQuery ? parseMldQuery(message) : undefined;
    const group = message.length < 24 ? undefined : IpAddress.from6(message.subarray(8));
    const isSound = iface && alerted && hopLimit === 1 && (from.isLinkLocal || (!isQuery && from.isUnspecified));
    if (!isSound || (isQuery ? !query : !group)) this.counters.in_errors++;
    else if (query) {
      this.counters.in_queries++;
      iface.groups6?.query(query);
    } else if (group) {
      this.counters.in_reports++;
      iface.groups6?.heardReport(group);
    }
  }
}
