/** The region of connection tracking: sizes from the options, and its header, which the data plane finds everything by. */
import * as abi from "../../assembly/abi.ts";

/** Sizes of connection tracking. */
export interface FlowSizes {
  /** Connections that can be tracked; 144 bytes each with their place in the table. Default 0: nothing is tracked. */
  flows?: number;
  /** Of those, how many may have labels, a helper, or an IPv6 translation (96 bytes each). Default all up to 131,072, of more than
   *  that an eighth. */
  flowExtensions?: number;
  /** Count packets and bytes of flows (24 bytes each): 1 or 0. Default 1. */
  flowAccounting?: number;
  /** Events of flows that wait for the host layer at most, a power of two. Default 0: none are told. */
  flowEvents?: number;
}

/** Tuples a bucket holds on average when the table is full: three quarters, so that both buckets of a tuple are hardly ever full. */
const FILL = 0.75;
/** Records beside those of live flows: what was removed waits for readers, a burst's worth each. */
const WAITING = 2 * abi.BURST;
/** Flows that may be expected at once; a multiple of four. */
const EXPECTATIONS = 256;
const WHEEL_SLOTS = 256 + 256 + 64;

/**
 * Timeouts in seconds, in the order of TIMEOUT_*; the kernel's defaults (net.netfilter.nf_conntrack_*_timeout*). `nat_mapping` is how long a mapping is kept
 * when no flow uses it any more: with the time of the last flow, more than the five minutes of RFC 4787 REQ-5 for streams, two at least.
 */
export const DEFAULT_TIMEOUTS: Readonly<Record<string, number>> = {
  tcp_none: 432_000,
  tcp_syn_sent: 120,
  tcp_syn_recv: 60,
  tcp_established: 432_000,
  tcp_fin_wait: 120,
  tcp_close_wait: 60,
  tcp_last_ack: 30,
  tcp_time_wait: 120,
  tcp_close: 10,
  tcp_syn_sent2: 120,
  tcp_max_retrans: 300,
  tcp_unacknowledged: 300,
  udp: 30,
  udp_stream: 120,
  icmp: 30,
  icmpv6: 30,
  generic: 600,
  sctp_none: 10,
  sctp_closed: 10,
  sctp_cookie_wait: 3,
  sctp_cookie_echoed: 3,
  sctp_established: 210,
  sctp_shutdown_sent: 3,
  sctp_shutdown_recd: 3,
  sctp_shutdown_ack_sent: 3,
  sctp_heartbeat_sent: 30,
  gre: 30,
  gre_stream: 180,
  nat_mapping: 120,
};
export const TIMEOUT_NAMES: readonly string[] = Object.keys(DEFAULT_TIMEOUTS);

const line = (bytes: number) => Math.ceil(bytes / 64) * 64;

/** Where the parts lie, from the region's start, and its size; 0 bytes without flows. */
export function flowLayout(sizes: Required<FlowSizes>, workers: number) {
  const { flows, flowExtensions, flowAccounting, flowEvents } = sizes;
  const records = flows + WAITING * workers + 1;
  const buckets = Math.ceil((2 * flows) / (abi.FLOW_BUCKET_SLOTS * FILL)) + 4;
  const parts = { buckets: 0, hot: 0, cold: 0, counters: 0, extensions: 0, expectations: 0, timeouts: 0, slots: 0, events: 0 };
  const size: Record<keyof typeof parts, number> = {
    buckets: buckets * abi.FLOW_BUCKET_SIZE,
    hot: records * abi.FLOW_SIZE,
    cold: records * abi.COLD_SIZE,
    counters: flowAccounting ? records * abi.FLOW_COUNTER_SIZE : 0,
    extensions: (flowExtensions + 1) * abi.EXTENSION_SIZE,
    expectations: EXPECTATIONS * (4 + abi.EXPECTATION_SIZE),
    timeouts: abi.TIMEOUT_COUNT * 4,
    slots: WHEEL_SLOTS * 4,
    events: flowEvents * abi.FLOW_EVENT_SIZE,
  };
  let at = abi.FLOWS_HEADER_SIZE;
  for (const part of Object.keys(parts) as (keyof typeof parts)[]) {
    parts[part] = at;
    at += line(size[part]);
  }
  return { bytes: flows === 0 ? 0 : at, records, buckets, parts };
}

/** splitmix64 (Steele, Lea and Flood, 2014): the keys of the hash out of the engine's secret. */
function* keysOf(secret: Uint8Array): Generator<bigint> {
  let state = new DataView(secret.buffer, secret.byteOffset, 8).getBigUint64(0, true);
  for (;;) {
    state = (state + 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & 0xffffffffffffffffn;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & 0xffffffffffffffffn;
    yield z ^ (z >> 31n);
  }
}

export function initFlows(memory: ArrayBufferLike, base: number, sizes: Required<FlowSizes>, workers: number, secret: Uint8Array): void {
  const { flows, flowExtensions, flowAccounting, flowEvents } = sizes;
  if (flows === 0) return;
  const { records, buckets, parts, bytes } = flowLayout(sizes, workers);
  const view = new DataView(memory, base, bytes);
  const u32 = (offset: number, value: number) => view.setUint32(offset, value, true);
  u32(abi.FLOWS_CAPACITY, flows);
  u32(abi.FLOWS_BUCKETS, buckets);
  u32(abi.FLOWS_BUCKET_BASE, base + parts.buckets);
  u32(abi.FLOWS_HOT, base + parts.hot);
  u32(abi.FLOWS_COLD, base + parts.cold);
  u32(abi.FLOWS_COUNTERS, flowAccounting ? base + parts.counters : 0);
  u32(abi.FLOWS_EXTENSIONS, base + parts.extensions);
  u32(abi.FLOWS_EXTENSION_COUNT, flowExtensions + 1);
  u32(abi.FLOWS_FLAGS, abi.FLOWS_TCP_LOOSE | abi.FLOWS_CHECKSUM);
  u32(abi.FLOWS_TIMEOUTS, base + parts.timeouts);
  u32(abi.FLOWS_RECORDS, records);
  u32(abi.FLOWS_FRESH, 1);
  u32(abi.FLOWS_EXTENSION_FRESH, 1);
  u32(abi.FLOWS_WHEEL_SLOTS, base + parts.slots);
  u32(abi.FLOWS_EXPECTATIONS, base + parts.expectations);
  u32(abi.FLOWS_EXPECTATION_ROOM, EXPECTATIONS);
  u32(abi.FLOWS_EVENTS, base + parts.events);
  u32(abi.FLOWS_EVENT_CAPACITY, flowEvents);
  const keys = keysOf(secret);
  for (let i = 0; i < abi.FLOWS_KEY_COUNT; i++) view.setBigUint64(abi.FLOWS_KEYS + 8 * i, keys.next().value as bigint, true);
  for (const [i, name] of TIMEOUT_NAMES.entries()) u32(parts.timeouts + 4 * i, DEFAULT_TIMEOUTS[name] * 1000);
}
