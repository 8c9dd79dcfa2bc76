/** A UDP endpoint: bound to a port (RFC 768). */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { SendOptions } from "../datagram/datagram.ts";
import { DatagramEndpoint, type EndpointOptions, type Envelope } from "../datagram/endpoint.ts";
import type { IpStack } from "../ip/stack.ts";
import { PROTOCOL } from "../wire/index.ts";

/** Linux: UDP_MAX_SEGMENTS. */
const MOST_SEGMENTS = 64;
/** Datagrams that are sent as one share a slab. */
const RUN_BYTES = 16_384;
/** Of IP and UDP. */
const HEADERS = { 4: 28, 6: 48 } as const;

/** What an endpoint needs of its layer. */
export interface UdpWorld {
  readonly stack: IpStack;
  transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void;
  release(endpoint: UdpEndpoint): void;
  hash(endpoint: UdpEndpoint, local: IpAddress, port: number): void;
}

export class UdpEndpoint extends DatagramEndpoint {
  private readonly layer: UdpWorld;

  /** Hears nothing until it is hashed. */
  constructor(layer: UdpWorld, local: IpAddress, options?: EndpointOptions) {
    super(layer.stack, PROTOCOL.udp, local, 0, options);
    this.layer = layer;
  }

  override send(data: Uint8Array, to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const segmentSize = options?.segmentSize ?? 0;
    if (segmentSize !== 0 && !(segmentSize > 0 && data.length <= segmentSize * MOST_SEGMENTS)) {
      throw new LoomError("EINVAL", `${data.length} bytes in segments of ${segmentSize}; expected at most ${MOST_SEGMENTS} segments`);
    }
    super.send(data, to, port, options);
  }

  /** Bytes of one datagram there that may not be cut, Infinity where it may. Throws what sending there would. */
  roomFor(to: IpAddress, port: number, options?: SendOptions): number {
    const { path, mayFragment } = this.envelope(to, port, 0, options);
    return mayFragment ? Number.POSITIVE_INFINITY : path.mtu - HEADERS[to.family];
  }

  /** Sends datagrams to one peer: runs of one size go down as one packet and are cut where it is cheapest. */
  override sendMany(datagrams: readonly Uint8Array[], to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const envelope = this.envelope(to, port, 0, options);
    const fits = envelope.path.mtu - HEADERS[envelope.to.family];
    for (let from = 0; from < datagrams.length; ) {
      const size = datagrams[from].length;
      const end = size === 0 || size > fits ? from + 1 : runEnd(datagrams, from);
      this.transmit(end - from === 1 ? envelope : { ...envelope, segmentSize: size }, datagrams, from, end);
      from = end;
    }
    this.stack.flush();
  }

  /** On an address and a port (0: any free one) from now on. Throws EADDRNOTAVAIL, EADDRINUSE. */
  hash(local: IpAddress, port: number): void {
    this.forgetPath();
    this.layer.hash(this, local, port);
  }

  /** Gives its port back, and hears nothing, until it is hashed again (Linux's udp_lib_unhash). */
  unhash(): void {
    this.layer.release(this);
    this.port = 0;
  }

  protected transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void {
    this.layer.transmit(envelope, parts, from, to);
  }

  protected release(): void {
    this.layer.release(this);
  }

  protected checkPort(port: number): void {
    if (!(port >= 1 && port <= 65_535)) throw new LoomError("EINVAL", `port ${port}; expected 1 to 65535`);
  }
}

/** Where a run of datagrams of one size ends; only its last may be shorter. */
function runEnd(datagrams: readonly Uint8Array[], from: number): number {
  const size = datagrams[from].length;
  const most = Math.min(datagrams.length, from + Math.max(1, Math.min(MOST_SEGMENTS, Math.floor(RUN_BYTES / size))));
  let end = from + 1;
  while (end < most && datagrams[end].length === size) end++;
  if (end < most && datagrams[end].length < size && datagrams[end].length > 0) end++;
  return end;
}
