/**
 * The router under test, the same for the kernel and for ours: three ports, their addresses, what is behind each of them. Every
 * host of an attached network is a permanent neighbour whose MAC ends in its address's last byte, so no frame but the answer comes out.
 */

export interface PortPlan {
  readonly name: "lan" | "wan" | "dmz";
  readonly number: number;
  readonly address4: string;
  readonly address6: string;
  readonly mtu: number;
}

export const PORTS: readonly PortPlan[] = [
  { name: "lan", number: 1, address4: "192.168.1.1", address6: "2001:db8:1::1", mtu: 1500 },
  { name: "wan", number: 2, address4: "203.0.113.1", address6: "2001:db8:2::1", mtu: 1500 },
  // A smaller MTU, so that errors about it are the router's too.
  { name: "dmz", number: 3, address4: "10.9.0.1", address6: "2001:db8:9::1", mtu: 1400 },
];
export type PortName = PortPlan["name"];

/** All networks are /24 and /64; everything else is behind the last host of the wan. */
export const PREFIX4 = 24;
export const PREFIX6 = 64;
export const GATEWAY4 = "203.0.113.254";
export const GATEWAY6 = "2001:db8:2::fe";

/** Last bytes of the addresses of an attached network's hosts. */
export const FIRST_HOST = 2;
export const LAST_HOST = 254;

export const host4 = (port: PortPlan, last: number) => port.address4.replace(/\d+$/, String(last));
export const host6 = (port: PortPlan, last: number) => port.address6.replace(/1$/, last.toString(16));

/** The router's MAC is the one of last byte 1. */
export const macOf = (port: PortPlan, last = 1) => `02:00:00:00:0${port.number}:${last.toString(16).padStart(2, "0")}`;

export function portOf(name: string): PortPlan {
  const port = PORTS.find((plan) => plan.name === name);
  if (!port) throw new Error(`no port is called "${name}"; expected ${PORTS.map((plan) => plan.name).join(", ")}`);
  return port;
}

/** A conntrack table and IPv6 without noise; accounting on; no rate limits, whose results would depend on time. */
export const SYSCTLS: Readonly<Record<string, number>> = {
  "ipv4/ip_forward": 1,
  "ipv4/icmp_ratelimit": 0,
  "ipv4/icmp_msgs_per_sec": 1_000_000,
  "ipv4/icmp_msgs_burst": 1_000_000,
  "ipv4/tcp_invalid_ratelimit": 0,
  "ipv4/ipfrag_time": 1,
  "ipv6/ip6frag_time": 1,
  "ipv6/icmp/ratelimit": 0,
  "ipv6/auto_flowlabels": 0,
  "ipv6/conf/all/forwarding": 1,
  "netfilter/nf_conntrack_acct": 1,
  "netfilter/nf_conntrack_log_invalid": 0,
  "netfilter/nf_conntrack_frag6_timeout": 1,
  ...Object.fromEntries(
    ["all", "default", ...PORTS.map((port) => port.name)].flatMap((name) => [
      [`ipv4/conf/${name}/rp_filter`, 0],
      [`ipv4/conf/${name}/send_redirects`, 0],
      [`ipv4/conf/${name}/log_martians`, 0],
      [`ipv6/conf/${name}/accept_ra`, 0],
      [`ipv6/conf/${name}/accept_dad`, 0],
      [`ipv6/conf/${name}/router_solicitations`, 0],
    ]),
  ),
};
