/** Linux's struct tcp_info (include/uapi/linux/tcp.h) of a connection: as an object, and as the struct's bytes. */
import { congestionState, segmentCounts } from "../tcp/info.ts";
import { mssFor } from "../tcp/output.ts";
import { windowRate } from "../tcp/pacing.ts";
import { ESTABLISHED, TIME_WAIT } from "../tcp/states.ts";
import type { Tcb } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";
import * as c from "./constants.ts";
import type { TcpSocket } from "./tcp-socket.ts";

/** By state of src/tcp: CLOSED, LISTEN, SYN-SENT … TIME-WAIT. */
const STATES = [
  c.TCP_CLOSE,
  c.TCP_LISTEN,
  c.TCP_SYN_SENT,
  c.TCP_SYN_RECV,
  c.TCP_ESTABLISHED,
  c.TCP_FIN_WAIT1,
  c.TCP_FIN_WAIT2,
  c.TCP_CLOSE_WAIT,
  c.TCP_CLOSING,
  c.TCP_LAST_ACK,
  c.TCP_CLOSE,
];
const TCPI_OPT_TIMESTAMPS = 1;
const TCPI_OPT_SACK = 2;
const TCPI_OPT_WSCALE = 4;
const TCPI_OPT_ECN = 8;
const TCPI_OPT_ECN_SEEN = 16;
const TCPI_OPT_SYN_DATA = 32;
const INFINITE = 0x7fff_ffff;

/** Fields in the struct's order, with the bytes of each. `scales` and `flags` are the two bytes of bit-fields. */
const FIELDS = [
  ["state", 1],
  ["ca_state", 1],
  ["retransmits", 1],
  ["probes", 1],
  ["backoff", 1],
  ["options", 1],
  ["scales", 1],
  ["flags", 1],
  ["rto", 4],
  ["ato", 4],
  ["snd_mss", 4],
  ["rcv_mss", 4],
  ["unacked", 4],
  ["sacked", 4],
  ["lost", 4],
  ["retrans", 4],
  ["fackets", 4],
  ["last_data_sent", 4],
  ["last_ack_sent", 4],
  ["last_data_recv", 4],
  ["last_ack_recv", 4],
  ["pmtu", 4],
  ["rcv_ssthresh", 4],
  ["rtt", 4],
  ["rttvar", 4],
  ["snd_ssthresh", 4],
  ["snd_cwnd", 4],
  ["advmss", 4],
  ["reordering", 4],
  ["rcv_rtt", 4],
  ["rcv_space", 4],
  ["total_retrans", 4],
  ["pacing_rate", 8],
  ["max_pacing_rate", 8],
  ["bytes_acked", 8],
  ["bytes_received", 8],
  ["segs_out", 4],
  ["segs_in", 4],
  ["notsent_bytes", 4],
  ["min_rtt", 4],
  ["data_segs_in", 4],
  ["data_segs_out", 4],
  ["delivery_rate", 8],
  ["busy_time", 8],
  ["rwnd_limited", 8],
  ["sndbuf_limited", 8],
  ["delivered", 4],
  ["delivered_ce", 4],
  ["bytes_sent", 8],
  ["bytes_retrans", 8],
  ["dsack_dups", 4],
  ["reord_seen", 4],
  ["rcv_ooopack", 4],
  ["snd_wnd", 4],
  ["rcv_wnd", 4],
  ["rehash", 4],
  ["total_rto", 2],
  ["total_rto_recoveries", 2],
  ["total_rto_time", 4],
  ["received_ce", 4],
  ["delivered_e1_bytes", 4],
  ["delivered_e0_bytes", 4],
  ["delivered_ce_bytes", 4],
  ["received_e1_bytes", 4],
  ["received_e0_bytes", 4],
  ["received_ce_bytes", 4],
] as const;

export type TcpInfoField = (typeof FIELDS)[number][0];
/** Fields by the names of the struct without `tcpi_`; what the stack does not count is absent. */
export type TcpInfo = Partial<Record<TcpInfoField, number>> & { state: number };

const SIZE = 276;

/** What is known of a socket's connection. Times in microseconds (`ato`, `last_*` in ms and `rto` in µs, as Linux has them); counts in segments. */
export function tcpInfo(socket: TcpSocket): TcpInfo {
  const { tcb, options } = socket;
  if (socket.isListening) return { state: c.TCP_LISTEN };
  if (!tcb) return { state: c.TCP_CLOSE, snd_mss: 536, rcv_mss: 536, snd_cwnd: 10, snd_ssthresh: INFINITE };
  const s = user.status(tcb);
  const counts = segmentCounts(tcb);
  const since = (at: number) => (at > 0 ? Math.floor(tcb.now - at) : 0);
  const us = (ms: number) => Math.round(ms * 1000);
  const { accounts } = tcb;
  const times = accounts?.times(tcb.now) ?? { busy: 0, byWindow: 0, byBuffer: 0 };
  const window = tcb.state === TIME_WAIT ? 0 : Math.max((tcb.announced - tcb.received) | 0, 0);
  return {
    state: STATES[tcb.state],
    ca_state: congestionState(tcb),
    retransmits: tcb.flight.retries,
    probes: tcb.keepProbes + (tcb.flight.timerMode === "persist" ? tcb.flight.retries : 0),
    backoff: tcb.flight.retries,
    options: optionBits(tcb),
    scales: tcb.sendScale | (tcb.receiveScale << 4),
    flags: Number(tcb.appLimited),
    rto: us(s.rto),
    ato: tcb.state >= ESTABLISHED ? us(40) : 0,
    snd_mss: tcb.mss,
    rcv_mss: tcb.receivedMss,
    ...counts,
    last_data_sent: since(tcb.lastSentAt),
    last_data_recv: since(tcb.lastReceivedAt),
    last_ack_recv: since(tcb.lastReceivedAt),
    pmtu: tcb.path?.mtu,
    rtt: us(s.srtt),
    rttvar: us(s.rttvar),
    snd_ssthresh: s.ssthresh === undefined ? INFINITE : Math.floor(s.ssthresh / tcb.mss),
    snd_cwnd: Math.max(Math.floor(s.cwnd / tcb.mss), tcb.state < ESTABLISHED ? 1 : 0),
    advmss: tcb.path ? mssFor(tcb.path.linkMtu, tcb.remote.family, options.maxMss) : options.maxMss,
    rcv_space: s.receiveSpace,
    total_retrans: s.retransmissions,
    pacing_rate: s.pacingRate ?? Math.round(windowRate(tcb)),
    bytes_acked: s.bytesAcked,
    bytes_received: s.bytesReceived,
    segs_out: accounts?.segmentsOut,
    segs_in: accounts?.segmentsIn,
    data_segs_out: accounts?.dataSegmentsOut,
    data_segs_in: accounts?.dataSegmentsIn,
    bytes_sent: accounts?.bytesSent,
    bytes_retrans: accounts?.bytesResent,
    dsack_dups: accounts?.duplicateReports,
    total_rto: accounts?.timeouts,
    busy_time: us(times.busy),
    rwnd_limited: us(times.byWindow),
    sndbuf_limited: us(times.byBuffer),
    delivery_rate: tcb.rate.latest || undefined,
    max_pacing_rate: options.maxPacingRate || undefined,
    notsent_bytes: Math.max(s.notSent, 0),
    reordering: tcb.reordering,
    reord_seen: tcb.reorderings,
    delivered: tcb.packetsDelivered,
    delivered_ce: tcb.ecn?.ceDelivered ?? 0,
    received_ce: tcb.ecn?.ceReceived ?? 0,
    delivered_e1_bytes: tcb.ecn?.bytesDelivered[1] ?? 0,
    delivered_e0_bytes: tcb.ecn?.bytesDelivered[2] ?? 0,
    delivered_ce_bytes: tcb.ecn?.bytesDelivered[3] ?? 0,
    received_e1_bytes: tcb.ecn?.bytesReceived[1] ?? 0,
    received_e0_bytes: tcb.ecn?.bytesReceived[2] ?? 0,
    received_ce_bytes: tcb.ecn?.bytesReceived[3] ?? 0,
    min_rtt: s.minRtt === undefined ? undefined : us(s.minRtt),
    snd_wnd: s.sendWindow,
    rcv_wnd: window,
    rcv_ssthresh: window,
  };
}

function optionBits(tcb: Tcb): number {
  const { ecn } = tcb;
  const seen = ecn && (ecn.bytesReceived[1] > 0 || ecn.bytesReceived[2] > 0 || ecn.bytesReceived[3] > 0 || ecn.wasSeen);
  return (
    (tcb.timestampsOk ? TCPI_OPT_TIMESTAMPS : 0) |
    (tcb.sackOk ? TCPI_OPT_SACK : 0) |
    (tcb.scaleOffered ? TCPI_OPT_WSCALE : 0) |
    (ecn ? TCPI_OPT_ECN : 0) |
    (seen ? TCPI_OPT_ECN_SEEN : 0) |
    (tcb.synDataTaken ? TCPI_OPT_SYN_DATA : 0)
  );
}

/** Without a limit of its own a socket has the highest there is. */
const NO_LIMIT = 0xffff_ffff_ffff_ffffn;

/** All names of the struct, without `tcpi_`, with their values; what is not counted is 0. */
export function tcpInfoFields(info: TcpInfo): [name: string, value: number][] {
  return FIELDS.map(([name]) => [name, info[name] ?? (name === "max_pacing_rate" ? Number(NO_LIMIT) : 0)]);
}

/** The struct; fields that are not counted are 0. */
export function encodeTcpInfo(socket: TcpSocket): Uint8Array {
  const info = tcpInfo(socket);
  const out = new Uint8Array(SIZE);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [name, bytes] of FIELDS) {
    const value = info[name] ?? 0;
    if (bytes === 1) view.setUint8(at, value);
    else if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else if (name === "max_pacing_rate" && value === 0) view.setBigUint64(at, NO_LIMIT, true);
    else view.setBigUint64(at, BigInt(Math.round(value)), true);
    at += bytes;
  }
  return out;
}
