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
    this.reuseAddress = true;
  }

  protected open(address: IpAddress, port: number): PingEndpoint {
    return new PingEndpoint(this.host.echo, address, port, this.reuseAddress);
  }

  protected checkPort(): number {
    return 0;
  }
}
