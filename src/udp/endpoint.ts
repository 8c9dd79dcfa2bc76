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

/** What an endpoint needs of its layer. */
export interface UdpWorld {
  readonly stack: IpStack;
  transmit(envelope: Envelope, parts: readonly Uint8Array[], from: number, to: number): void;
  release(endpoint: UdpEndpoint): void;
  rehash(endpoint: UdpEndpoint): void;
}

export class UdpEndpoint extends DatagramEndpoint {
  private readonly layer: UdpWorld;

  constructor(layer: UdpWorld, local: IpAddress, port: number, options?: EndpointOptions) {
    super(layer.stack, PROTOCOL.udp, local, port, options);
    this.layer = layer;
  }

  override send(data: Uint8Array, to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const segmentSize = options?.segmentSize ?? 0;
    if (segmentSize !== 0 && !(segmentSize > 0 && data.length <= segmentSize * MOST_SEGMENTS)) {
      throw new LoomError("EINVAL", `${data.length} bytes in segments of ${segmentSize}; expected at most ${MOST_SEGMENTS} segments`);
    }
    super.send(data, to, port, options);
  }

  /** Sends datagrams to one peer: runs of one size go down as one packet and are cut where it is cheapest. */
  override sendMany(datagrams: readonly Uint8Array[], to = this.remote, port = this.remotePort, options?: SendOptions): void {
    const envelope = this.envelope(to, port, 0, options);
    const fits = envelope.path.mtu - (envelope.to.family === 4 ? 28 : 48);
    for (let from = 0; from < datagrams.length; ) {
      const size = datagrams[from].length;
      const end = size === 0 || size > fits ? from + 1 : runEnd(datagrams, from);
      this.transmit(end - from === 1 ? envelope : { ...envelope, segmentSize: size }, datagrams, from, end);
      from = end;
    }
    this.stack.flush();
  }

  /** Gives its port back, and hears nothing, until `rehash` finds it another (Linux's udp_lib_unhash). */
  unhash(): void {
    this.layer.release(this);
    this.port = 0;
  }

  /** Throws EADDRINUSE when there is none. */
  rehash(): void {
    this.layer.rehash(this);
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
