/**
 * The boundary between the two halves: every offset, size and code that both compilers need.
 *
 * Plain numeric constants only, so that AssemblyScript and TypeScript read the same file; and one file, as it could not import
 * others: the one compiler wants the extension of a module's file, which the other refuses. Sizes are bytes, `…Be` fields are in
 * network order, everything else is little-endian. A table of regions in the header says where things lie: they are sized once,
 * when the engine is created.
 *
 * Names carry meaning: the text after `DROP_`, `PUNT_` and `STAT_` is the name of the counter that
 * users see (in lower case), so that no reason is spelt twice.
 */
export const ABI_VERSION = 1;
export const ABI_MAGIC = 0x6d6f6f6c; // "loom"

/** Packets handled by one call of the data plane, at most. */
export const BURST = 256;
export const MAX_PORTS = 256;
export const MAX_WORKERS = 16;
/** "no descriptor", "end of chain", "owned by the application". */
export const NONE = 0xffffffff;

// ── Regions, in the order in which they lie ─────────────────────────────────────────────────────
export const REGION_WORKERS = 0;
export const REGION_STAGES = 1;
export const REGION_PORTS = 2;
export const REGION_PORT_STATS = 3;
export const REGION_RINGS = 4;
export const REGION_PUNTS = 5;
export const REGION_RESERVES = 6;
export const REGION_DESCRIPTORS = 7;
export const REGION_BUFFERS = 8;
export const REGION_TABLES = 9;
export const REGION_NEXT_HOPS = 10;
export const REGION_GROUPS = 11;
export const REGION_FIB = 12;
export const REGION_RIB = 13;
export const REGION_BRIDGES = 14;
export const REGION_GENERATORS = 15;
export const REGION_SAMPLES = 16;
export const REGION_APP = 17;
/** The calling thread's own: ids, punt records and route records on their way in or out. */
export const REGION_HOST = 18;
/** What ports are called: IFACE_*. */
export const REGION_IFACES = 19;
/** Networks with rules: NETNS_*. */
export const REGION_NETNS = 20;
/** An arena (core/arena.ts): sets, maps, counters and constants of rules. */
export const REGION_FILTER = 21;
/** Connection tracking: FLOW_*. */
export const REGION_FLOWS = 22;
/** Services of load balancing, their backends and pick tables. */
export const REGION_BALANCE = 23;
/** Packets that wait at output ports, and policers: QUEUES_*. */
export const REGION_QUEUES = 24;
export const REGION_COUNT = 25;

/*
 * Header, at a fixed address so that every instance finds it.
 *
 *   +0  magic | version | memory bytes | workers
 *  +16  ports | buffers | descriptors  | buffer stride
 *  +32  headroom | tables | hash secret (u64)
 *  +48  ring capacity | punt capacity | bare descriptors | sample stride
 *  +64  ports with a queue
 * +256  byte classes of IPv4 first octets (256 × u8)
 * +512  epoch, run, wake (own line)
 * +576  Toeplitz key (52) | indirection mask
 * +640  RSS indirection (128 × u8)
 * +768  limit of bare descriptors
 * +784  region table: base, size … (REGION_COUNT × 8)
 */
export const HEADER = 1024;
export const HEADER_SIZE = 1024;
export const HEADER_MAGIC = 0;
export const HEADER_VERSION = 4;
export const HEADER_MEMORY = 8;
export const HEADER_WORKERS = 12;
export const HEADER_PORTS = 16;
export const HEADER_BUFFERS = 20;
export const HEADER_DESCRIPTORS = 24;
export const HEADER_STRIDE = 28;
export const HEADER_HEADROOM = 32;
export const HEADER_TABLES = 36;
export const HEADER_SECRET = 40;
export const HEADER_RING_CAPACITY = 48;
export const HEADER_PUNT_CAPACITY = 52;
export const HEADER_BRIDGES = 56;
/** Free buffers, and free bare descriptors, that a worker may keep to itself; half of that moves at a time. */
export const HEADER_BUFFER_LIMIT = 60;
export const HEADER_BARE_LIMIT = 768;
/** Ports with a queue: while there is none, nobody looks for packets that wait. */
export const HEADER_QUEUES = 64;
export const HEADER_REGIONS = 784;
export const HEADER_CLASSES = 256;
export const HEADER_EPOCH = 512;
/** Threads run while this is 1 and end when it is 2; written and waited on with atomics. */
export const HEADER_RUN = 528;
/** Bumped (with a notify) when a sleeping thread should look again. */
export const HEADER_WAKE = 532;
export const RUN_PAUSED = 0;
export const RUN_POLLING = 1;
export const RUN_ENDED = 2;
export const HEADER_RSS_KEY = 576;
export const HEADER_RSS_QUEUES = 640;
export const RSS_KEY_SIZE = 52;
export const RSS_QUEUES = 128;

/** Bytes of headroom in front of a received frame: room for tunnels and tags, and for 16-byte stores. */
export const MIN_HEADROOM = 64;

/*
 * Descriptor: one per buffer, and "bare" ones for clones and for payload by reference.
 *
 *   +0  data (address) | length of this segment | next (id) | owner (id of the buffer's home)
 *  +16  references     | packet length (head)   | ingress port u16, spare | flow hash
 *  +32  l3 u16, l4 u16 | flags                  | vlan tci u16, next hop u16 | protocol u8, segments u8, table u16
 *  +48  checksum start u16, offset u16 | segment size u16, kind u16 | cookie | mark
 */
export const DESC_SIZE = 64;
export const DESC_SHIFT = 6;
export const DESC_DATA = 0;
export const DESC_LENGTH = 4;
export const DESC_NEXT = 8;
export const DESC_OWNER = 12;
export const DESC_REFS = 16;
export const DESC_PACKET_LENGTH = 20;
export const DESC_INGRESS = 24;
/** Of a copy for the log: the port by which the packet would leave, NO_PORT before that is known. */
export const DESC_LOG_OUT = 26;
export const DESC_HASH = 28;
export const DESC_L3 = 32;
export const DESC_L4 = 34;
export const DESC_FLAGS = 36;
export const DESC_VLAN = 40;
export const DESC_NEXT_HOP = 42;
export const DESC_PROTOCOL = 44;
/* Of a packet that waits for a verdict (PUNT_QUEUE): +45 state of tracking u8 | +46 base chain + 1 u8, segment u8 | +56 its flow; +26 output port */
export const PARKED_CTINFO = 45;
export const PARKED_CHAIN = 46;
export const PARKED_SEGMENT = 47;
export const PARKED_FLOW = 56;
/** Of a packet whose sender is told that it got no further (FLAG_ATTACHED): the flow that the answer is a packet of, as of VEC_FLOW, or 0. */
export const REJECTED_FLOW = 28;
/** Of such an answer (FLAG_ATTACHED, its checksum complete): that flow, until it is tracked. */
export const ATTACHED_FLOW = 48;
/** In place of a flow: its zone (VEC_ZONE). */
export const PARKED_ZONE = 0x40000000;
export const PARKED_OUT = DESC_LOG_OUT;
/** u16 of a packet that is followed: its number, until it waits. */
export const TRACE_NUMBER = DESC_LOG_OUT;
/** In the descriptor of a copy that tells of one: its number (u16), the verdict (u8) and the chain that it leads to (u16); as many bytes as there are of it. */
export const TRACE_PACKET = DESC_HASH;
export const TRACE_VERDICT = 30;
export const TRACE_CHAIN = DESC_NEXT_HOP;
export const TRACE_BYTES = 128;
/** Of this host's own: the table that its next hop is of. */
export const PARKED_TABLE = DESC_VLAN;
export const DESC_CSUM_START = 48;
export const DESC_CSUM_OFFSET = 50;
/**
 * Of what was put together (FLAG_REASSEMBLED, its checksum never open): bytes of its largest fragment, IP header included, 0 where it was alone
 * (RFC 6946); and the number by which the host layer knows how it was cut.
 */
export const LARGEST_FRAGMENT = DESC_CSUM_OFFSET;
export const CUT_NUMBER = DESC_CSUM_START;
export const DESC_GSO_SIZE = 52;
export const DESC_GSO_KIND = 54;
/** Address of a u32 that counts outstanding references to application memory, or 0. */
export const DESC_COOKIE = 56;
/** meta mark of the rules, fwmark of policy routing; 0 when received. */
export const DESC_MARK = 60;

export const FLAG_IP4 = 1;
export const FLAG_IP6 = 2;
export const FLAG_FRAGMENT = 4;
/** Alone (FLAG_FRAGMENT is not set): an IPv6 packet that is its own only fragment (RFC 6946). */
export const FLAG_FIRST_FRAGMENT = 8;
export const FLAG_OPTIONS = 16;
export const FLAG_VLAN = 32;
export const FLAG_QINQ = 64;
/** The L4 header was examined (coalescing, local delivery): it is whole and its lengths agree. */
export const FLAG_L4 = 128;
/** The checksum field holds only the pseudo-header sum: whoever transmits completes it. */
export const FLAG_CSUM_PARTIAL = 256;
/** Checksum was verified below (device or neighbour in the same memory). */
export const FLAG_CSUM_GOOD = 512;
export const FLAG_HOP_BY_HOP = 1024;
export const FLAG_ROUTING = 2048;
export const FLAG_L2_GROUP = 4096;
/** CWR is a bit of Accurate ECN's counter (RFC 9768): segmentation leaves it on every segment, not on the first alone. */
export const FLAG_ACE = 8192;
/** Has been through the rules on its way out, and misses only its link-layer header. */
export const FLAG_PASSED = 16384;
/** Was being forwarded, not sent by this host. */
export const FLAG_FORWARDED = 32768;
/** Put together from fragments by the host layer: whoever sends it on may cut it again. */
export const FLAG_REASSEMBLED = 65536;
/** For a group, a broadcast or link-local: never forwarded; DESC_NEXT_HOP says with which reason it goes to the host layer, after the rules. */
export const FLAG_SCOPED = 131072;
/** It had a flow when it left the road; and of what this host says about such a packet, which is of that flow, or related to it (nf_ct_attach). */
export const FLAG_ATTACHED = 262144;
/** A frame on a bridge, for neither a group nor the port that it came by. */
export const FLAG_L2_OTHER = 524288;
/** Rules tell what they do with it (`meta nftrace`); its number is TRACE_NUMBER. */
export const FLAG_TRACED = 1048576;

export const GSO_NONE = 0;
export const GSO_TCP4 = 1;
export const GSO_TCP6 = 2;
export const GSO_UDP4 = 3;
export const GSO_UDP6 = 4;

// ── Rings: head and tail on lines of their own ──────────────────────────────────────────────────
/*
 * SPSC ring of descriptor ids:  +0 head (consumer) | +64 tail (producer) | +128 rejected | +192 ids
 * MPSC punt ring of records:    the same, then records {sequence, id, reason, argument}
 */
export const RING_HEAD = 0;
export const RING_TAIL = 64;
export const RING_REJECTED = 128;
export const RING_IDS = 192;
export const RING_HEADER_SIZE = 192;
export const PUNT_SEQUENCE = 0;
export const PUNT_ID = 4;
export const PUNT_REASON = 8;
export const PUNT_ARGUMENT = 12;
export const PUNT_SIZE = 16;

/* Reserve of free descriptors shared by all workers: +0 lock | +64 count | +128 ids */
export const RESERVE_LOCK = 0;
export const RESERVE_COUNT = 64;
export const RESERVE_IDS = 128;
export const RESERVE_HEADER_SIZE = 128;
export const POOL_BUFFERS = 0;
export const POOL_BARE = 1;

// ── Counters, per worker, u64 each ──────────────────────────────────────────────────────────────
export const DROP_NONE = 0;
export const DROP_ETHER_TOO_SHORT = 1;
export const DROP_ETHER_TYPE_UNKNOWN = 2;
export const DROP_ETHER_NOT_FOR_US = 3;
export const DROP_VLAN_TOO_SHORT = 4;
export const DROP_VLAN_NOT_MEMBER = 5;
export const DROP_IP4_TOO_SHORT = 6;
export const DROP_IP4_BAD_VERSION = 7;
export const DROP_IP4_BAD_HEADER_LENGTH = 8;
export const DROP_IP4_BAD_TOTAL_LENGTH = 9;
export const DROP_IP4_BAD_CHECKSUM = 10;
export const DROP_IP4_MARTIAN_SOURCE = 11;
export const DROP_IP4_MARTIAN_DESTINATION = 12;
export const DROP_IP6_TOO_SHORT = 16;
export const DROP_IP6_BAD_VERSION = 17;
export const DROP_IP6_BAD_PAYLOAD_LENGTH = 18;
export const DROP_IP6_BAD_EXTENSION = 19;
export const DROP_IP6_TOO_MANY_EXTENSIONS = 20;
export const DROP_IP6_MARTIAN_SOURCE = 21;
export const DROP_IP6_MARTIAN_DESTINATION = 22;
export const DROP_IP6_MULTICAST_SCOPE = 23;
export const DROP_L2_BROADCAST_OF_UNICAST = 24;
export const DROP_NO_ROUTE = 25;
export const DROP_BLACKHOLE = 26;
export const DROP_DIRECTED_BROADCAST = 27;
export const DROP_RPF = 28;
export const DROP_BAD_NEXT_HOP = 29;
export const DROP_BAD_PORT = 30;
export const DROP_PORT_DOWN = 31;
export const DROP_TX_RING_FULL = 32;
export const DROP_PUNT_RING_FULL = 33;
export const DROP_NO_BUFFER = 34;
export const DROP_BRIDGE_SAME_PORT = 35;
export const DROP_BRIDGE_SOURCE_INVALID = 36;
export const DROP_BRIDGE_NO_PORT = 37;
export const DROP_HEADERS_SPLIT = 38;
export const DROP_BAD_DESCRIPTOR = 39;
export const DROP_SEGMENT_INVALID = 40;
export const DROP_TOO_LARGE = 41;
export const DROP_PROGRAM = 43;
/** A packet for somebody else at a port of a host that does not forward. */
export const DROP_NOT_FORWARDING = 42;
/** For a transport of this host: header not whole, or lengths that contradict each other. */
export const DROP_L4_BAD_LENGTH = 44;
export const DROP_L4_BAD_CHECKSUM = 45;
/** A rule's verdict, or a chain's policy. */
export const DROP_FILTER = 46;
/** Connection tracking had no room left for a new flow. */
export const DROP_FLOW_TABLE_FULL = 47;
/** No port was free for a flow that has to be translated. */
export const DROP_NAT_EXHAUSTED = 48;
/** A translated header that could not be written: not whole, or no buffer for a private copy. */
export const DROP_NAT_UNWRITABLE = 49;
/** The queue of an output port was at its limit. */
export const DROP_QUEUE_FULL = 50;
/** Active queue management decided so: RED, CoDel. */
export const DROP_QUEUE_AQM = 51;
/** Over a policer's rate. */
export const DROP_POLICED = 52;
/** A service without a backend that takes new flows. */
export const DROP_NO_BACKEND = 53;
/** Another worker made the same flow at the same time. */
export const DROP_FLOW_CLASH = 54;
/** It waited in a queue that was taken away. */
export const DROP_QUEUE_REMOVED = 55;
/** Came to a mapping's outer end from whom the mapping is not for. */
export const DROP_NAT_FILTERED = 56;
/** An address that has none in the other prefix (RFC 6296 §3.7), or no buffer for a private copy. */
export const DROP_NPT_UNMAPPABLE = 57;
/** Between the families: what has no counterpart in the other (RFC 7915). */
export const DROP_NAT64_UNTRANSLATABLE = 58;
/** Neither behind the prefix nor for a host that has an address of the pool. */
export const DROP_NAT64_UNMAPPED = 59;
export const DROP_NAT64_POOL_FULL = 60;

export const PUNT_ARP = 64;
/** The argument is the next hop and, above its 16 bits, the backend + 1 whose neighbour it is about instead of the destination's. */
export const PUNT_NEIGHBOUR = 65;
export const PUNT_TTL_EXCEEDED = 66;
export const PUNT_FRAGMENTATION_NEEDED = 67;
export const PUNT_PACKET_TOO_BIG = 68;
export const PUNT_LOCAL = 69;
export const PUNT_OPTIONS = 70;
export const PUNT_MULTICAST = 71;
export const PUNT_BROADCAST = 72;
export const PUNT_UNREACHABLE = 73;
export const PUNT_PROHIBIT = 74;
export const PUNT_LINK_CONTROL = 75;
export const PUNT_BEYOND_SCOPE = 76;
export const PUNT_LINK_LOCAL = 77;
/** A rule's reject: the argument is the kind of answer and its code. */
export const PUNT_REJECT = 78;
/** A rule's log: a copy of the packet; the argument is the number of the log statement. */
export const PUNT_LOG = 79;
/** A rule's queue: the host layer decides; the argument is the queue's number. */
export const PUNT_QUEUE = 80;
/** Payload for a helper of connection tracking (FTP, TFTP, SIP); the argument is the flow. */
export const PUNT_HELPER = 81;
/** A fragment of a network with tracking, to be reassembled first. */
export const PUNT_FRAGMENT = 82;
/** A handshake that the host layer answers for a server (SYNPROXY). */
export const PUNT_SYNPROXY = 83;
/** What a rule does with a packet that is followed: a copy of its headers (TRACE_*); the argument is the number of the rule. */
export const PUNT_TRACE = 84;

export const STAT_BURSTS = 96;
export const STAT_EMPTY_POLLS = 97;
export const STAT_RECEIVED = 98;
export const STAT_RECEIVED_BYTES = 99;
export const STAT_TRANSMITTED = 100;
export const STAT_TRANSMITTED_BYTES = 101;
export const STAT_COPIED_BYTES = 102;
export const STAT_CLONES = 103;
export const STAT_FLOODED = 104;
export const STAT_DOUBLE_FREES = 105;
export const STAT_RING_REJECTED = 106;
export const STAT_SEGMENTED = 107;
export const STAT_SEGMENTS = 108;
export const STAT_COALESCED = 109;
export const STAT_GENERATED = 110;
export const STAT_SUNK = 111;
export const STAT_LEARNED = 112;
export const STAT_BRIDGE_FULL = 113;
export const COUNTER_COUNT = 128;

// ── Worker: everything one worker touches and nobody else writes ────────────────────────────────
export const CACHE_CAPACITY = 1024;
export const GRO_FLOWS = 32;

export const WORKER_ID = 0;
export const WORKER_PORT_COUNT = 4;
export const WORKER_NOW = 8;
export const WORKER_TOUCHED = 12;
/** The engine's clock: nanoseconds (u64), and milliseconds that wrap (u32), as of the call in hand. */
export const WORKER_TIME = 16;
export const WORKER_TICKS = 40;
/** Bytes of the burst in hand. */
export const WORKER_BURST_BYTES = 24;
export const WORKER_ON4 = 32;
export const WORKER_ON6 = 36;
/** Was a packet of the burst in hand out of the ordinary (a fragment, scoped, …)? And what is to be translated of the flows that were found: IPS_SRC_NAT, IPS_DST_NAT. */
export const WORKER_IS_ODD = 44;
export const ODD = 1;
/** Some are of a VLAN that the port is not in, and are here for the rules at ingress alone. */
export const ODD_FOREIGN = 2;
export const WORKER_TURNS = 48;
/** So many packets have been followed. */
export const WORKER_TRACES = 52;
/** Which of its ports has the next turn. */
export const WORKER_NEXT_PORT = 56;
export const WORKER_EPOCH = 64;
/** What the worker is doing: STATE_*. */
export const WORKER_STATE = 68;
export const STATE_STOPPED = 0;
export const STATE_POLLING = 1;
export const STATE_SLEEPING = 2;
/** A fault stopped the thread; its message went to the calling thread. */
export const STATE_FAILED = 3;
export const WORKER_SLEEPS = 72;
export const WORKER_BUFFER_COUNT = 136;
export const WORKER_BARE_COUNT = 140;
export const WORKER_PORTS = 192;
export const WORKER_COUNTERS = WORKER_PORTS + 2 * MAX_PORTS;
export const WORKER_BUFFER_CACHE = WORKER_COUNTERS + 8 * COUNTER_COUNT;
export const WORKER_BARE_CACHE = WORKER_BUFFER_CACHE + 4 * CACHE_CAPACITY;
export const VEC_IDS = WORKER_BARE_CACHE + 4 * CACHE_CAPACITY;
export const VEC_NEXT = VEC_IDS + 4 * BURST;
export const VEC_LIST4 = VEC_NEXT + 2 * BURST;
export const VEC_LIST6 = VEC_LIST4 + 2 * BURST;
export const VEC_ADDR4 = VEC_LIST6 + 2 * BURST;
export const VEC_SRC4 = VEC_ADDR4 + 4 * BURST;
export const VEC_ADDR6 = VEC_SRC4 + 4 * BURST;
export const VEC_SRC6 = VEC_ADDR6 + 16 * BURST;
export const VEC_RESULT = VEC_SRC6 + 16 * BURST;
export const VEC_WORK = VEC_RESULT + 4 * BURST;
export const VEC_OUT = VEC_WORK + 2 * BURST;
/** One id on its own. */
export const VEC_ONE = VEC_OUT + 4 * 2 * BURST;
export const VEC_TOUCHED = VEC_ONE + 16;
export const STAGE_COUNTS = VEC_TOUCHED + 2 * MAX_PORTS;
export const WORKER_GRO = STAGE_COUNTS + 4 * MAX_PORTS;
export const GRO_SIZE = 32;

// What rules and tracking know of a packet, by its position in the burst (not by its place in a list).
/** Flow × 2 + direction (0 original, 1 reply); 0: none. Flow 0 does not exist. */
export const VEC_FLOW = WORKER_GRO + GRO_FLOWS * GRO_SIZE;
/** meta priority; and what a verdict has to say beside itself. */
export const VEC_PRIORITY = VEC_FLOW + 4 * BURST;
export const VEC_ARGUMENT = VEC_PRIORITY + 4 * BURST;
/** Output port, once routed; NO_PORT before. */
export const VEC_OIF = VEC_ARGUMENT + 4 * BURST;
/** One of CT_*. */
export const VEC_CTINFO = VEC_OIF + 2 * BURST;
/** One of VERDICT_*. */
export const VEC_VERDICT = VEC_CTINFO + BURST;
/** A list of positions for one segment of rules. */
export const VEC_SEGMENT = VEC_VERDICT + BURST;
/** Working memory of compiled rules: keys of sets, records of translations. */
export const WORKER_SCRATCH = VEC_SEGMENT + 2 * BURST;
export const WORKER_SCRATCH_SIZE = 512;
/** Packets that tracking has not seen before, by position. */
export const VEC_MISSES = WORKER_SCRATCH + WORKER_SCRATCH_SIZE;
/** Packets of the list in hand that are for this host, by position. */
export const VEC_LOCAL = VEC_MISSES + 2 * BURST;
/**
 * The zone that rules have put a packet into which is not tracked yet (it has no flow, and is CT_NEW), and of which direction's tuple that is not
 * the zone. Of networks with NETNS_ZONES only.
 */
export const VEC_ZONE = VEC_LOCAL + 2 * BURST;
export const ZONE_NOT_ORIGINAL = 0x10000;
export const ZONE_NOT_REPLY = 0x20000;
/** Tuples in hand (TUPLE_SIZE each). */
export const WORKER_TUPLES = VEC_ZONE + 4 * BURST;
export const WORKER_TUPLES_SIZE = 9 * 48;
/** Not a power of two, so that two workers' lines never share cache sets. */
/** Base chains that the packet in hand has passed in a segment already | the segment + 1 << 8: it has waited for a verdict there. */
export const WORKER_RESUME = WORKER_TUPLES + WORKER_TUPLES_SIZE;
/** The segment that runs. */
export const WORKER_SEGMENT = WORKER_RESUME + 4;
/** A packet waits since sendThrough has begun: it is not lost. */
export const WORKER_PARKED = WORKER_RESUME + 8;
export const WORKER_SIZE = WORKER_RESUME + 192;
export const NO_PORT = 0xffff;

/** Per worker and port: ids waiting for one flush per burst. */
export const STAGE_CAPACITY = 512;

/** "this packet was dropped, punted or handed over already" in VEC_NEXT. */
export const NEXT_DONE = 0xffff;
/** "an ingress program has not let it through yet". */
export const NEXT_PENDING = 0xfffe;

// ── Transport records: what the host layer reads of a segment, and what it wants built ──────────
/*
 * Words of 32 bits in host order; IPv4 addresses stand as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
 *
 * Received, by transportRead:
 *   +0  family, protocol, traffic class, hop limit (u8 each) | flow label | source (4 words)
 *  +24  destination (4 words) | source port | destination port | payload offset in the frame | payload length
 *  +56  TCP: sequence | acknowledgement | flags | window | urgent pointer | options address | options length
 *  +84  TSval | TSecr | largest piece (MSS of a coalesced packet, else the payload) | option kinds seen
 *
 * To be built, by tcpBuild and udpBuild: the same up to the ports, then
 *  +40  source port | destination port | identification | segment size, 0 without | pieces
 *  +60  sequence | acknowledgement | flags | window | urgent pointer | option bytes | options (40)
 * +124  pieces: {address, bytes, address of a reference count or 0} …
 */
export const SEG_FAMILY = 0;
export const SEG_PROTOCOL = 1;
export const SEG_TRAFFIC_CLASS = 2;
export const SEG_HOP_LIMIT = 3;
export const SEG_FLOW_LABEL = 4;
export const SEG_SOURCE = 8;
export const SEG_DESTINATION = 24;
export const SEG_SOURCE_PORT = 40;
export const SEG_DESTINATION_PORT = 44;
export const SEG_PAYLOAD = 48;
export const SEG_PAYLOAD_LENGTH = 52;
export const SEG_SEQUENCE = 56;
export const SEG_ACKNOWLEDGEMENT = 60;
export const SEG_FLAGS = 64;
export const SEG_WINDOW = 68;
export const SEG_URGENT = 72;
export const SEG_OPTIONS = 76;
export const SEG_OPTIONS_LENGTH = 80;
export const SEG_TSVAL = 84;
export const SEG_TSECR = 88;
export const SEG_PIECE = 92;
/** Bit 0: timestamps and nothing else but padding; bit 1: other options. */
export const SEG_OPTION_KINDS = 96;
export const SEG_SIZE = 128;
export const SEG_TIMESTAMPS = 1;
export const SEG_OTHER_OPTIONS = 2;

/** Sixteen bits, and whether routers may cut the packet. */
export const OUT_IDENTIFICATION = 48;
export const OUT_MAY_BE_CUT = 0x10000;
export const OUT_SEGMENT_SIZE = 52;
export const OUT_PIECES = 56;
export const OUT_SEQUENCE = 60;
export const OUT_ACKNOWLEDGEMENT = 64;
export const OUT_FLAGS = 68;
/** Beside TCP's flags: CWR is a bit of Accurate ECN's counter. */
export const OUT_ACE = 512;
export const OUT_WINDOW = 72;
export const OUT_URGENT = 76;
export const OUT_OPTION_BYTES = 80;
export const OUT_OPTIONS = 84;
export const OUT_PIECE = 124;
export const OUT_PIECE_SIZE = 12;
export const OUT_MOST_PIECES = 16;
export const OUT_SIZE = OUT_PIECE + OUT_MOST_PIECES * OUT_PIECE_SIZE;

/** What transportRead found; 0 is "dropped and released". */
export const TRANSPORT_TCP = 1;
export const TRANSPORT_UDP = 2;
export const TRANSPORT_ICMP = 3;
export const TRANSPORT_OTHER = 4;
export const TRANSPORT_FRAGMENT = 5;

/** What packetRoute did; on anything but SENT the packet stays with the caller. */
export const SENT = 0;
export const SENT_NEIGHBOUR = 1;
export const SENT_TOO_BIG = 2;
export const SENT_NO_ROUTE = 3;
export const SENT_LOCAL = 4;
/** A rule ended it: it is gone already. */
export const SENT_FILTERED = 5;

// ── Ports ───────────────────────────────────────────────────────────────────────────────────────
/*
 *   +0  kind u8 | mode u8 | flags u16 | mtu u32 | mac (6 bytes, then two zero bytes)
 *  +16  table4 u16 | table6 u16 | bridge u16 | bridge member u16 | pvid u16 | netns + 1 u16 | … | samples, program u32 | +40 queue, policers out, in u32 | rules4, rules6 u32
 *  +64  rx rings (MAX_WORKERS × u32) | +128 tx rings (MAX_WORKERS × u32)
 */
export const PORT_SIZE = 192;
export const PORT_KIND = 0;
export const PORT_MODE = 1;
export const PORT_FLAGS = 2;
export const PORT_MTU = 4;
export const PORT_MAC = 8;
export const PORT_TABLE4 = 16;
export const PORT_TABLE6 = 18;
export const PORT_BRIDGE = 20;
export const PORT_MEMBER = 22;
export const PORT_PVID = 24;
/** Network with rules that the port belongs to, plus one; 0: packets meet no rules and are not tracked. */
export const PORT_NETNS = 26;
export const PORT_SINK_SAMPLES = 32;
/** Entry + 1 of the imported function table that sees every classified burst, or 0. */
export const PORT_PROGRAM = 36;
/** QROOT_* of what waits at this port's output, or 0. One load of eight bytes sees it and the policers behind it. */
export const PORT_QUEUE = 40;
/** First of the policers that look at what leaves, and at what comes in; or 0. */
export const PORT_POLICE_OUT = 44;
export const PORT_POLICE_IN = 48;
/** Rules by which what comes in is looked up (RULES_*), or 0: by table4 and table6 alone. */
export const PORT_RULES4 = 52;
export const PORT_RULES6 = 56;
export const PORT_RX = 64;
export const PORT_TX = 128;

/*
 * Rules of policy routing, of one family, in the order in which they are asked: how many u32 | … | +16 rules.
 *   +0  RULE_* flags u8 | spare u8 | table u16 | next hop u32 (0: look into the table) | mark u32 | its mask u32
 *  +16  protocol u32, or RULE_PROTOCOL_ANY | source ports, lowest and highest u16 | destination ports likewise | port it comes in by u32, or RULE_IIF_ANY
 *  +32  source (16 bytes, IPv4 in the first four) | its mask | destination | its mask
 */
export const RULES_COUNT = 0;
export const RULES_FIRST = 16;
export const RULE_SIZE = 96;
export const RULE_FLAGS = 0;
export const RULE_TABLE = 2;
export const RULE_HOP = 4;
export const RULE_MARK = 8;
export const RULE_MARK_MASK = 12;
export const RULE_PROTOCOL = 16;
export const RULE_SOURCE_PORTS = 20;
export const RULE_DESTINATION_PORTS = 24;
export const RULE_IIF = 28;
export const RULE_SOURCE = 32;
export const RULE_SOURCE_MASK = 48;
export const RULE_DESTINATION = 64;
export const RULE_DESTINATION_MASK = 80;
/** The rule holds for what its selectors do not describe. */
export const RULE_NOT = 1;
/** Ports count. */
export const RULE_PORTS = 2;
/** Its selectors describe nothing that comes in. */
export const RULE_NEVER = 4;
export const RULE_PROTOCOL_ANY = 0x100;
export const RULE_IIF_ANY = 0xffffffff;

export const KIND_RINGS = 1;
/** Receives what its generator makes; what is sent to it is counted, sampled and freed. */
export const KIND_GENERATOR = 2;

export const MODE_ROUTED = 0;
export const MODE_BRIDGED = 1;

export const PORT_UP = 1;
export const PORT_RPF_STRICT = 2;
export const PORT_RPF_LOOSE = 4;
export const PORT_PROMISCUOUS = 8;
/** The device takes scatter-gather chains; otherwise packets are made contiguous for it. */
export const PORT_TAKES_CHAINS = 16;
/** The device segments by itself. */
export const PORT_TAKES_GSO = 32;
/** The device completes checksums by itself. */
export const PORT_TAKES_PARTIAL = 64;
/** Coalesce what arrives here for local delivery. */
export const PORT_GRO = 128;
export const PORT_PUNT_OPTIONS = 256;
/** Not a router: what is for somebody else is dropped. */
export const PORT_HOST = 512;
/** The device segments what has CWR as a bit of Accurate ECN's counter, and leaves it on every segment. */
export const PORT_TAKES_ACE = 1024;
/** What leaves by it comes in by it, in the other family. */
export const PORT_FAMILIES = 2048;
/** Frames of a VLAN are for interfaces that are not here; rules at ingress see them, and nobody else. */
export const PORT_UNTAGGED = 4096;

/** Per worker and port: packets and bytes in and out, drops on output; u64 each. Behind MULTICAST the devices' own (src/engine/link-stats.ts). */
export const PORT_STAT_SIZE = 128;
export const PORT_STAT_RX_PACKETS = 0;
export const PORT_STAT_RX_BYTES = 8;
export const PORT_STAT_TX_PACKETS = 16;
export const PORT_STAT_TX_BYTES = 24;
export const PORT_STAT_TX_DROPPED = 32;
export const PORT_STAT_RX_DROPPED = 40;
export const PORT_STAT_RX_MULTICAST = 48;
export const PORT_STAT_RX_ERRORS = 56;
export const PORT_STAT_RX_MISSED = 64;
/** Left the engine, but not the device: refused, without a carrier, without a place. */
export const PORT_STAT_TX_ERRORS = 72;
export const PORT_STAT_TX_CARRIER = 80;
export const PORT_STAT_TX_LOST = 88;
export const PORT_STAT_UNSENT_BYTES = 96;

// ── Next hops: local to a table, so that a leaf is the index ────────────────────────────────────
// A table of addresses (u32 each) comes first, then two versions of every hop: the one in use is never written.
// The other is filled, the address swapped, and readers see the old hop or the new one.
/*
 *  +0 kind u8 | l2 length u8 | port u16 | mtu u32 | id u32 (the host's) | group: buckets u32
 * +16 group mask u32 | …
 * +32 L2 header, right-aligned in 32 bytes: one or two 16-byte stores write it
 */
export const HOP_SIZE = 64;
export const HOP_VERSIONS = 2;
export const HOP_KIND = 0;
export const HOP_L2_LENGTH = 1;
export const HOP_PORT = 2;
export const HOP_MTU = 4;
export const HOP_ID = 8;
export const HOP_BUCKETS = 12;
export const HOP_MASK = 16;
export const HOP_REWRITE = 32;
export const HOP_REWRITE_SIZE = 32;

export const HOP_NO_ROUTE = 0;
export const HOP_FORWARD = 1;
/** Connected subnet: the neighbour is the destination itself and not known yet. */
export const HOP_GLEAN = 2;
/** A gateway whose link-layer address is not known yet. */
export const HOP_INCOMPLETE = 3;
export const HOP_LOCAL = 4;
export const HOP_BLACKHOLE = 5;
export const HOP_UNREACHABLE = 6;
export const HOP_PROHIBIT = 7;
export const HOP_GROUP = 8;
export const HOP_BROADCAST = 9;

// ── Tables (FIB) ────────────────────────────────────────────────────────────────────────────────
/*
 *   +0 family | leaf bytes | root | hops | hop limit | routes | best (cold) | slots (cold)
 *  +32 uniform nodes | shorts (cold) | pages (cold) | hot bytes | last error
 *  +64 IPv4: bits of this host's own addresses, by OWN_ADDRESS_HASH: who has none of them is nobody's own
 */
export const TABLE_SIZE = 128;
export const TABLE_FAMILY = 0;
export const TABLE_LEAF_BYTES = 4;
export const TABLE_ROOT = 8;
export const TABLE_HOPS = 12;
export const TABLE_HOP_LIMIT = 16;
export const TABLE_ROUTES = 20;
export const TABLE_SHORTS = 24;
export const TABLE_SLOTS = 28;
export const TABLE_UNIFORM = 32;
export const TABLE_PAGES = 36;
/** While set, routes are only recorded; nodes are made by one pass at the end (bulk load). */
export const TABLE_DEFERRED = 40;
/** Set when memory ran out between lists and nodes: the next change rebuilds everything first. */
export const TABLE_DIRTY = 44;
export const TABLE_OWN = 64;
/** The bit of an address (as it lies in a packet): the top nine of its product with this. */
export const OWN_ADDRESS_HASH = 0x9e3779b1;
/** "no table" in a port. */
export const NO_TABLE = 0xffff;

/** Results of route changes: positive = done. */
export const ROUTE_ADDED = 1;
export const ROUTE_REPLACED = 2;
export const ROUTE_REMOVED = 3;
export const ROUTE_ABSENT = 0;
export const ROUTE_NO_MEMORY = -1;
export const ROUTE_BAD_ARGUMENT = -2;
export const ROUTE_BUSY = -3;

/** IPv4: an 18-bit root, one 6-bit node, and 8 bits behind an escape leaf. */
export const FIB4_ROOT_BITS = 18;
/** IPv6: a 16-bit root, 10-bit pages, 6-bit nodes, then search nodes of 16 bits. */
export const FIB6_ROOT_BITS = 16;
export const FIB6_PAGE_BITS = 10;

/*
 * Arena (one for hot nodes, one for the cold route lists):
 *   +0 bump | end | bytes in use | peak bump | limbo head, tail, capacity, address
 *  +64 free lists by size class (u32 × 320)
 */
export const ARENA_BUMP = 0;
export const ARENA_END = 4;
export const ARENA_USED = 8;
export const ARENA_LIMBO_HEAD = 16;
export const ARENA_LIMBO_TAIL = 20;
export const ARENA_LIMBO_CAPACITY = 24;
export const ARENA_LIMBO = 28;
export const ARENA_SCRATCH = 32;
export const ARENA_SCRATCH_SIZE = 36;
export const ARENA_CLASSES = 64;
export const ARENA_CLASS_COUNT = 320;
export const ARENA_HEADER_SIZE = 64 + 4 * ARENA_CLASS_COUNT;
export const LIMBO_SIZE = 12;

// ── Bridges ─────────────────────────────────────────────────────────────────────────────────────
/*
 * Bridge: +0 bucket mask | ageing seconds | members that forward u64 | +16 member ports (64 × u16) | +144 vlan filtering | largest frame | member of the host u64, or 0
 *         +192 vlans (4096 × {members u64, untagged u64}) | then buckets of 4 × {key u64, seen u32, member u32}
 */
export const BRIDGE_MASK = 0;
export const BRIDGE_AGEING = 4;
/** A bit each. */
export const BRIDGE_ACTIVE = 8;
export const BRIDGE_PORTS = 16;
export const BRIDGE_FILTERING = 144;
/** Bytes of the largest frame that every member takes. */
export const BRIDGE_LARGEST = 148;
/** The bit of the member that leads to the bridge's own host: an interface that is the bridge. */
export const BRIDGE_HOST = 152;
export const BRIDGE_VLANS = 192;
export const BRIDGE_MAX_MEMBERS = 64;
export const BRIDGE_VLAN_SIZE = 16;
export const BRIDGE_BUCKETS = BRIDGE_VLANS + 4096 * BRIDGE_VLAN_SIZE;
export const STATION_SIZE = 16;
export const STATION_KEY = 0;
export const STATION_SEEN = 8;
export const STATION_MEMBER = 12;
export const STATIONS_PER_BUCKET = 4;
/** A station that never ages (STATION_SEEN). */
export const SEEN_STATIC = 0xffffffff;

// ── Generators ──────────────────────────────────────────────────────────────────────────────────
/*
 *  +0 templates | how many | stream (0: none) | stream length in entries; each worker has a generator of its own
 * +16 next template | next stream entry | family (4 or 6) | next flow
 * +32 packets left (u64, all ones = endless) | flows | how many
 * Template: 16 bytes {frame length u32, …} and TEMPLATE_FRAME_SIZE bytes of frame. Flow i is written over template i modulo their number.
 */
export const GENERATOR_SIZE = 64;
export const GEN_TEMPLATES = 0;
export const GEN_TEMPLATE_COUNT = 4;
export const GEN_STREAM = 8;
export const GEN_STREAM_LENGTH = 12;
export const GEN_NEXT_TEMPLATE = 16;
export const GEN_NEXT_STREAM = 20;
export const GEN_FAMILY = 24;
export const GEN_NEXT_FLOW = 28;
export const GEN_LEFT = 32;
export const GEN_FLOWS = 40;
export const GEN_FLOW_COUNT = 44;
export const TEMPLATE_SIZE = 96;
export const TEMPLATE_LENGTH = 0;
export const TEMPLATE_FRAME = 16;
export const TEMPLATE_FRAME_SIZE = 80;
/*
 * What frames of a flow have of their own, as it lies in them: source and destination address, ports; of IPv4 the identification; the checksum of
 * IPv4's header or of UDP over IPv6, in front of a stream the sum without the destination.
 */
export const GENFLOW4_SIZE = 16;
export const GENFLOW4_PORTS = 8;
export const GENFLOW4_ID = 12;
export const GENFLOW4_SUM = 14;
export const GENFLOW6_SIZE = 40;
export const GENFLOW6_PORTS = 32;
export const GENFLOW6_SUM = 36;

/* Sample ring of a sink: +0 stride (every n-th packet) | countdown | capacity | written | +64 slots {length u32, port u32, sequence u64, bytes} */
export const SAMPLES_STRIDE = 0;
export const SAMPLES_COUNTDOWN = 4;
export const SAMPLES_CAPACITY = 8;
export const SAMPLES_WRITTEN = 12;
/** The worker whose packets are sampled. */
export const SAMPLES_WORKER = 16;
export const SAMPLES_SLOTS = 64;
export const SAMPLE_SIZE = 144;
export const SAMPLE_LENGTH = 0;
export const SAMPLE_PORT = 4;
export const SAMPLE_BYTES = 16;
export const SAMPLE_BYTES_SIZE = 128;

// ── Rules ───────────────────────────────────────────────────────────────────────────────────────
/* Port as rules see it: +0 name (16 bytes, zero-padded) | +16 index u32 | type u32 (ARPHRD_*) | group u32 | +32 kind (16 bytes) | +48 IPv4 address, 0 without | +64 IPv6 address (16) */
export const IFACE_SIZE = 96;
export const IFACE_NAME = 0;
export const IFACE_NAME_SIZE = 16;
export const IFACE_INDEX = 16;
export const IFACE_TYPE = 20;
export const IFACE_GROUP = 24;
/** Of a bridge's port: the VLAN of untagged frames. */
export const IFACE_PVID = 28;
export const IFACE_KIND = 32;
/** What masquerade and redirect put in (network order). */
export const IFACE_ADDRESS4 = 48;
export const IFACE_ADDRESS6 = 64;
/** Name of the bridge that it is a port of, or nothing. */
export const IFACE_BRIDGE = 80;

/*
 * Network with rules:  +0 flags | +4 kind of its tuples: its number | +8 programs (u32 × SEGMENT_COUNT): entry + 1 of the function table, or 0 |
 *   +124 pairs of prefixes, +128 the pairs | +512 the way between the families
 *
 * The base chains of a hook are cut where tracking and translation stand (linux/netfilter_ipv4.h, NF_IP_PRI_*), and what is
 * between two cuts is one function: (worker, list, n), `list` the address of n u16 positions in the burst. It writes
 * VEC_VERDICT for each of them. Chains of type nat see only the first packet of a flow.
 */
export const NETNS_SIZE = 1088;
export const NETNS_FLAGS = 0;
export const NETNS_KIND = 4;
export const NETNS_PROGRAMS = 8;
/** Pairs of prefixes (RFC 6296), and how many there are and may be. */
export const NETNS_PAIR_COUNT = 124;
export const NETNS_PAIRS = 128;
export const NETNS_MOST_PAIRS = 8;
/* The way between the families (RFC 6146): +0 prefix (16) | +16 its length u8 | +20 first address of the pool u32, how many | +28 identifications given */
export const NETNS_NAT64 = 512;
export const NAT64_PREFIX = 0;
export const NAT64_LENGTH = 16;
export const NAT64_POOL = 20;
export const NAT64_POOL_SIZE = 24;
export const NAT64_COUNTER = 28;
/** Ports that its host's own sockets are on, by their last twelve bits: a bit each. No mapping takes one. */
export const NETNS_OWN_PORTS = 576;
export const OWN_PORTS = 4096;
/* Pair: +0 inner prefix | +16 outer prefix (network order, zeros behind) | +32 length u8, – u8, port of the outer side u16 | what a word gains on its way out u16 */
export const NPT_SIZE = 48;
export const NPT_INSIDE = 0;
export const NPT_OUTSIDE = 16;
export const NPT_LENGTH = 32;
export const NPT_PORT = 34;
export const NPT_ADJUST = 36;
/** IPv4 flows are tracked: something in the rules asks for it (ct, nat), or the host does. */
export const NETNS_TRACK = 1;
/** Fragments are reassembled before tracking. */
export const NETNS_DEFRAG = 2;
/** There are chains of type nat: even flows that none of them translates get answers of their own. */
export const NETNS_NAT = 4;
/** There may be services: first packets ask for a backend. */
export const NETNS_BALANCE = 8;
/** Flows may have helpers: what they carry goes by the host layer. */
export const NETNS_HELPERS = 16;
/** As NETNS_TRACK, for IPv6: each family is tracked when rules of it ask. */
export const NETNS_TRACK6 = 32;
/** Handshakes are answered in servers' places: flows of theirs have their numbers moved. */
export const NETNS_SYNPROXY = 64;
/** Rules put packets into zones. */
export const NETNS_ZONES = 128;

/** Priorities from -400 to -201, before tracking (-200). */
export const SEGMENT_PREROUTING_RAW = 0;
/** -200 to -101. */
export const SEGMENT_PREROUTING = 1;
export const SEGMENT_PREROUTING_NAT = 2;
/** From -100 on, after destinations are translated. */
export const SEGMENT_PREROUTING_LATE = 3;
/** Up to 99. */
export const SEGMENT_INPUT = 4;
export const SEGMENT_INPUT_NAT = 5;
export const SEGMENT_INPUT_LATE = 6;
export const SEGMENT_FORWARD = 7;
export const SEGMENT_OUTPUT_RAW = 8;
export const SEGMENT_OUTPUT = 9;
export const SEGMENT_OUTPUT_NAT = 10;
export const SEGMENT_OUTPUT_LATE = 11;
/** Up to 99. */
export const SEGMENT_POSTROUTING = 12;
export const SEGMENT_POSTROUTING_NAT = 13;
export const SEGMENT_POSTROUTING_LATE = 14;
export const SEGMENT_INGRESS = 15;
export const SEGMENT_EGRESS = 16;
/** Up to -401: before fragments are put together (-400). */
export const SEGMENT_PREROUTING_FIRST = 17;
/** Of the families arp and bridge. */
export const SEGMENT_ARP_INPUT = 18;
export const SEGMENT_ARP_OUTPUT = 19;
export const SEGMENT_BRIDGE_PREROUTING = 20;
export const SEGMENT_BRIDGE_FORWARD = 21;
export const SEGMENT_BRIDGE_POSTROUTING = 22;
/** To and from the host that is on the bridge itself. */
export const SEGMENT_BRIDGE_INPUT = 23;
export const SEGMENT_BRIDGE_OUTPUT = 24;
export const SEGMENT_COUNT = 25;

export const VERDICT_DROP = 0;
export const VERDICT_ACCEPT = 1;
/** The argument is the queue's number. */
export const VERDICT_QUEUE = 3;
/** The argument is the type (REJECT_*) << 8 | ICMP code. */
export const VERDICT_REJECT = 4;
/** Taken over by a statement (synproxy, fwd): nothing more happens to it here. */
export const VERDICT_STOLEN = 5;
/** Translation found no port, or no address to put in. */
export const VERDICT_NO_PORT = 6;
export const VERDICT_NO_BACKEND = 7;
/** A mapping is not for whom it comes from (RFC 4787 §5). */
export const VERDICT_FILTERED = 8;
export const REJECT_ICMP = 0;
export const REJECT_TCP_RESET = 1;

/** enum ip_conntrack_info, and what the kernel keeps apart from it. */
export const CT_ESTABLISHED = 0;
export const CT_RELATED = 1;
export const CT_NEW = 2;
export const CT_ESTABLISHED_REPLY = 3;
export const CT_RELATED_REPLY = 4;
export const CT_UNTRACKED = 7;
export const CT_INVALID = 8;

/* What compiled rules ask of translation: +0 kind u8 (0 source, 1 destination) | family u8 | flags u16 | ports from, to u16 (host order) | +8 address from (16) | +24 to (16) */
export const NATREQ_KIND = 0;
export const NATREQ_FAMILY = 1;
/** NF_NAT_RANGE_* of linux/netfilter/nf_nat.h; and 1 << 15: the address of the output port (masquerade) or of the input port (redirect). */
export const NATREQ_FLAGS = 2;
export const NATREQ_MIN_PORT = 4;
export const NATREQ_MAX_PORT = 6;
export const NATREQ_MIN = 8;
export const NATREQ_MAX = 24;
export const NATREQ_SIZE = 40;
export const NAT_SOURCE = 0;
export const NAT_DESTINATION = 1;
export const NAT_OWN_ADDRESS = 0x8000;
/** The source's mapping is the same whatever it talks to (RFC 4787 §4.1); and who may use it from outside: anybody, hosts it has talked to, nobody else. */
export const NAT_FULL_CONE = 0x100;
export const NAT_RESTRICTED_CONE = 0x200;
export const NAT_PORT_RESTRICTED_CONE = 0x400;

// ── Sets, maps and state of rules (in REGION_FILTER) ────────────────────────────────────────────
/*
 * Set:
 *   +0  kind u8 | flags u8 | words of the key u16 | bytes of an element | tags, or root of the intervals | elements
 *  +16  mask of groups | elements in use | places left before it grows | elements at most (0: no limit)
 *  +32  life of a new element, ns (u64, 0: for ever) | when the next search for expired ones may begin, ns (u64)
 *  +48  catch-all element, or 0 | bytes that new elements' expressions begin with, or 0 | offset of expressions | bytes of them
 *  +64  offset of data | offset of expiry | refused elements | offset of the list of flows, or 0
 *  +80  ns between two searches (u64) | bytes of the block of tags and elements
 *
 * Element: key (words, zero-padded) | data | expiry: when, ns (u64; 0 never), life, ns (u64) | expressions: has any u32, spare, state
 * Hash sets: groups of 16 tags (0 free, 1 deleted, else 128 | 7 bits of the hash), then the elements in the same order.
 * Intervals: a node for each field of the key (NODE_*), the last one's values are elements.
 */
export const SET_HEADER_SIZE = 96;
export const SET_KIND = 0;
export const SET_FLAGS = 1;
export const SET_KEY_WORDS = 2;
export const SET_STRIDE = 4;
export const SET_TAGS = 8;
export const SET_ELEMENTS = 12;
export const SET_MASK = 16;
export const SET_COUNT = 20;
export const SET_LEFT = 24;
export const SET_LIMIT = 28;
export const SET_LIFE = 32;
export const SET_NEXT_SEARCH = 40;
export const SET_CATCH_ALL = 48;
export const SET_TEMPLATE = 52;
export const SET_EXPRESSIONS = 56;
export const SET_EXPRESSION_BYTES = 60;
export const SET_DATA = 64;
export const SET_EXPIRY = 68;
export const SET_REFUSED = 72;
export const SET_FLOWS = 76;
export const SET_SEARCH_INTERVAL = 80;
export const SET_BLOCK = 88;
export const SET_HASH = 0;
export const SET_INTERVALS = 1;
export const SET_GROUP = 16;
/** Bytes in front of the state of an element's expressions: 1 when it has them. */
export const SET_EXPRESSIONS_HEAD = 8;

/*
 * Node of intervals, over one field of a key:
 *   +0 starts | offset of the field in the key u16, NODE_IS_* u16 | masks of the field (u64 × 2, network order)
 *  +24 starts in rising order, the first is 0 (u32, or u64 × 2 high first), then a value for each: node, element or 0 (u32)
 */
export const NODE_COUNT = 0;
export const NODE_FIELD = 4;
export const NODE_KIND = 6;
export const NODE_MASKS = 8;
export const NODE_STARTS = 24;
/** Starts of 16 bytes instead of 4; values are elements. */
export const NODE_IS_WIDE = 1;
export const NODE_IS_LAST = 2;

/* Counter: packets, bytes (u64). Quota: used, quota (u64) | over. Last: seen (u32), spare, when, ns (u64). */
export const COUNTER_PACKETS = 0;
export const COUNTER_BYTES = 8;
export const QUOTA_USED = 0;
export const QUOTA_BYTES = 8;
export const QUOTA_OVER = 16;
export const LAST_SEEN = 0;
export const LAST_TIME = 8;
/* Limit: tokens | when they were counted | most (ns, u64) | ns of a packet, or of the unit for bytes | bytes of the unit, or 0 (u64) | over */
export const LIMIT_TOKENS = 0;
export const LIMIT_TIME = 8;
export const LIMIT_MOST = 16;
export const LIMIT_COST = 24;
export const LIMIT_RATE = 32;
export const LIMIT_OVER = 40;
/* Connections at once: list of {flow, signature} or 0 | capacity | in use | limit | over */
export const CONNLIMIT_LIST = 0;
export const CONNLIMIT_CAPACITY = 4;
export const CONNLIMIT_COUNT = 8;
export const CONNLIMIT_LIMIT = 12;
export const CONNLIMIT_OVER = 16;

/** Where a load begins: link-layer header, network header, transport header, its payload. */
export const BASE_LINK = 0;
export const BASE_NETWORK = 1;
export const BASE_TRANSPORT = 2;
export const BASE_INNER = 3;
/** Where options are looked for. */
export const OPTION_IP6 = 0;
export const OPTION_TCP = 1;
export const OPTION_IP4 = 2;
export const OPTION_SCTP = 3;
/** Checksums to mend after a write, beside the offset of one: that one, and the transport's for addresses. */
export const MEND_INET = 65536;
export const MEND_PSEUDO = 131072;
export const FIB_OIF = 0;
export const FIB_TYPE = 1;

// ── Connection tracking ─────────────────────────────────────────────────────────────────────────
/*
 * A flow is two tuples (original and reply), both in one hash table, and two records of 64 bytes: what every packet needs,
 * and what only some do. Flow 0 does not exist.
 *
 * Region of flows, its header:
 *   +0  flows | buckets | address of buckets | of hot records
 *  +16  of cold records | of counters, or 0 | of extensions | extensions
 *  +32  flags | liberal | address of timeouts | records
 *  +64  lock of the free lists | first free | never used yet | in use | retired: oldest, newest | extensions: first free, never used |
 *      retired in this epoch (own line)
 * +128  lock of the wheel | its time (units of 256 ms) | address of its slots | started | confirmed flows | mappings   (own line)
 * +160  expectations: address | room | in use | lock
 * +192  events: address of the ring | capacity | head | tail | lost | lock                    (own line)
 * +256  keys of the hash (u64 × 12)
 * +384  statistics (u32 each, FLOW_STAT_*)
 */
export const FLOWS_CAPACITY = 0;
export const FLOWS_BUCKETS = 4;
export const FLOWS_BUCKET_BASE = 8;
export const FLOWS_HOT = 12;
export const FLOWS_COLD = 16;
export const FLOWS_COUNTERS = 20;
export const FLOWS_EXTENSIONS = 24;
export const FLOWS_EXTENSION_COUNT = 28;
export const FLOWS_FLAGS = 32;
export const FLOWS_TIMEOUTS = 40;
/** Records there are: more than flows, because what was removed waits until no reader can hold it. */
export const FLOWS_RECORDS = 44;
export const FLOWS_LOCK = 64;
export const FLOWS_FREE = 68;
export const FLOWS_FRESH = 72;
export const FLOWS_USED = 76;
export const FLOWS_RETIRED_FIRST = 80;
export const FLOWS_RETIRED_LAST = 84;
export const FLOWS_EXTENSION_FREE = 88;
export const FLOWS_EXTENSION_FRESH = 92;
export const FLOWS_RETIRED_NOW = 96;
export const FLOWS_WHEEL_LOCK = 128;
export const FLOWS_WHEEL_TIME = 132;
export const FLOWS_WHEEL_SLOTS = 136;
export const FLOWS_WHEEL_STARTED = 140;
export const FLOWS_COUNT = 144;
/** Mappings among the flows. */
export const FLOWS_MAPPINGS = 148;
export const FLOWS_EXPECTATIONS = 160;
export const FLOWS_EXPECTATION_ROOM = 164;
export const FLOWS_EXPECTATION_COUNT = 168;
export const FLOWS_EXPECTATION_LOCK = 172;
export const FLOWS_EVENTS = 192;
export const FLOWS_EVENT_CAPACITY = 196;
export const FLOWS_EVENT_HEAD = 200;
export const FLOWS_EVENT_TAIL = 204;
export const FLOWS_EVENT_LOST = 208;
export const FLOWS_EVENT_LOCK = 212;
export const FLOWS_KEYS = 256;
export const FLOWS_KEY_COUNT = 12;
export const FLOWS_STATS = 384;
export const FLOWS_HEADER_SIZE = 512;

/** What `conntrack -S` counts. */
export const FLOW_STAT_FOUND = 0;
export const FLOW_STAT_INVALID = 1;
export const FLOW_STAT_INSERT = 2;
export const FLOW_STAT_INSERT_FAILED = 3;
export const FLOW_STAT_DROP = 4;
export const FLOW_STAT_EARLY_DROP = 5;
export const FLOW_STAT_CLASH = 6;
export const FLOW_STAT_EXPIRED = 7;

/** Switches of FLOWS_FLAGS, named as the sysctls net.netfilter.nf_conntrack_*. */
export const FLOWS_TCP_LIBERAL = 1;
export const FLOWS_TCP_LOOSE = 2;
export const FLOWS_CHECKSUM = 4;
export const FLOWS_IGNORE_INVALID_RST = 16;

/* Bucket, one line: +0 tags (10 × u16, 0: free) | +20 flow × 2 + direction (10 × u32) | +60 lock (top bit), and how many tuples that belong here live in their other bucket */
export const FLOW_BUCKET_SIZE = 64;
export const FLOW_BUCKET_SLOTS = 10;
export const FLOW_BUCKET_REFS = 20;
export const FLOW_BUCKET_META = 60;

/* Tuple in hand: IPv4 +0 source, destination | IPv6 +0 source (16), +16 destination (16) | +32 ports (network order; ICMP: id, type, code) | +36 kind: zone u16, protocol u8, space u8 (SPACE_*) | +40 hash */
export const TUPLE_SIZE = 48;
export const TUPLE_PORTS = 32;
export const TUPLE_KIND = 36;
export const TUPLE_HASH = 40;
/**
 * The last byte of a tuple's kind: which network's it is (from SPACE_NETWORK_SHIFT on), of which family, and whether it is a mapping's.
 * Networks that share a table never meet each other's flows.
 */
export const SPACE_MAPPING = 1;
export const SPACE_IP6 = 2;
export const SPACE_NETWORK_SHIFT = 2;
/** The same as bits of the kind. */
export const KIND_MAPPING = 0x1000000;
export const KIND_IP6 = 0x2000000;
export const KIND_NETWORK_SHIFT = SPACE_NETWORK_SHIFT + 24;

/*
 * Expectation (what a helper has heard announced): hashes of all of them first (u32 × room, 0: free), then
 *   +0  tuple: as in hand; the source port does not count, nor the source address unless flag 1
 *  +40  flags u32 | master flow | expires (ticks)
 *  +56  translation of the flow to come: kind u8 + 1 (0: none), family u8, port u16 (host order) | address (16)
 *  +80  mark of the master | helper of the flow to come u16
 */
export const EXPECTATION_SIZE = 96;
export const EXPECTATION_FLAGS = 40;
export const EXPECTATION_MASTER = 44;
export const EXPECTATION_EXPIRES = 48;
export const EXPECTATION_NAT = 56;
export const EXPECTATION_NAT_PORT = 58;
export const EXPECTATION_NAT_ADDRESS = 60;
export const EXPECTATION_HELPER = 80;
/** Of EXPECTATION_FLAGS: only find out whether it could be expected. */
export const EXPECT_ASK = 4;
/** Most that one flow may expect; the oldest makes room. 0: as many as there are places. */
export const EXPECTATION_MOST = 82;
/** From that source address alone. */
export const EXPECT_SOURCE = 1;
/** Stays when a flow has come: SIP's registrations. */
export const EXPECT_PERMANENT = 2;

/* Event: +0 kind u8, state u8, … | +4 flow | +8 time (ticks) | +16 the hot record | +80 counters (24) | +104 reply addresses of IPv6 (32) */
export const FLOW_EVENT_SIZE = 144;
export const FLOW_EVENT_FLOW = 4;
export const FLOW_EVENT_TIME = 8;
export const FLOW_EVENT_RECORD = 16;
export const FLOW_EVENT_COUNTERS = 80;
/** IPv6: source and destination of answers. */
export const FLOW_EVENT_REPLY = 104;
export const EVENT_NEW = 1;
export const EVENT_UPDATE = 2;
export const EVENT_DESTROY = 4;

/** Timeouts in milliseconds (u32 each), in this order; the kernel's names are nf_conntrack_tcp_timeout_… and so on. */
export const TIMEOUT_TCP = 0;
export const TIMEOUT_TCP_RETRANS = 10;
export const TIMEOUT_TCP_UNACK = 11;
export const TIMEOUT_UDP = 12;
export const TIMEOUT_UDP_STREAM = 13;
export const TIMEOUT_ICMP = 14;
export const TIMEOUT_ICMP6 = 15;
export const TIMEOUT_GENERIC = 16;
/** Nine, by state. */
export const TIMEOUT_SCTP = 17;
export const TIMEOUT_GRE = 26;
export const TIMEOUT_GRE_STREAM = 27;
export const TIMEOUT_MAPPING = 28;
export const TIMEOUT_COUNT = 32;

/*
 * Hot record, one line:
 *   +0  IPv4: original source, destination, reply source, destination (network order), 16 unused | IPv6: original source, destination
 *  +32  original ports: source, destination (network order) | reply ports   (ICMP: id, and type and code as conntrack keeps them)
 *  +40  kind, as of a tuple: zone u16, protocol u8, space u8 | status (IPS_*) | expires (ticks) | mark
 *  +56  extension, or 0 | backend + 1 u16, phase u16 (PHASE_*, bits of the whole word)
 */
export const FLOW_SIZE = 64;
export const FLOW_ADDRESSES = 0;
export const FLOW_REPLY_ADDRESSES = 8;
export const FLOW_PORTS = 32;
export const FLOW_REPLY_PORTS = 36;
export const FLOW_KIND = 40;
export const FLOW_ZONE = FLOW_KIND;
export const FLOW_PROTOCOL = 42;
export const FLOW_SPACE = 43;
export const FLOW_STATUS = 44;
export const FLOW_EXPIRES = 48;
export const FLOW_MARK = 52;
export const FLOW_EXTENSION = 56;
/** Of load balancing, plus one; 0: none. */
export const FLOW_BACKEND = 60;
export const FLOW_PHASE = 60;
/** In the table and in the wheel: from now on it may be ended. */
export const PHASE_LINKED = 0x10000;
/** Somebody is ending it; nobody else may. */
export const PHASE_ENDING = 0x20000;
/** Somebody is following its TCP. */
export const PHASE_BUSY = 0x40000;
/** Answers go another way (direct server return, tunnels): only one direction is seen. */
export const PHASE_ONE_SIDED = 0x80000;
/** Its source, or its destination, is translated by a mapping, which lives as long as flows use it. */
export const PHASE_MAPPED_SOURCE = 0x100000;
export const PHASE_MAPPED_DESTINATION = 0x200000;
/** Its handshake was answered in the server's place. */
export const PHASE_PROXIED = 0x400000;
/** It holds what lets its far address answer by that mapping, too. */
export const PHASE_FAR_SOURCE = 0x800000;
export const PHASE_FAR_DESTINATION = 0x1000000;
/** Its zone is that of one direction's tuple alone; the other's is 0. */
export const PHASE_ZONE_ORIGINAL = 0x2000000;
export const PHASE_ZONE_REPLY = 0x4000000;

/*
 * Mapping (which outer end an inner one has): a record as of a flow, whose far end is nobody's. Original: inner end to zeros; answers: zeros to outer
 * end. Restricted cones have another record for each far address, with port 0. Its mark is who may come from outside (NAT_*_CONE) and
 * MAPPING_EXPLICIT; its cold record has at +0 the flows that use it.
 */
/** Asked for by name (PCP, NAT-PMP, UPnP): lives for the time it was given. */
export const MAPPING_EXPLICIT = 1;

/** Status bits as the kernel has them (linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status). */
export const IPS_EXPECTED = 1;
export const IPS_SEEN_REPLY = 2;
export const IPS_ASSURED = 4;
export const IPS_CONFIRMED = 8;
export const IPS_SRC_NAT = 16;
export const IPS_DST_NAT = 32;
export const IPS_SEQ_ADJUST = 64;
export const IPS_SRC_NAT_DONE = 128;
export const IPS_DST_NAT_DONE = 256;
export const IPS_DYING = 512;
export const IPS_FIXED_TIMEOUT = 1024;
export const IPS_UNTRACKED = 4096;
export const IPS_HELPER = 8192;

/*
 * Cold record (of a flow that is free: +56 the next one; of one that is retired: +0 the epoch, too):
 *   +0  TCP, original: highest end | limit of the window | largest window | highest ack      (td_end, td_maxend, td_maxwin, td_maxack)
 *  +16  TCP, reply: the same
 *  +32  last segment: sequence | acknowledgement | end | window u16, kind u8, direction u8
 *  +48  state u8 | flags of original u8, reply u8 | scales u8 (low: original) | slot of the wheel | next in it | previous
 * UDP: +0 ticks from which on it counts as a stream | SCTP: +0 tags of both directions (flow/sctp.ts), +48 state u8, flags u8
 */
export const COLD_SIZE = 64;
export const COLD_TCP = 0;
export const COLD_TCP_SIZE = 16;
export const COLD_LAST = 32;
export const COLD_STATE = 48;
export const COLD_FLAGS = 49;
export const COLD_SCALES = 51;
export const COLD_WHEEL_SLOT = 52;
export const COLD_WHEEL_NEXT = 56;
export const COLD_WHEEL_PREVIOUS = 60;
/** States of TCP in which both ends are done with a connection. */
export const TCP_TIME_WAIT = 7;
export const TCP_CLOSE = 8;

/** Bytes (u64, low 48 bits) of original and reply, then packets (low 32 bits; the bits above them are the high 16 of the bytes' words). */
export const FLOW_COUNTER_SIZE = 24;

/*
 * Extension, for flows that need one: +0 reply source, destination (IPv6, translated) | +32 labels (16)
 * +48 master flow | helper u16 (src/engine/helper-names.ts), that of its master u16 | +56 translation that an expectation asks for (as EXPECTATION_NAT, 20 bytes) | +88 next free
 */
export const EXTENSION_SIZE = 96;
export const EXTENSION_ADDRESSES = 0;
export const EXTENSION_LABELS = 32;
export const EXTENSION_MASTER = 48;
export const EXTENSION_HELPER = 52;
/** Of its master, when it came; `ct helper` asks for that one. */
export const EXTENSION_MASTER_HELPER = 54;
export const EXTENSION_NAT = 56;
/** Of a proxied flow: the cookie, and once the server has answered what its numbers are ahead; of timestamps alike; the client's first window u16. */
export const EXTENSION_SEQUENCE = 76;
export const EXTENSION_STAMP = 80;
export const EXTENSION_WINDOW = 84;
export const EXTENSION_NEXT = 88;
export const EXTENSION_COOKIE = 92;

/** Fields that compiled rules ask for by call (flowLoad, flowStore); what is not here they read themselves. */
export const CTFIELD_SOURCE = 0;
export const CTFIELD_DESTINATION = 1;
export const CTFIELD_SOURCE_PORT = 2;
export const CTFIELD_DESTINATION_PORT = 3;
export const CTFIELD_EXPIRATION = 4;
export const CTFIELD_LABELS = 5;
export const CTFIELD_PACKETS = 6;
export const CTFIELD_BYTES = 7;
export const CTFIELD_AVERAGE = 8;
export const CTFIELD_ZONE = 9;
export const CTFIELD_HELPER = 10;
export const CTFIELD_ID = 11;
export const CTFIELD_MARK = 12;
/* What `ct helper` objects hold: +0 helper u16 | +2 protocol u8, family u8 (0: both) */
export const HELPER_PROTOCOL = 2;
export const HELPER_FAMILY = 3;
/** Stored only: a mask of events, numbers of a timeout policy and of an expectation's object. */
export const CTFIELD_EVENTS = 13;
export const CTFIELD_TIMEOUT = 14;
export const CTFIELD_EXPECTATION = 15;
export const CTFIELD_ZONE_ORIGINAL = 16;
export const CTFIELD_ZONE_REPLY = 17;

// ── Load balancing ──────────────────────────────────────────────────────────────────────────────
/*
 * Region, its header (all u32; zero where there are no services):
 *   +0  services | backends | mask of the directory | reach
 *  +16  addresses: of the directory | of services | of backends | of statistics
 *  +32  address of pick tables | pick tables | address of clients | mask of clients' buckets
 *  +48  1 since a backend is reached by a tunnel
 *
 *   directory    (mask + 1 + BALANCE_REACH_MOST) words: the address of a service, or 0
 *   services     services × SERVICE_SIZE
 *   backends     backends × BACKEND_SIZE
 *   statistics   workers × backends × BACKEND_STAT_SIZE
 *   pick tables  pick tables × PICK_SIZE
 *   clients      (mask + 1) × AFFINITY_ENTRIES × AFFINITY_SIZE
 */
export const BALANCE_HEADER_SIZE = 64;
export const BALANCE_SERVICES = 0;
export const BALANCE_BACKENDS = 4;
export const BALANCE_MASK = 8;
/** How many places of the directory a lookup looks at; 0 without services. */
export const BALANCE_REACH = 12;
export const BALANCE_DIRECTORY_AT = 16;
export const BALANCE_SERVICES_AT = 20;
export const BALANCE_BACKENDS_AT = 24;
export const BALANCE_STATS_AT = 28;
export const BALANCE_PICKS_AT = 32;
export const BALANCE_PICKS = 36;
export const BALANCE_CLIENTS_AT = 40;
export const BALANCE_CLIENTS_MASK = 44;
export const BALANCE_TUNNELS = 48;
export const BALANCE_REACH_MOST = 32;
/** "no backend". */
export const BALANCE_NOBODY = 0xffff;
/** Slots of a pick table by hash: Maglev's prime. No table has more. */
export const BALANCE_SLOTS = 65537;

/*
 * Service, two lines: what lookups read, and what workers write.
 *   +0  address (16 bytes in network order, IPv4 as ::ffff:a.b.c.d)
 *  +16  port u16 (host order, 0 = all), protocol u8, flags u8 | affinity, seconds u32 (0 = none) | picks (address) | spare
 *  +64  cursor u32
 */
export const SERVICE_SIZE = 128;
export const SERVICE_ADDRESS = 0;
export const SERVICE_PORT = 16;
export const SERVICE_PROTOCOL = 18;
export const SERVICE_FLAGS = 19;
export const SERVICE_AFFINITY = 20;
/** Swapped whole: readers see the old table or the new one. */
export const SERVICE_PICKS = 24;
export const SERVICE_CURSOR = 64;
/** The client's address alone is hashed. */
export const SERVICE_BY_CLIENT = 1;

/* Pick table: +0 rule u32 | length u32 | spare (8) | +16 backends (length × u16) */
export const PICK_RULE = 0;
export const PICK_LENGTH = 4;
export const PICK_SLOTS = 16;
export const PICK_SIZE = 131136;
/** The flow's hash names the slot. */
export const PICK_HASH = 1;
/** The service's cursor names it. */
export const PICK_TURN = 2;
/** Of some slots drawn by the hash, the backend with the fewest flows for its weight. */
export const PICK_LEAST = 3;
/** How many "least" looks at: all backends when there are no more. */
export const PICK_LEAST_CHOICES = 8;

/*
 * Backend, two lines: what packets read, and what workers write.
 *   +0  address (16 bytes, as a service's)
 *  +16  port u16 (host order, 0 = the one asked for), mode u8, flags u8 | next hop u32 | weight u32 | mtu u32
 *  +32  source address of its tunnel (16 bytes) | service (address) | spare
 *  +64  flows alive u32
 */
export const BACKEND_SIZE = 128;
export const BACKEND_ADDRESS = 0;
export const BACKEND_PORT = 16;
/** BALANCE_NAT, … */
export const BACKEND_MODE = 18;
export const BACKEND_FLAGS = 19;
/** Of the routing table of its family; 0 = as its address is routed. */
export const BACKEND_HOP = 20;
/** Counted in 1/16, so that slow start has steps. */
export const BACKEND_WEIGHT = 24;
/** Of the way to it, for tunnels; 0 = any. */
export const BACKEND_MTU = 28;
export const BACKEND_TUNNEL = 32;
/** Numbers are used again: whoever remembers one looks whether it is still of this service. */
export const BACKEND_SERVICE = 48;
export const BACKEND_FLOWS = 64;
/** Takes new flows. */
export const BACKEND_OPEN = 1;

/** How packets reach a backend: rewritten (DNAT); as they are, behind its MAC; within a packet to it (RFC 2003 …; GUE over UDP). */
export const BALANCE_NAT = 1;
export const BALANCE_DSR = 2;
export const BALANCE_IPIP = 3;
export const BALANCE_GUE = 4;

/** Per worker and backend, u64 each; "in" is from clients, "out" from backends. */
export const BACKEND_STAT_SIZE = 64;
export const BACKEND_STAT_FLOWS = 0;
export const BACKEND_STAT_IN_PACKETS = 8;
export const BACKEND_STAT_IN_BYTES = 16;
export const BACKEND_STAT_OUT_PACKETS = 24;
export const BACKEND_STAT_OUT_BYTES = 32;

/*
 * Clients that keep a backend, in buckets of AFFINITY_ENTRIES:
 *   +0  client (16 bytes, as a service's address) | service (address, 0 = free) | backend u32 | until, seconds u32 | lock u32 (the first's is the bucket's)
 */
export const AFFINITY_SIZE = 32;
export const AFFINITY_CLIENT = 0;
export const AFFINITY_SERVICE = 16;
export const AFFINITY_BACKEND = 20;
export const AFFINITY_UNTIL = 24;
export const AFFINITY_LOCK = 28;
export const AFFINITY_ENTRIES = 8;

// ── Queueing ────────────────────────────────────────────────────────────────────────────────────
/*
 * Region of queues:
 *   +0  pieces that all queues hold | pieces they may hold | spare
 *  +64  a record for each descriptor (QLINK_*), then a root for each port (QROOT_*), then what the host lays out
 */
export const QUEUES_HELD = 0;
export const QUEUES_SHARE = 4;
export const QUEUES_LINKS = 64;

/* What a packet that waits has beside its descriptor: +0 next (id) | length as charged | came at (ns, u64) | +16 earliest departure (ns, u64) | priority | pieces u16, segments u16 */
export const QLINK_SIZE = 32;
export const QLINK_NEXT = 0;
export const QLINK_LENGTH = 4;
export const QLINK_TIME = 8;
export const QLINK_DEPARTURE = 16;
/** meta priority of the rules (major << 16 | minor of a class, or 0 to 15). */
export const QLINK_PRIORITY = 24;
export const QLINK_PIECES = 28;
export const QLINK_SEGMENTS = 30;

/*
 * Root, one a port:
 *   +0  lock | qdisc | port | the ring is full
 *  +16  served until (ns, u64) | something may leave (ns, u64)
 *  +32  pieces held | told to the whole | large segments are cut from this length on | spare
 *  +48  state of chance (u64) | a list of packets on their way out of a tree: first, last
 *  +64  flow in hand: source (16) | destination (16) | ports u32 (network order) | protocol u8, family u8, tos u8, spare
 * +128  packets that leave now: ids (BURST × u32)
 */
export const QROOT_SIZE = 1216;
export const QROOT_LOCK = 0;
export const QROOT_QDISC = 4;
export const QROOT_PORT = 8;
export const QROOT_BLOCKED = 12;
export const QROOT_CLOCK = 16;
export const QROOT_NEXT = 24;
export const QROOT_HELD = 32;
export const QROOT_TOLD = 36;
export const QROOT_SPLIT = 40;
export const QROOT_CHANCE = 48;
export const QROOT_MOVING = 56;
export const QROOT_KEY = 64;
export const QROOT_DUE = 128;
export const QKEY_SOURCE = 0;
export const QKEY_DESTINATION = 16;
export const QKEY_PORTS = 32;
export const QKEY_PROTOCOL = 36;
export const QKEY_FAMILY = 37;
export const QKEY_TOS = 38;
export const QKEY_SIZE = 40;

/*
 * Qdisc:
 *   +0  kind | handle (major << 16) | parent qdisc | class of the parent, or 0
 *  +16  packets | bytes | most packets | most bytes
 *  +32  sent bytes (u64) | sent packets (u64)
 *  +48  dropped | overlimits | requeues | marked
 *  +64  filters | number of them | root | spare
 *  +80  first | last (of kinds that are one list) | spare
 *  +96  the kind's own
 */
export const QDISC_KIND = 0;
export const QDISC_HANDLE = 4;
export const QDISC_PARENT = 8;
export const QDISC_CLASS = 12;
export const QDISC_PACKETS = 16;
export const QDISC_BYTES = 20;
export const QDISC_MOST_PACKETS = 24;
export const QDISC_MOST_BYTES = 28;
export const QDISC_SENT_BYTES = 32;
export const QDISC_SENT_PACKETS = 40;
export const QDISC_DROPPED = 48;
export const QDISC_OVERLIMITS = 52;
export const QDISC_REQUEUES = 56;
export const QDISC_MARKED = 60;
export const QDISC_FILTERS = 64;
export const QDISC_FILTER_COUNT = 68;
export const QDISC_ROOT = 72;
export const QDISC_FIRST = 80;
export const QDISC_LAST = 84;

export const QKIND_FIFO = 1;
export const QKIND_PRIO = 2;
export const QKIND_TBF = 3;
export const QKIND_HTB = 4;
export const QKIND_FQ = 5;
export const QKIND_FQ_CODEL = 6;
export const QKIND_CAKE = 7;
export const QKIND_RED = 8;

/* Filter: +0 fields to look at (QMATCH_*) | class (address) | mark | mask | +16 family u8, protocol u8, tos u8, mask u8 | source ports from, to u16 (host order) | destination ports | spare | +32 source, mask, destination, mask (16 each) */
export const QFILTER_SIZE = 96;
export const QFILTER_FIELDS = 0;
export const QFILTER_CLASS = 4;
export const QFILTER_MARK = 8;
export const QFILTER_MARK_MASK = 12;
export const QFILTER_FAMILY = 16;
export const QFILTER_PROTOCOL = 17;
export const QFILTER_TOS = 18;
export const QFILTER_TOS_MASK = 19;
export const QFILTER_SOURCE_PORTS = 20;
export const QFILTER_DESTINATION_PORTS = 24;
export const QFILTER_SOURCE = 32;
export const QFILTER_SOURCE_MASK = 48;
export const QFILTER_DESTINATION = 64;
export const QFILTER_DESTINATION_MASK = 80;
export const QMATCH_MARK = 1;
export const QMATCH_FAMILY = 2;
export const QMATCH_PROTOCOL = 4;
export const QMATCH_TOS = 8;
export const QMATCH_SOURCE = 16;
export const QMATCH_DESTINATION = 32;
export const QMATCH_SOURCE_PORT = 64;
export const QMATCH_DESTINATION_PORT = 128;

/* prio: bands | spare | +112 band of a priority (16 × u8) | +128 qdiscs (16 × u32) */
export const QPRIO_BANDS = 96;
export const QPRIO_MAP = 112;
export const QPRIO_CHILDREN = 128;
export const QPRIO_SIZE = 192;

// Tokens are counted in bytes × 10⁹ (i64), rates in bytes a second: nanoseconds × rate needs no rounding.
/* tbf: child | packet in hand, or NONE | most bytes of a packet | spare | +112 rate, peak rate (u64; 0 without) | +128 most tokens, most peak tokens | +144 tokens, peak tokens | +160 as of (ns) */
export const QTBF_CHILD = 96;
export const QTBF_HAND = 100;
export const QTBF_MOST = 104;
export const QTBF_RATE = 112;
export const QTBF_PEAK = 120;
export const QTBF_DEPTH = 128;
export const QTBF_PEAK_DEPTH = 136;
export const QTBF_TOKENS = 144;
export const QTBF_PEAK_TOKENS = 152;
export const QTBF_TIME = 160;
export const QTBF_SIZE = 192;

/*
 * htb: slots of the directory - 1 | directory (class addresses by minor, 0 = free) | default class | packets sent without a class
 * +112 heap of classes that wait: entries | number | classes | spare
 * +128 priorities with somebody to send, by level (8 × u32) | +192 rows: a ring of classes (HRING_*) by level and priority
 */
export const QHTB_MASK = 96;
export const QHTB_DIRECTORY = 100;
export const QHTB_DEFAULT = 104;
export const QHTB_DIRECT = 108;
export const QHTB_HEAP = 112;
export const QHTB_HEAP_COUNT = 116;
export const QHTB_CLASSES = 120;
export const QHTB_ACTIVE = 128;
export const QHTB_ROWS = 192;
export const QHTB_SIZE = 1216;
/* Ring of classes in the order of their minors: +0 whose turn it is, or 0 | the first | 0: then it is the turn of the first with this minor, or more. */
export const HRING_SIZE = 16;
export const HRING_TURN = 0;
export const HRING_HEAD = 4;
export const HRING_MINOR = 8;
export const HTB_LEVELS = 8;
export const HTB_PRIORITIES = 8;

/*
 * Class of htb:
 *   +0  waits until (ns, u64) | place in the heap + 1 | mode
 *  +16  minor | parent class | level | priority
 *  +32  qdisc of a leaf | quantum | priorities with something to send | spare
 *  +48  rate, ceiling (bytes a second, u64) | +64 most tokens, most ceiling tokens | +80 tokens, ceiling tokens | +96 as of (ns)
 * +104  lends | borrows | +112 sent bytes (u64), packets (u64) | +128 dropped | overlimits | giants | spare
 * +144  deficit by level (8 × i32) | +176 next, previous in its ring by priority (8 × u32 each) | +240 who borrows from it: a ring (HRING_*) by priority
 */
export const HCLASS_SIZE = 448;
export const HCLASS_UNTIL = 0;
export const HCLASS_PLACE = 8;
export const HCLASS_MODE = 12;
export const HCLASS_MINOR = 16;
export const HCLASS_PARENT = 20;
export const HCLASS_LEVEL = 24;
export const HCLASS_PRIORITY = 28;
export const HCLASS_QDISC = 32;
export const HCLASS_QUANTUM = 36;
export const HCLASS_ACTIVE = 40;
export const HCLASS_RATE = 48;
export const HCLASS_CEIL = 56;
export const HCLASS_DEPTH = 64;
export const HCLASS_CEIL_DEPTH = 72;
export const HCLASS_TOKENS = 80;
export const HCLASS_CEIL_TOKENS = 88;
export const HCLASS_TIME = 96;
export const HCLASS_LENDS = 104;
export const HCLASS_BORROWS = 108;
export const HCLASS_SENT_BYTES = 112;
export const HCLASS_SENT_PACKETS = 120;
export const HCLASS_DROPPED = 128;
export const HCLASS_OVERLIMITS = 132;
export const HCLASS_DEFICIT = 144;
export const HCLASS_NEXT = 176;
export const HCLASS_PREVIOUS = 208;
export const HCLASS_FEED = 240;
export const HTB_CANT_SEND = 0;
export const HTB_MAY_BORROW = 1;
export const HTB_CAN_SEND = 2;

/*
 * Flow of fq, fq_codel and cake:
 *   +0  departs (ns, u64; fq) | place in the heap + 1 (fq) | state
 *  +16  first | last | packets | bytes
 *  +32  next, previous in its list | deficit (i32) | dropped
 *  +48  CoDel: count | count of the last time | dropping | spare | +64 first above target (ns) | next drop (ns)
 *  +80  fq: key (u64), next of the bucket, fraction of the last departure | cake: tag, source, destination, spare
 */
export const QFLOW_SIZE = 128;
export const QFLOW_DEPARTS = 0;
export const QFLOW_PLACE = 8;
export const QFLOW_STATE = 12;
export const QFLOW_FIRST = 16;
export const QFLOW_LAST = 20;
export const QFLOW_PACKETS = 24;
export const QFLOW_BYTES = 28;
export const QFLOW_NEXT = 32;
export const QFLOW_PREVIOUS = 36;
export const QFLOW_DEFICIT = 40;
export const QFLOW_DROPPED = 44;
export const QFLOW_COUNT = 48;
export const QFLOW_LAST_COUNT = 52;
export const QFLOW_DROPPING = 56;
export const QFLOW_ABOVE = 64;
export const QFLOW_NEXT_DROP = 72;
export const QFLOW_KEY = 80;
export const QFLOW_CHAIN = 88;
export const QFLOW_REST = 96;
/** When it last had something to send (ns, u64; fq). */
export const QFLOW_SEEN = 104;
export const QFLOW_TAG = 80;
export const QFLOW_SOURCE = 84;
export const QFLOW_DESTINATION = 88;
export const QFLOW_IDLE = 0;
export const QFLOW_NEW = 1;
export const QFLOW_OLD = 2;
export const QFLOW_THROTTLED = 3;

/* A list of flows: +0 first | last | number. */
export const QLIST_FIRST = 0;
export const QLIST_LAST = 4;
export const QLIST_COUNT = 8;
export const QLIST_SIZE = 16;

/*
 * fq: +96 new, old, idle flows (lists) | +144 flows | their number | buckets | their number - 1
 * +160 quantum | initial quantum | packets of a flow | horizon drops | +176 greatest rate (bytes a second, u64) | +192 refill delay, horizon (ns)
 * +208 heap of throttled flows: entries, number | free flows: never used | spare | +224 control packets: first, last
 * +232 statistics (u32 each)
 */
export const QFQ_NEW = 96;
export const QFQ_OLD = 112;
export const QFQ_IDLE = 128;
export const QFQ_FLOWS = 144;
export const QFQ_FLOW_COUNT = 148;
export const QFQ_BUCKETS = 152;
export const QFQ_MASK = 156;
export const QFQ_QUANTUM = 160;
export const QFQ_INITIAL = 164;
export const QFQ_FLOW_LIMIT = 168;
/** What departs later than the horizon: 1 is dropped, 0 departs at the horizon. */
export const QFQ_HORIZON_DROP = 172;
export const QFQ_MAX_RATE = 176;
export const QFQ_REFILL = 192;
export const QFQ_HORIZON = 200;
export const QFQ_HEAP = 208;
export const QFQ_HEAP_COUNT = 212;
export const QFQ_USED = 216;
export const QFQ_CONTROL_FIRST = 224;
export const QFQ_CONTROL_LAST = 228;
export const QFQ_STAT_GC = 232;
export const QFQ_STAT_CONTROL = 236;
export const QFQ_STAT_THROTTLED = 240;
export const QFQ_STAT_FLOW_LIMIT = 244;
export const QFQ_STAT_HORIZON_DROPS = 248;
export const QFQ_STAT_HORIZON_CAPS = 252;
export const QFQ_STAT_MARKED = 256;
export const QFQ_CE_THRESHOLD = 264;
export const QFQ_SIZE = 320;

/*
 * What CoDel is told, by fq_codel and by each tin of cake: +0 target, interval, threshold of CE (ns, u64; 0 without) | marks instead of drops
 */
export const CODEL_TARGET = 0;
export const CODEL_INTERVAL = 8;
export const CODEL_CE_THRESHOLD = 16;
export const CODEL_ECN = 24;
/** Largest packet seen: a queue that holds no more is left alone. */
export const CODEL_LARGEST = 28;
export const CODEL_SIZE = 32;

/*
 * fq_codel: +96 CoDel | +128 new, old flows (lists) | +160 flows | number | quantum | drops at once
 * +176 most memory | memory in use | statistics (u32 each)
 */
export const QFC_CODEL = 96;
export const QFC_NEW = 128;
export const QFC_OLD = 144;
export const QFC_FLOWS = 160;
export const QFC_FLOW_COUNT = 164;
export const QFC_QUANTUM = 168;
export const QFC_BATCH = 172;
export const QFC_MOST_MEMORY = 176;
export const QFC_MEMORY = 180;
export const QFC_STAT_OVERLIMIT = 184;
export const QFC_STAT_OVERMEMORY = 188;
export const QFC_STAT_NEW_FLOWS = 192;
export const QFC_STAT_CE = 196;
export const QFC_SIZE = 256;

/*
 * cake: +96 rate (bytes a second, u64; 0 unlimited) | departs next (ns) | fraction | +120 bytes of overhead (i32) | least bytes | cells (QCAKE_ATM …)
 * +132 isolation (QCAKE_* bits) | tins | wash | most memory | memory in use | most memory ever | +160 addresses of tins (8 × u32) | +192 tin of a DSCP (64 × u8)
 * +256 lengths seen: least, most of the network layer; least, most as charged
 */
export const QCAKE_RATE = 96;
export const QCAKE_DEPARTS = 104;
export const QCAKE_REST = 112;
export const QCAKE_OVERHEAD = 120;
export const QCAKE_LEAST = 124;
export const QCAKE_CELLS = 128;
export const QCAKE_ISOLATION = 132;
export const QCAKE_TINS = 136;
export const QCAKE_WASH = 140;
export const QCAKE_MOST_MEMORY = 144;
export const QCAKE_MEMORY = 148;
export const QCAKE_PEAK_MEMORY = 152;
export const QCAKE_TIN = 160;
export const QCAKE_TIN_OF = 192;
export const QCAKE_LENGTHS = 256;
export const QCAKE_SIZE = 320;
export const QCAKE_NO_CELLS = 0;
export const QCAKE_ATM = 1;
export const QCAKE_PTM = 2;
/** What a flow is (addresses and ports, or addresses alone), and between whom the rate is divided first. */
export const QCAKE_FLOWS = 1;
export const QCAKE_BY_SOURCE = 2;
export const QCAKE_BY_DESTINATION = 4;

/*
 * Tin of cake: +0 CoDel | +32 rate of its share (bytes a second, u64) | departs next (ns) | fraction | +56 quantum | weight
 * +64 new, old flows (lists) | +96 flows | sets × ways | flows with something to send, by source host, by destination host (u16 each) | spare
 * +112 packets | bytes | deficit (i32) | spare | statistics: +128 sent bytes, packets (u64) | dropped | marked | +152 hits beside, misses, collisions | +176 delays: peak, average, base (ns, u64) | largest
 */
export const QTIN_CODEL = 0;
export const QTIN_RATE = 32;
export const QTIN_DEPARTS = 40;
export const QTIN_REST = 48;
export const QTIN_QUANTUM = 56;
export const QTIN_WEIGHT = 60;
export const QTIN_NEW = 64;
export const QTIN_OLD = 80;
export const QTIN_FLOWS = 96;
export const QTIN_FLOW_COUNT = 100;
export const QTIN_SOURCES = 104;
export const QTIN_DESTINATIONS = 108;
export const QTIN_PACKETS = 112;
export const QTIN_BYTES = 116;
export const QTIN_DEFICIT = 120;
export const QTIN_SENT_BYTES = 128;
export const QTIN_SENT_PACKETS = 136;
export const QTIN_DROPPED = 144;
export const QTIN_MARKED = 148;
export const QTIN_WAY_HITS = 152;
export const QTIN_WAY_MISSES = 156;
export const QTIN_WAY_COLLISIONS = 160;
export const QTIN_PEAK_DELAY = 168;
export const QTIN_AVERAGE_DELAY = 176;
export const QTIN_BASE_DELAY = 184;
export const QTIN_SIZE = 192;
/** Places of the hash that one flow, or host, may stand in. */
export const QTIN_WAYS = 8;
/* Host of cake: +0 tag | flows with something to send. */
export const QHOST_SIZE = 8;
export const QHOST_TAG = 0;
export const QHOST_FLOWS = 4;

/*
 * red: +96 flags (QRED_*) | marks in a row not made (i32) | +104 least, most (bytes, f64) | +120 greatest probability | weight | average (f64 each)
 * +144 mean length of a packet | time of one at the link's rate (ns, f64) | +160 empty since (ns, u64; 0: it is not) | adapted at (ns)
 * +176 dropped early | over the limit | marked | spare
 */
export const QRED_FLAGS = 96;
export const QRED_SINCE = 100;
export const QRED_LEAST = 104;
export const QRED_MOST = 112;
export const QRED_PROBABILITY = 120;
export const QRED_WEIGHT = 128;
export const QRED_AVERAGE = 136;
export const QRED_MEAN = 144;
export const QRED_MEAN_TIME = 152;
export const QRED_IDLE = 160;
export const QRED_ADAPTED = 168;
export const QRED_STAT_EARLY = 176;
export const QRED_STAT_LIMIT = 180;
export const QRED_SIZE = 192;
export const QRED_ECN = 1;
export const QRED_HARD_DROP = 2;
export const QRED_ADAPTIVE = 4;
export const QRED_NO_DROP = 8;

/*
 * Policer (RFC 2697, RFC 2698):
 *   +0  lock | kind | colour-aware | next policer, or 0
 *  +16  rate, peak rate (bytes a second, u64)
 *  +32  committed depth, excess or peak depth (bytes × 10⁹) | tokens of both | +64 as of (ns)
 *  +80  what happens to green, yellow, red: action u8 × 3 | values (u32 × 3) at +84
 *  +96  packets (u64 × 3) | bytes (u64 × 3)
 * +144  a filter (QFILTER_*) | +256 flow in hand (QKEY_*)
 */
export const POLICER_SIZE = 320;
export const POLICER_LOCK = 0;
export const POLICER_KIND = 4;
export const POLICER_AWARE = 8;
export const POLICER_NEXT = 12;
export const POLICER_RATE = 16;
export const POLICER_PEAK = 24;
export const POLICER_DEPTH = 32;
export const POLICER_EXCESS_DEPTH = 40;
export const POLICER_TOKENS = 48;
export const POLICER_EXCESS_TOKENS = 56;
export const POLICER_TIME = 64;
export const POLICER_ACTIONS = 80;
export const POLICER_VALUES = 84;
export const POLICER_PACKETS = 96;
export const POLICER_BYTES = 120;
export const POLICER_FILTER = 144;
export const POLICER_KEY = 256;
export const POLICER_SINGLE_RATE = 1;
export const POLICER_TWO_RATES = 2;
export const COLOUR_GREEN = 0;
export const COLOUR_YELLOW = 1;
export const COLOUR_RED = 2;
export const POLICE_PASS = 0;
export const POLICE_DROP = 1;
/** Gives the packet the value as its mark, or as its DSCP. */
export const POLICE_MARK = 2;
export const POLICE_DSCP = 3;
