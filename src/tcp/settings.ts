/** What holds for all connections of a host, by what Linux calls `net.ipv4.tcp_…`; may be changed at any time. */
export interface TcpSettings {
  /** Times a SYN, a SYN-ACK and data are repeated before the connection is given up. */
  synRetries: number;
  /** The first repetitions of a SYN come at equal intervals, so many of them. */
  synLinearTimeouts: number;
  synAckRetries: number;
  retries: number;
  /** The same for a connection that nobody owns any more (RFC 9293 §3.8.6.1 lets a peer keep its window shut, but not for ever). */
  orphanRetries: number;
  /** Connections without an owner at most (Linux's tcp_max_orphans); one more is reset. */
  maxOrphans: number;
  /** Begin anew with the initial window after an idle retransmission timeout (RFC 5681 §4.1). */
  slowStartAfterIdle: boolean;
  /** Duplicate acknowledgements that name a segment lost (RFC 5681 §3.2), at first. */
  reordering: number;
  /** Fast Open (RFC 7413): as a client; as a server on listeners that ask for it, on all; data without a cookie. */
  fastOpen: {
    client: boolean;
    server: boolean;
    everyListener: boolean;
    clientWithoutCookie: boolean;
    serverWithoutCookie: boolean;
  };
  /** Report what came twice (RFC 2883). */
  dsack: boolean;
  /** Forward RTO-Recovery (RFC 5682). */
  frto: boolean;
  /** Segments that are handed down at once at least, where the window allows (Linux's tcp_min_tso_segs). */
  minTsoSegments: number;
  /** Bytes that a socket's send buffer begins with (the middle one of Linux's tcp_wmem). */
  initialSendBuffer: number;
  /** TCP_NOTSENT_LOWAT of sockets that have not set it; 0: no limit. */
  notSentLowWater: number;
  /** Probe for a lost tail before the timeout (RFC 8985 §7). */
  tailLossProbe: boolean;
  /** Accurate ECN's option, wherever it fits (RFC 9768 §3.2.3). */
  ecnOption: boolean;
  /** Believe what a SYN-ACK or the last ACK of a handshake reflects of IP's ECN field only where it can be right (RFC 9768 §3.2.2.3). */
  ecnFallback: boolean;
  /** Searching for the largest segment that the path takes (RFC 4821): 0 never; 1 when it swallows large ones; 2 always. */
  mtuProbing: number;
  /** Payload that is thought to pass everywhere; the least to fall back to when not even that does. */
  baseMss: number;
  mtuProbeFloor: number;
  /** Least segment that a peer's MSS can ask for (Linux's tcp_min_snd_mss). */
  minSendMss: number;
  /** Milliseconds from the end of a search to the next; bytes that are not worth a probe. */
  mtuProbeIntervalMs: number;
  mtuProbeThreshold: number;
  /** Seconds between which an advertised user timeout has to lie (RFC 5482 §3.1). */
  leastUserTimeout: number;
  mostUserTimeout: number;
  /** Milliseconds in TIME-WAIT, and in FIN-WAIT-2 without an owner. */
  timeWaitMs: number;
  finWait2Ms: number;
  /** May new connections take the place of those in TIME-WAIT, by their timestamps (RFC 6191)? 0 never; 1 always; 2 over loopback. */
  timeWaitReuse: 0 | 1 | 2;
}

export function defaultSettings(): TcpSettings {
  return {
    synRetries: 6,
    synLinearTimeouts: 4,
    synAckRetries: 5,
    retries: 15,
    orphanRetries: 8,
    maxOrphans: 16_384,
    slowStartAfterIdle: true,
    reordering: 3,
    fastOpen: { client: true, server: true, everyListener: false, clientWithoutCookie: false, serverWithoutCookie: false },
    dsack: true,
    frto: true,
    minTsoSegments: 2,
    initialSendBuffer: 16_384,
    notSentLowWater: 0,
    tailLossProbe: true,
    ecnOption: true,
    ecnFallback: true,
    mtuProbing: 1,
    baseMss: 1024,
    mtuProbeFloor: 48,
    minSendMss: 48,
    mtuProbeIntervalMs: 600_000,
    mtuProbeThreshold: 8,
    leastUserTimeout: 100,
    mostUserTimeout: 3600,
    timeWaitMs: 60_000,
    finWait2Ms: 60_000,
    timeWaitReuse: 2,
  };
}
