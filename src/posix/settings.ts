/** What a socket remembers of the options that the transport below has no place for; connections inherit it from their listener. */
export interface Settings {
  reusePort: boolean;
  keepAlive: boolean;
  /** Seconds before the first probe, between probes; and how many. */
  keepIdle: number;
  keepInterval: number;
  keepCount: number;
  /** Seconds; undefined: close returns at once and data follows. */
  linger: number | undefined;
  /** Bytes that make a stream readable. */
  receiveLowWater: number;
  /** Milliseconds that blocking calls wait; 0: for ever. */
  receiveTimeout: number;
  sendTimeout: number;
  /** As getsockopt shows them (twice what was asked for); 0: tuned by the stack. */
  receiveBuffer: number;
  sendBuffer: number;
  broadcast: boolean;
  oobInline: boolean;
  zeroCopy: boolean;
  /** Flags of SO_TIMESTAMPING, and the number that its identifiers count from. */
  timestamping: number;
  timestampKey: number;
  /** What is read tells when it came: in microseconds (SO_TIMESTAMP), in nanoseconds (SO_TIMESTAMPNS). */
  stamps: "us" | "ns" | undefined;
  /** Messages tell who sent them (SO_PASSCRED). */
  passCredentials: boolean;
  v6Only: boolean;
  /** What routing rules may look at (SO_MARK). */
  mark: number;
  /** May bind to addresses that are not this host's (IP_FREEBIND). */
  freeBind: boolean;
  /** The port of an address alone is chosen by connect (IP_BIND_ADDRESS_NO_PORT). */
  bindWithoutPort: boolean;
  /** IP_MTU_DISCOVER of a stream. */
  discovery: number;
  /** IPV6_DONTFRAG of a stream. */
  dontFragment: boolean;
  /** Interface by name. */
  device: string | undefined;
  /** Connections that may be open before their handshake is over (TCP_FASTOPEN), and the keys of their cookies. */
  fastOpenQueue: number;
  fastOpenKey: Uint8Array | undefined;
  fastOpenConnect: boolean;
  /** Milliseconds of TCP_DELACK_MAX_US. */
  ackDelayMost: number;
  /** recvmsg tells how much is left (TCP_INQ). */
  inq: boolean;
}

export function newSettings(): Settings {
  return {
    reusePort: false,
    keepAlive: false,
    keepIdle: 7200,
    keepInterval: 75,
    keepCount: 9,
    linger: undefined,
    receiveLowWater: 1,
    receiveTimeout: 0,
    sendTimeout: 0,
    receiveBuffer: 0,
    sendBuffer: 0,
    broadcast: false,
    oobInline: false,
    zeroCopy: false,
    timestamping: 0,
    timestampKey: 0,
    stamps: undefined,
    passCredentials: false,
    v6Only: false,
    mark: 0,
    freeBind: false,
    bindWithoutPort: false,
    discovery: 1,
    dontFragment: false,
    device: undefined,
    fastOpenQueue: 0,
    fastOpenKey: undefined,
    fastOpenConnect: false,
    ackDelayMost: 200,
    inq: false,
  };
}
