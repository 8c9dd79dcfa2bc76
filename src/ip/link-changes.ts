/**
 * Interfaces that change while the host runs: addresses and whole interfaces go, links go down and come back, MTU and
 * MAC change. What was looked up before is looked up anew (`routes.generation`), so sockets follow by themselves.
 */
import type { IpAddress } from "../base/ip-address.ts";
import type { NetInterface } from "./interface.ts";
import type { Neighbours } from "./neighbours.ts";
import type { Routes } from "./routes.ts";
import type { Transport } from "./types.ts";

/** What changes need of the network layer. */
export interface ChangingHost {
  readonly routes: Routes;
  readonly neighbours: Neighbours;
  readonly transports: ReadonlyMap<number, Transport>;
  announce(iface: NetInterface, address: IpAddress): void;
  removeAddress(iface: NetInterface, address: IpAddress): void;
}

export class LinkChanges {
  private readonly host: ChangingHost;

  constructor(host: ChangingHost) {
    this.host = host;
  }

  /** Everything that hangs on an interface goes: addresses, routes, neighbours and the packets that wait for them. */
  clear(iface: NetInterface): void {
    for (const { address } of [...iface.addresses]) this.host.removeAddress(iface, address);
    iface.groups4?.close();
    iface.groups6?.close();
    this.host.routes.withdraw(iface);
    this.host.neighbours.flush(iface, true);
    // Next hops of neighbours that were gateways of groups were still named until now.
    this.host.routes.generation++;
  }

  /** Up or down by order: routes wait, what was learnt of the link is forgotten. */
  setUp(iface: NetInterface, up: boolean): void {
    if (iface.up === up) return;
    iface.port.configure({ up });
    this.host.routes.refresh(iface);
    if (up) this.announceAll(iface);
    else {
      this.host.neighbours.flush(iface);
      iface.port.drain();
    }
  }

  /** The other side came or went: neighbours are asked for anew, and told who is here. */
  setCarrier(iface: NetInterface, carrier: boolean): void {
    iface.carrier = carrier;
    if (carrier) this.announceAll(iface);
    else this.host.neighbours.flush(iface);
  }

  setMtu(iface: NetInterface, mtu: number): void {
    iface.port.configure({ mtu });
    this.host.routes.generation++;
    for (const transport of this.host.transports.values()) transport.pathChanged?.();
  }

  setMac(iface: NetInterface, mac: string | Uint8Array): void {
    iface.port.configure({ mac });
    iface.mac.set(iface.port.macBytes);
    this.host.neighbours.rewrite(iface);
    if (iface.up) this.announceAll(iface);
  }

  private announceAll(iface: NetInterface): void {
    for (const { address, state } of iface.addresses) if (state === "usable") this.host.announce(iface, address);
  }
}
