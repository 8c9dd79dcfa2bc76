/**
 * Which sockets of a host are bound to which ports, and who may join them: Linux's rules for SO_REUSEADDR and
 * SO_REUSEPORT (socket(7), inet_csk_bind_conflict). One table for each host and protocol, shared by its processes.
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { standsFor } from "../ip/wildcard.ts";
import { EADDRINUSE } from "./errno.ts";

/** What counts in a conflict. A connection that lives on without a socket is one, too. */
export interface Bound {
  readonly address: IpAddress;
  readonly reuseAddress: boolean;
  readonly reusePort: boolean;
  readonly v6Only: boolean;
  /** Sockets that listen share with nobody by SO_REUSEADDR alone. */
  readonly isListening: boolean;
  readonly device: string | undefined;
}

export class Bindings {
  private readonly ports = new Map<number, Set<Bound>>();
  /** What uses a port besides the sockets bound here. */
  private readonly others: (port: number) => readonly Bound[];
  /** Told of ports that get their first user or lose the last. */
  private readonly changed: (port: number, users: number) => void;

  constructor(others: (port: number) => readonly Bound[], changed: (port: number, users: number) => void) {
    this.others = others;
    this.changed = changed;
  }

  /** 0, or -EADDRINUSE when somebody on the port does not agree to `who`. */
  check(port: number, who: Bound): number {
    const own = this.ports.get(port) ?? [];
    for (const other of [...own, ...this.others(port)]) if (other !== who && conflict(who, other)) return -EADDRINUSE;
    return 0;
  }

  add(port: number, who: Bound): void {
    const users = this.ports.get(port) ?? new Set();
    this.ports.set(port, users.add(who));
    this.changed(port, users.size);
  }

  remove(port: number, who: Bound): void {
    const users = this.ports.get(port);
    if (!users?.delete(who)) return;
    if (users.size === 0) this.ports.delete(port);
    this.changed(port, users.size);
  }

  holds(port: number, who: Bound): boolean {
    return this.ports.get(port)?.has(who) ?? false;
  }
}

const tables = new WeakMap<Host, { tcp: Bindings; udp: Bindings }>();

/** The tables of a host; connections, and listeners that were not made here, count as users of their ports. */
export function bindingsOf(host: Host): { tcp: Bindings; udp: Bindings } {
  let both = tables.get(host);
  if (!both) {
    both = {
      tcp: new Bindings((port) => tcpUsers(host, port), note(host.tcp.bound)),
      udp: new Bindings(
        () => [],
        () => {},
      ),
    };
    tables.set(host, both);
  }
  return both;
}

function note(bound: Map<number, number>): (port: number, users: number) => void {
  return (port, users) => {
    if (users > 0) bound.set(port, users);
    else bound.delete(port);
  };
}

function tcpUsers(host: Host, port: number): Bound[] {
  const { listeners, connections } = host.tcp.users(port);
  const common = { v6Only: false, device: undefined };
  return [
    ...listeners
      .filter((each) => !each.rules.isBound)
      .map(({ local, rules }) => ({
        ...common,
        address: local,
        device: rules.device?.name,
        v6Only: rules.v6Only ?? false,
        reuseAddress: false,
        reusePort: rules.reusePort ?? false,
        isListening: true,
      })),
    ...connections.map((each) => ({
      ...common,
      address: each.local,
      device: each.device?.name,
      reuseAddress: "options" in each ? each.options.reuseAddress : each.reuseAddress,
      reusePort: false,
      isListening: false,
    })),
  ];
}

/** Does `b`, which is there, stand in the way of `a`? */
function conflict(a: Bound, b: Bound): boolean {
  if (a.device !== undefined && b.device !== undefined && a.device !== b.device) return false;
  if (!overlap(a, b)) return false;
  if (a.reuseAddress && b.reuseAddress && !b.isListening) return false;
  return !(a.reusePort && b.reusePort);
}

function overlap(a: Bound, b: Bound): boolean {
  for (const family of [4, 6] as const) {
    if (!covers(a, family) || !covers(b, family)) continue;
    if (a.address.isUnspecified || b.address.isUnspecified || a.address.equals(b.address)) return true;
  }
  return false;
}

function covers({ address, v6Only }: Bound, family: 4 | 6): boolean {
  return address.isUnspecified ? standsFor(address, v6Only, family) : address.family === family;
}
