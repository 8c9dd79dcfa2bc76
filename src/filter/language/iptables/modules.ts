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
  connlabel: /^--label$/,
  connmark: /^--mark$/,
  conntrack: /^--ct/,
  cpu: /^--cpu$/,
  dccp: NOTHING,
  devgroup: /^--(src|dst)-group$/,
  dscp: /^--dscp/,
  ecn: /^--ecn-/,
  esp: NOTHING,
  hashlimit: /^--hashlimit(-upto|-above)?$/,
  helper: /^--helper$/,
  frag: /^--frag/,
  hl: /^--hl-/,
  icmp: /^--icmp-type$/,
  icmp6: /^--icmpv6-type$/,
  icmpv6: /^--icmpv6-type$/,
  ipcomp: NOTHING,
  iprange: /^--(src|dst)-range$/,
  length: /^--length$/,
  limit: NOTHING,
  mac: /^--mac-source$/,
  mark: /^--mark$/,
  mh: NOTHING,
  multiport: /ports$/,
  owner: /^--[ug]id-owner$/,
  pkttype: /^--pkt-type$/,
  quota: /^--quota$/,
  realm: /^--realm$/,
  rpfilter: NOTHING,
  rt: /^--rt-/,
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

/** Matches that are of one protocol: its names and number. */
const PROTOCOLS: Readonly<Record<string, readonly string[]>> = {
  ah: ["ah", "ipv6-auth", "51"],
  dccp: ["dccp", "33"],
  esp: ["esp", "ipv6-crypt", "50"],
  ipcomp: ["ipcomp", "comp", "108"],
  icmp: ["icmp"],
  icmp6: ["ipv6-icmp"],
  icmpv6: ["ipv6-icmp"],
  mh: ["mobility-header"],
  sctp: ["sctp", "132"],
  tcp: ["tcp"],
  tcpmss: ["tcp"],
  udp: ["udp"],
  udplite: ["udplite", "136"],
};

const OWN_OPTION = /^--(\w*spi$|dccp-|mh-|[sd]port|source-port|destination-port)/;
/** Options that say nothing of packets of another protocol, and are refused for them. */
const OF_PROTOCOL: Readonly<Record<string, string>> = {
  "--chunk-types": "sctp",
  "--ecn-tcp-cwr": "tcp",
  "--ecn-tcp-ece": "tcp",
  "--icmp-type": "icmp",
  "--icmpv6-type": "ipv6-icmp",
  "--mss": "tcp",
  "--syn": "tcp",
  "--tcp-flags": "tcp",
  "--tcp-option": "tcp",
};
/** The protocol that an option needs; undefined: it is there, or none is needed. */
export function missingProtocol(option: string, protocol: string | undefined): string | undefined {
  const needed = Object.hasOwn(OF_PROTOCOL, option) ? OF_PROTOCOL[option] : protocol;
  return needed === protocol ? undefined : needed;
}

/** Why a match that was named would match everything, which is more than was asked for; undefined: it does not. */
export function emptyMatch(name: string, taken: ReadonlySet<string>, protocol: string | undefined): string | undefined {
  if (!Object.hasOwn(MODULES, name)) return `the match "${name}" is not translated`;
  const own = Object.hasOwn(PROTOCOLS, name) ? PROTOCOLS[name] : undefined;
  // Its options are of the protocol by themselves; its name alone says nothing without it.
  const isBare = ![...taken].some((option) => OWN_OPTION.test(option));
  if (own && (protocol === undefined ? isBare : !own.includes(protocol))) return `-m ${name} is of one protocol: expected -p ${own[0]}`;
  const needed = MODULES[name];
  if (needed === undefined || [...taken].some((option) => needed.test(option))) return undefined;
  return `-m ${name} says nothing without one of its options that are translated`;
}
