/**
 * Headers and their fields as nft names them: where a field lies, how long it is, and what its values mean. Offsets and lengths
 * are bits. `next` tells which field (or meta key) names the header that follows; `base` the header a packet's start is counted from.
 */
import type { PayloadBase } from "../expressions.ts";
import type { TypeName } from "./type-names.ts";

export interface Field {
  readonly name: string;
  readonly type: TypeName;
  readonly offset: number;
  readonly bits: number;
  /** Types of ICMP messages that have this field. */
  readonly icmp?: readonly number[];
}
export interface Protocol {
  readonly name: string;
  readonly base: PayloadBase;
  /** Its number in the header below: Ethernet type, or protocol of IP. */
  readonly number: number;
  readonly fields: ReadonlyMap<string, Field>;
  /** Offset in bytes of the Internet checksum, and the fields that the transport's checksum covers too. */
  readonly checksum?: number;
  readonly pseudo?: ReadonlySet<string>;
  /** The field that names the next header. */
  readonly next?: string;
}

type Row = readonly [name: string, type: TypeName, offset: number, bits: number, icmp?: readonly number[]];
const protocol = (name: string, base: PayloadBase, number: number, rows: readonly Row[], more: Partial<Protocol> = {}): Protocol => ({
  name,
  base,
  number,
  fields: new Map(rows.map(([field, type, offset, bits, icmp]) => [field, { name: field, type, offset, bits, icmp }])),
  ...more,
});

const PORTS: readonly Row[] = [
  ["sport", "inet_service", 0, 16],
  ["dport", "inet_service", 16, 16],
];
const ECHO = [8, 0];
const ECHO6 = [128, 129];

export const ETHER = protocol(
  "ether",
  "link",
  0,
  [
    ["daddr", "ether_addr", 0, 48],
    ["saddr", "ether_addr", 48, 48],
    ["type", "ether_type", 96, 16],
  ],
  { next: "type" },
);
/** EtherTypes behind which a tag stands: 802.1Q's, and that of an outer tag (802.1ad). */
export const TAGS: ReadonlySet<number> = new Set([0x8100, 0x88a8]);
/** Offsets are those behind one Ethernet header. */
export const VLAN = protocol(
  "vlan",
  "link",
  0x8100,
  [
    ["pcp", "integer", 112, 3],
    ["dei", "integer", 115, 1],
    ["cfi", "integer", 115, 1],
    ["id", "integer", 116, 12],
    ["type", "ether_type", 128, 16],
  ],
  { next: "type" },
);
export const ARP = protocol("arp", "network", 0x0806, [
  ["htype", "integer", 0, 16],
  ["ptype", "ether_type", 16, 16],
  ["hlen", "integer", 32, 8],
  ["plen", "integer", 40, 8],
  ["operation", "arp_op", 48, 16],
  ["saddr ether", "ether_addr", 64, 48],
  ["saddr ip", "ipv4_addr", 112, 32],
  ["daddr ether", "ether_addr", 144, 48],
  ["daddr ip", "ipv4_addr", 192, 32],
]);
export const IP = protocol(
  "ip",
  "network",
  0x0800,
  [
    ["version", "integer", 0, 4],
    ["hdrlength", "integer", 4, 4],
    ["dscp", "dscp", 8, 6],
    ["ecn", "ecn", 14, 2],
    ["length", "integer", 16, 16],
    ["id", "integer", 32, 16],
    ["frag-off", "integer", 48, 16],
    ["ttl", "integer", 64, 8],
    ["protocol", "inet_proto", 72, 8],
    ["checksum", "integer", 80, 16],
    ["saddr", "ipv4_addr", 96, 32],
    ["daddr", "ipv4_addr", 128, 32],
  ],
  { checksum: 10, pseudo: new Set(["length", "protocol", "saddr", "daddr"]), next: "protocol" },
);
export const IP6 = protocol(
  "ip6",
  "network",
  0x86dd,
  [
    ["version", "integer", 0, 4],
    ["dscp", "dscp", 4, 6],
    ["ecn", "ecn", 10, 2],
    ["flowlabel", "integer", 12, 20],
    ["length", "integer", 32, 16],
    ["nexthdr", "inet_proto", 48, 8],
    ["hoplimit", "integer", 56, 8],
    ["saddr", "ipv6_addr", 64, 128],
    ["daddr", "ipv6_addr", 192, 128],
  ],
  { pseudo: new Set(["length", "nexthdr", "saddr", "daddr"]), next: "nexthdr" },
);
export const TH = protocol("th", "transport", -1, PORTS);
const TRANSPORTS = [
  protocol(
    "icmp",
    "transport",
    1,
    [
      ["type", "icmp_type", 0, 8],
      ["code", "icmp_code", 8, 8],
      ["checksum", "integer", 16, 16],
      ["id", "integer", 32, 16, ECHO],
      ["sequence", "integer", 48, 16, ECHO],
      ["gateway", "integer", 32, 32, [5]],
      ["mtu", "integer", 48, 16, [3]],
    ],
    { checksum: 2 },
  ),
  protocol(
    "igmp",
    "transport",
    2,
    [
      ["type", "igmp_type", 0, 8],
      ["mrt", "integer", 8, 8],
      ["checksum", "integer", 16, 16],
      ["group", "integer", 32, 32],
    ],
    { checksum: 2 },
  ),
  protocol(
    "icmpv6",
    "transport",
    58,
    [
      ["type", "icmpv6_type", 0, 8],
      ["code", "icmpv6_code", 8, 8],
      ["checksum", "integer", 16, 16],
      ["mtu", "integer", 32, 32, [2]],
      ["id", "integer", 32, 16, ECHO6],
      ["sequence", "integer", 48, 16, ECHO6],
      ["max-delay", "integer", 32, 16, [130]],
    ],
    { checksum: 2 },
  ),
  protocol(
    "tcp",
    "transport",
    6,
    [
      ...PORTS,
      ["sequence", "integer", 32, 32],
      ["ackseq", "integer", 64, 32],
      ["doff", "integer", 96, 4],
      ["reserved", "integer", 100, 4],
      ["flags", "tcp_flag", 104, 8],
      ["window", "integer", 112, 16],
      ["checksum", "integer", 128, 16],
      ["urgptr", "integer", 144, 16],
    ],
    { checksum: 16 },
  ),
  protocol("udp", "transport", 17, [...PORTS, ["length", "integer", 32, 16], ["checksum", "integer", 48, 16]], { checksum: 6 }),
  protocol("udplite", "transport", 136, [...PORTS, ["csumcov", "integer", 32, 16], ["checksum", "integer", 48, 16]], { checksum: 6 }),
  protocol("sctp", "transport", 132, [...PORTS, ["vtag", "integer", 32, 32], ["checksum", "integer", 64, 32]]),
  protocol("dccp", "transport", 33, [...PORTS, ["type", "dccp_pkttype", 67, 4]]),
  protocol("ah", "transport", 51, [
    ["nexthdr", "inet_proto", 0, 8],
    ["hdrlength", "integer", 8, 8],
    ["reserved", "integer", 16, 16],
    ["spi", "integer", 32, 32],
    ["sequence", "integer", 64, 32],
  ]),
  protocol("esp", "transport", 50, [
    ["spi", "integer", 0, 32],
    ["sequence", "integer", 32, 32],
  ]),
  protocol("comp", "transport", 108, [
    ["nexthdr", "inet_proto", 0, 8],
    ["flags", "hexadecimal", 8, 8],
    ["cpi", "integer", 16, 16],
  ]),
];

const LINK_NEXT = [VLAN, ARP, IP, IP6];
export const PROTOCOLS: ReadonlyMap<string, Protocol> = new Map(
  [ETHER, VLAN, ARP, IP, IP6, TH, ...TRANSPORTS].map((each) => [each.name, each]),
);
const byTransport = new Map(TRANSPORTS.map((each) => [each.number, each]));
const byEthertype = new Map(LINK_NEXT.map((each) => [each.number, each]));
/** The header that a value of a protocol field names. */
export const transportOf = (number: number): Protocol | undefined => byTransport.get(number);
export const networkOf = (ethertype: number): Protocol | undefined => byEthertype.get(ethertype);

// Extension headers of IPv6, options of TCP and IP: [type, fields].
type Fields = Readonly<Record<string, readonly [TypeName, number, number]>>;
const HEAD: Fields = { nexthdr: ["inet_proto", 0, 8], hdrlength: ["integer", 8, 8] };
const RT: Fields = { ...HEAD, type: ["integer", 16, 8], "seg-left": ["integer", 24, 8] };
export const EXTENSIONS: Readonly<Record<string, readonly [number, Fields]>> = {
  hbh: [0, HEAD],
  rt: [43, RT],
  rt0: [43, { addr: ["ipv6_addr", 64, 128] }],
  rt2: [43, { addr: ["ipv6_addr", 64, 128] }],
  srh: [43, { "last-entry": ["integer", 32, 8], flags: ["integer", 40, 8], tag: ["integer", 48, 16], sid: ["ipv6_addr", 64, 128] }],
  frag: [
    44,
    {
      nexthdr: ["inet_proto", 0, 8],
      reserved: ["integer", 8, 8],
      "frag-off": ["integer", 16, 13],
      reserved2: ["integer", 29, 2],
      "more-fragments": ["integer", 31, 1],
      id: ["integer", 32, 32],
    },
  ],
  dst: [60, HEAD],
  mh: [135, { ...HEAD, type: ["mh_type", 16, 8], reserved: ["integer", 24, 8], checksum: ["integer", 32, 16] }],
};
const OPTION: Fields = { kind: ["integer", 0, 8], length: ["integer", 8, 8] };
const SACK = (first: number): Fields => ({ ...OPTION, left: ["integer", first, 32], right: ["integer", first + 32, 32] });
export const TCP_OPTIONS: Readonly<Record<string, readonly [number, Fields]>> = {
  eol: [0, { kind: ["integer", 0, 8] }],
  nop: [1, { kind: ["integer", 0, 8] }],
  maxseg: [2, { ...OPTION, size: ["integer", 16, 16] }],
  window: [3, { ...OPTION, count: ["integer", 16, 8] }],
  "sack-perm": [4, OPTION],
  sack: [5, SACK(16)],
  sack0: [5, SACK(16)],
  sack1: [5, SACK(80)],
  sack2: [5, SACK(144)],
  sack3: [5, SACK(208)],
  timestamp: [8, { ...OPTION, tsval: ["integer", 16, 32], tsecr: ["integer", 48, 32] }],
  md5sig: [19, OPTION],
  mptcp: [30, { ...OPTION, subtype: ["integer", 16, 4] }],
  fastopen: [34, OPTION],
};
const ADDRESSES: Fields = {
  type: ["integer", 0, 8],
  length: ["integer", 8, 8],
  ptr: ["integer", 16, 8],
  addr: ["integer", 24, 32],
};
export const IP_OPTIONS: Readonly<Record<string, readonly [number, Fields]>> = {
  lsrr: [131, ADDRESSES],
  rr: [7, ADDRESSES],
  ssrr: [137, ADDRESSES],
  ra: [148, { type: ["integer", 0, 8], length: ["integer", 8, 8], value: ["integer", 16, 16] }],
};
/** Chunks of SCTP (RFC 9260 §3.3, RFC 3758, RFC 5061): [type, fields]. */
const CHUNK: Fields = { type: ["integer", 0, 8], flags: ["integer", 8, 8], length: ["integer", 16, 16] };
const word = (name: string): Fields => ({ ...CHUNK, [name]: ["integer", 32, 32] });
const INIT: Fields = {
  ...word("init-tag"),
  "a-rwnd": ["integer", 64, 32],
  "num-outbound-streams": ["integer", 96, 16],
  "num-inbound-streams": ["integer", 112, 16],
  "initial-tsn": ["integer", 128, 32],
};
export const CHUNKS: Readonly<Record<string, readonly [number, Fields]>> = {
  data: [0, { ...word("tsn"), stream: ["integer", 64, 16], ssn: ["integer", 80, 16], ppid: ["integer", 96, 32] }],
  init: [1, INIT],
  "init-ack": [2, INIT],
  sack: [
    3,
    {
      ...word("cum-tsn-ack"),
      "a-rwnd": ["integer", 64, 32],
      "num-gap-ack-blocks": ["integer", 96, 16],
      "num-dup-tsns": ["integer", 112, 16],
    },
  ],
  heartbeat: [4, CHUNK],
  "heartbeat-ack": [5, CHUNK],
  abort: [6, CHUNK],
  shutdown: [7, word("cum-tsn-ack")],
  "shutdown-ack": [8, CHUNK],
  error: [9, CHUNK],
  "cookie-echo": [10, CHUNK],
  "cookie-ack": [11, CHUNK],
  ecne: [12, word("lowest-tsn")],
  cwr: [13, word("lowest-tsn")],
  "shutdown-complete": [14, CHUNK],
  "asconf-ack": [128, word("seqno")],
  "forward-tsn": [192, word("new-cum-tsn")],
  asconf: [193, word("seqno")],
};
