/**
 * IPv4 for hosts that have IPv6 alone (RFC 6146), as an interface of the router: what is sent to the prefix goes out by it as IPv6 and comes
 * in by it as IPv4, from an address of the pool, and what is sent to the pool the other way round. Rules and masquerade see both sides.
 */

import { LoomError } from "../base/errors.ts";
import { IpAddress, networkOf, parseInterfaceAddress } from "../base/ip-address.ts";
import type { Pref64 } from "../dns/dns64.ts";
import type { Port } from "../engine/port.ts";
import type { Host } from "../host/host.ts";
import { families } from "../link/pair.ts";
import { same } from "./changes.ts";
import type { RouterConfig } from "./schema.ts";

export const NAT64_INTERFACE = "nat64";
/** RFC 6052 §2.1; and a network that is nobody's (RFC 2544). */
export const NAT64_PREFIX = "64:ff9b::/96";
const POOL = "198.18.0.0/16";
/** Whatever comes is translated; what is too large then is told so behind it, or cut. */
const MTU = 65_535;
const BEYOND = IpAddress.parse("fe80::64");
const MAC = Uint8Array.of(2, 0, 0, 0, 6, 0x40);

/** What IPv4 addresses are behind. */
export function pref64Of({ nat64 }: RouterConfig): Pref64 {
  const { address: prefix, length } = parseInterfaceAddress(nat64?.prefix ?? NAT64_PREFIX);
  return { prefix, length };
}

export class Nat64 {
  private readonly host: Host;
  private config: RouterConfig["nat64"];

  /** `port`: of an engine that is shared; default: the next free one. */
  constructor(
    host: Host,
    private readonly port: Port | undefined,
  ) {
    this.host = host;
  }

  async set({ nat64: next }: RouterConfig): Promise<void> {
    if (same(next, this.config)) return;
    const { host } = this;
    if (this.config) this.end();
    if (!next) return;
    if (!host.network) throw new LoomError("ENOTSUP", "nat64: this router tracks no connections (conntrack.max is 0)");
    const { prefix, length } = pref64Of({ interfaces: [], nat64: next });
    const { address: pool, length: poolLength } = parseInterfaceAddress(next.pool ?? POOL);
    host.network.translateFamilies({ prefix, length, pool, poolLength });
    const iface = await host.addInterface({
      name: NAT64_INTERFACE,
      mtu: next.mtu ?? MTU,
      ...(this.port && { port: this.port }),
      device: async (engine, port) => families(engine, port),
    });
    const beyond4 = IpAddress.v4(networkOf(pool, poolLength).v4 + 1);
    for (const [to, via] of [
      [`${networkOf(prefix, length)}/${length}`, BEYOND],
      [`${networkOf(pool, poolLength)}/${poolLength}`, beyond4],
    ] as const) {
      host.ip.neighbours.setPermanent(iface, via, MAC);
      host.addRoute({ to, via: String(via), interface: NAT64_INTERFACE });
    }
    this.config = next;
  }

  /** Addresses of the pool that hosts have are theirs no longer. */
  private end(): void {
    const { mappings } = this.host.conntrack;
    this.host.removeInterface(NAT64_INTERFACE);
    for (const { protocol, id } of mappings.list()) if (protocol === 0) mappings.remove(id);
    this.config = undefined;
  }
}
