/** What a router needs of a host's rules and of what it tracks; undefined where its engine has no room for them. */
import type { Firewall } from "../filter/firewall.ts";
import type { Host } from "../host/host.ts";
import type { Conntrack } from "../track/conntrack.ts";

const sizesOf = (host: Host) => host.engine.memory.layout.sizes;

export function firewallOf(host: Host): Firewall | undefined {
  return sizesOf(host).filterBytes > 0 ? host.firewall : undefined;
}

/** Tracks even without a rule that asks for it: a listing of connections is part of the appliance, balancing needs them. */
export function trackingOf(host: Host): Conntrack | undefined {
  const { flows, services } = sizesOf(host);
  if (flows === 0) return undefined;
  host.network?.configure({ track: true, defrag: true, balance: services > 0 });
  return host.conntrack;
}
