/** The groups of one endpoint, each with the sources it wants, on each interface (RFC 3376 §3, RFC 3678). */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "../ip/interface.ts";
import { allows, NOTHING, type SourceFilter, sourceFilter } from "../ip/multicast/filter.ts";
import type { IpStack } from "../ip/stack.ts";

export interface GroupOptions {
  /** Default: the interface that the route to the group names, else the first. */
  readonly iface?: NetInterface;
  /** Only these sources; without them, everybody. Leaving with sources leaves only those. */
  readonly sources?: readonly IpAddress[];
}

interface Joined {
  readonly group: IpAddress;
  readonly iface: NetInterface;
  filter: SourceFilter;
}

/** Linux: igmp_max_memberships is 20; igmp_max_msf, sources of one filter, 10. Both are small for what programs do. */
const MOST_GROUPS = 512;
const MOST_SOURCES = 128;

export class Groups {
  private readonly stack: IpStack;
  private readonly joined: Joined[] = [];

  constructor(stack: IpStack) {
    this.stack = stack;
  }

  /** EADDRINUSE when it was joined already, EINVAL when the other kind of membership is there. */
  join(group: IpAddress, options: GroupOptions): void {
    const iface = this.interfaceOf(group, options.iface);
    const known = this.find(group, iface);
    const { sources } = options;
    if (!sources) {
      if (known) throw new LoomError("EADDRINUSE", `the socket is in ${group} on ${iface.name} already`);
      this.set(group, iface, sourceFilter("exclude"));
      return;
    }
    if (known?.filter.mode === "exclude") throw new LoomError("EINVAL", `the socket hears all sources of ${group} already`);
    const before = known ? [...known.filter.sources.values()] : [];
    if (sources.some((source) => known?.filter.sources.has(source.key))) {
      throw new LoomError("EADDRNOTAVAIL", `the socket hears one of these sources of ${group} already`);
    }
    this.set(group, iface, sourceFilter("include", [...before, ...sources]));
  }

  leave(group: IpAddress, options: GroupOptions): void {
    const iface = this.interfaceOf(group, options.iface);
    const known = this.find(group, iface);
    if (!known) throw new LoomError("EADDRNOTAVAIL", `the socket is not in ${group} on ${iface.name}`);
    const { sources } = options;
    if (!sources) {
      this.set(group, iface, NOTHING);
      return;
    }
    if (known.filter.mode === "exclude") throw new LoomError("EINVAL", `the socket hears all sources of ${group}; block one instead`);
    const gone = new Set(sources.map((source) => source.key));
    if (sources.some(({ key }) => !known.filter.sources.has(key))) {
      throw new LoomError("EADDRNOTAVAIL", `the socket does not hear one of these sources of ${group}`);
    }
    const left = [...known.filter.sources.values()].filter(({ key }) => !gone.has(key));
    this.set(group, iface, sourceFilter("include", left));
  }

  /** Stops (or begins again) to hear one source of a group that was joined for all (IP_BLOCK_SOURCE, IP_UNBLOCK_SOURCE). */
  block(group: IpAddress, source: IpAddress, on: boolean, iface?: NetInterface): void {
    const chosen = this.interfaceOf(group, iface);
    const known = this.find(group, chosen);
    if (known?.filter.mode !== "exclude") throw new LoomError("EINVAL", `the socket is not in ${group} for all sources`);
    const { sources } = known.filter;
    if (sources.has(source.key) === on) throw new LoomError("EADDRNOTAVAIL", `${source} is ${on ? "" : "not "}blocked already`);
    const others = [...sources.values()].filter((each) => !each.equals(source));
    this.set(group, chosen, sourceFilter("exclude", on ? [...others, source] : others));
  }

  /** Replaces the whole filter (setsourcefilter of RFC 3678). */
  set(group: IpAddress, iface: NetInterface, filter: SourceFilter): void {
    if (filter.sources.size > MOST_SOURCES) throw new LoomError("ENOBUFS", `more than ${MOST_SOURCES} sources of ${group}`);
    const known = this.find(group, iface);
    if (!known && this.joined.length >= MOST_GROUPS) throw new LoomError("ENOBUFS", `more than ${MOST_GROUPS} groups of one socket`);
    this.stack.touch();
    this.stack.multicast.want(iface, group, this, filter);
    this.stack.flush();
    const gone = filter.mode === "include" && filter.sources.size === 0;
    if (known && gone) this.joined.splice(this.joined.indexOf(known), 1);
    else if (known) known.filter = filter;
    else if (!gone) this.joined.push({ group, iface, filter });
  }

  filterOf(group: IpAddress, iface: NetInterface): SourceFilter | undefined {
    return this.find(group, iface)?.filter;
  }

  /** Whether a datagram to a group is for this socket; `all`: also what only others joined (IP_MULTICAST_ALL). */
  accepts(group: IpAddress, iface: NetInterface | undefined, source: IpAddress, all: boolean): boolean {
    const known = iface && this.find(group, iface);
    return known ? allows(known.filter, source) : all;
  }

  leaveAll(): void {
    for (const { group, iface } of [...this.joined]) this.set(group, iface, NOTHING);
  }

  private find(group: IpAddress, iface: NetInterface): Joined | undefined {
    return this.joined.find((each) => each.iface === iface && each.group.equals(group));
  }

  private interfaceOf(group: IpAddress, iface: NetInterface | undefined): NetInterface {
    if (!group.isMulticast) throw new LoomError("EINVAL", `${group} is not a group address`);
    const chosen = iface ?? this.stack.pathTo(group).iface;
    if (!chosen) throw new LoomError("ENODEV", "this host has no interface");
    return chosen;
  }
}
