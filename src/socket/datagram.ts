/** A UDP socket: `send`, `receive`, or `for await (const datagram of socket)`. */
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { UdpEndpoint } from "../udp/endpoint.ts";
import type { SocketAddress } from "./stream.ts";

export interface ReceivedDatagram extends SocketAddress {
  readonly data: Uint8Array;
}

export class DatagramSocket implements AsyncIterable<ReceivedDatagram> {
  private readonly endpoint: UdpEndpoint;
  private lastText = "";
  private lastAddress: IpAddress | undefined;
  private readonly waiters: (() => void)[] = [];

  constructor(endpoint: UdpEndpoint) {
    this.endpoint = endpoint;
    endpoint.onEvent = () => {
      for (const wake of this.waiters.splice(0)) wake();
    };
  }

  get address(): SocketAddress {
    return { address: String(this.endpoint.local), port: this.endpoint.port };
  }

  /** Datagrams that found no room in the queue. */
  get drops(): number {
    return this.endpoint.drops;
  }

  /** Sends one datagram: to the connected peer, or to the one named. */
  send(data: Uint8Array, to?: SocketAddress): void {
    if (to) {
      // Datagrams go in runs to one peer: its address is read once.
      if (to.address !== this.lastText) {
        this.lastAddress = IpAddress.parse(to.address);
        this.lastText = to.address;
      }
      this.endpoint.send(data, this.lastAddress, to.port);
    } else this.endpoint.send(data);
  }

  /** The next datagram. Rejects with what came back for one that was sent (connected sockets), or when closed. */
  async receive(): Promise<ReceivedDatagram> {
    for (;;) {
      const datagram = this.tryReceive();
      if (datagram) return datagram;
      if (this.endpoint.closed) throw new LoomError("EPIPE", "the socket is closed");
      await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }

  /** The next datagram, if one waits. */
  tryReceive(): ReceivedDatagram | undefined {
    const datagram = this.endpoint.read();
    return datagram && { data: datagram.data, address: String(datagram.address), port: datagram.port };
  }

  /** Only this peer from now on. */
  connect(peer: SocketAddress): void {
    this.endpoint.connect(IpAddress.parse(peer.address), peer.port);
  }

  close(): void {
    this.endpoint.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<ReceivedDatagram> {
    while (!this.endpoint.closed) {
      const datagram = this.tryReceive();
      if (datagram) yield datagram;
      else await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }
}
