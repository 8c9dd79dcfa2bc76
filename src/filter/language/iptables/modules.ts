/** Matches of iptables by name (`-m`): which are translated, and what of theirs has to be said for there to be anything to match. */
const NOTHING = undefined;

/** Options of which one at least has to be there; `NOTHING`: the name alone says something already, or its protocol does. */
const MODULES: Readonly<Record<string, RegExp | undefined>> = {
  addrtype: /^--(src|dst)-type$/,
  ah: NOTHING,
  cgroup: /^--cgroup$/,
  comment: /^--comment$/,
  connbytes: /^--connbytes$/,
  connlimit: /^--connlimit-(above|upto)$/,
  connmark: /^--mark$/,
  conntrack: /^--ct/,
  cpu: /^--cpu$/,
  dccp: NOTHING,
  devgroup: /^--(src|dst)-group$/,
  dscp: /^--dscp/,
  ecn: /^--ecn-/,
  esp: NOTHING,
  hashlimit: /^--hashlimit-(upto|above)$/,
  helper: /^--helper$/,
  hl: /^--hl-eq$/,
  icmp: NOTHING,
  icmp6: NOTHING,
  icmpv6: NOTHING,
  ipcomp: NOTHING,
  iprange: /^--(src|dst)-range$/,
  length: /^--length$/,
  limit: NOTHING,
  mac: /^--mac-source$/,
  mark: /^--mark$/,
  multiport: /ports$/,
  owner: /^--[ug]id-owner$/,
  pkttype: /^--pkt-type$/,
  quota: /^--quota$/,
  realm: /^--realm$/,
  rpfilter: NOTHING,
  sctp: NOTHING,
  socket: /^--transparent$/,
  state: /^--state$/,
  statistic: /^--mode$/,
  tcp: NOTHING,
  tcpmss: /^--mss$/,
  time: /^--(time|date|week)/,
  tos: /^--tos$/,
  ttl: /^--ttl-/,
  udp: NOTHING,
  udplite: NOTHING,
};

/** Why a match that was named would match everything, which is more than was asked for; undefined: it does not. */
export function emptyMatch(name: string, taken: ReadonlySet<string>): string | undefined {
  if (!Object.hasOwn(MODULES, name)) return `the match "${name}" is not translated`;
  const needed = MODULES[name];
  if (needed === undefined || [...taken].some((option) => needed.test(option))) return undefined;
  return `-m ${name} says nothing without one of its options that are translated`;
}
