/** A socket of ICMP echo (icmp(7)): its port is the identifier, and it sends and gets messages from their type on. */
import type { IpAddress } from "../base/ip-address.ts";
import type { Host } from "../host/host.ts";
import { PingEndpoint } from "../raw/ping-endpoint.ts";
import { AF_INET, IPPROTO_ICMP, IPPROTO_ICMPV6, SOCK_DGRAM } from "./constants.ts";
import { DatagramSocket } from "./datagram-socket.ts";

export class PingSocket extends DatagramSocket<PingEndpoint> {
  /** The layer of echo knows who has which identifier. */
  protected readonly bindings = undefined;

  constructor(host: Host, domain: number) {
    super(host, domain, SOCK_DGRAM, domain === AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    this.settings.v6Only = true;
    // As Linux makes them (INET_PROTOSW_REUSE): several programs may ping with one identifier.
    this.adopt(new PingEndpoint(host.echo, this.address, true));
    this.reuseAddress = true;
  }

  protected hash(address: IpAddress, port: number): void {
    this.endpoint.hash(address, port);
  }

  protected unhash(): void {
    this.endpoint.unhash();
  }

  protected checkPort(): number {
    return 0;
  }
}
