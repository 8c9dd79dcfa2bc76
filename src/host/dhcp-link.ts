/**
 * How DHCP gets on and off a link: datagrams from and to an interface that may have no address yet, with headers of our
 * own (RFC 2131 §4.1), and by multicast (RFC 8415 §7).
 */
import { parseMac } from "../base/address.ts";
import { type InterfaceAddress, IpAddress } from "../base/ip-address.ts";
import type { AddressListener, AddressOptions } from "../ip/addresses.ts";
import type { NetInterface } from "../ip/interface.ts";
import type { IpStack } from "../ip/stack.ts";
import { ANY4, ANY6 } from "../ip/wildcard.ts";
import type { UdpLayer } from "../udp/layer.ts";
import { ETHERTYPE, serializeEthernet } from "../wire/index.ts";
import { serializeUdp } from "../wire/l4.ts";
import type { HostNames } from "./names.ts";

export const EVERYBODY = parseMac("ff:ff:ff:ff:ff:ff");
export const LIMITED_BROADCAST = IpAddress.parse("255.255.255.255");
export const NOBODY = IpAddress.parse("0.0.0.0");

/** What DHCP needs of its host. */
export interface DhcpHost {
  readonly ip: IpStack;
  readonly udp: UdpLayer;
  readonly names: HostNames;
  setMtu(name: string, mtu: number): void;
}

export interface Ports {
  readonly from: number;
  readonly to: number;
}

function packet(stack: IpStack, source: IpAddress, destination: IpAddress, ports: Ports, payload: Uint8Array): Uint8Array {
  const addresses = { source: source.bytes(), destination: destination.bytes() };
  return stack.packetOf(source, destination, 17, serializeUdp({ sourcePort: ports.from, destinationPort: ports.to, payload }, addresses));
}

/** One frame to a MAC address, whatever the routes and neighbours say. */
export function sendRaw(
  stack: IpStack,
  iface: NetInterface,
  mac: Uint8Array,
  source: IpAddress,
  destination: IpAddress,
  ports: Ports,
  payload: Uint8Array,
): void {
  const frame = { destination: mac, source: iface.mac, type: ETHERTYPE.ipv4, payload: packet(stack, source, destination, ports, payload) };
  stack.touch();
  stack.sendFrame(iface, serializeEthernet(frame));
}

/** A datagram the way any other goes; false without a route. */
export function sendRouted(
  stack: IpStack,
  iface: NetInterface,
  source: IpAddress,
  destination: IpAddress,
  ports: Ports,
  payload: Uint8Array,
): boolean {
  stack.touch();
  const path = stack.pathTo(destination, iface);
  const sent = path.hop !== 0 && stack.sendPacket(packet(stack, source, destination, ports, payload), path);
  stack.flush();
  return sent;
}

/** Hears what comes to a UDP port by one interface, to whatever address, until what is returned is called. */
export function listenOn(
  host: DhcpHost,
  iface: NetInterface,
  family: 4 | 6,
  port: number,
  receive: (data: Uint8Array, source: IpAddress) => void,
  groups: readonly IpAddress[] = [],
): () => void {
  const endpoint = host.udp.bind(family === 4 ? ANY4 : ANY6, port, { reuseAddress: true, v6Only: true });
  endpoint.device = iface;
  endpoint.broadcast = true;
  for (const group of groups) endpoint.join(group, { iface });
  endpoint.onEvent = () => {
    if (endpoint.closed) return;
    for (let each = endpoint.read(); each; each = endpoint.read()) receive(each.data, each.address);
  };
  return () => endpoint.close();
}

/**
 * Gives an interface an address once nobody else turns out to have it (RFC 5227, RFC 4862 §5.4); false when somebody does.
 * Rejects with what an address that cannot be the interface's is refused with.
 */
export function claimAddress(ip: IpStack, iface: NetInterface, own: InterfaceAddress, options: AddressOptions): Promise<boolean> {
  const { address } = own;
  ip.touch();
  if (iface.owns(address)) return Promise.resolve(true);
  return new Promise((resolve, reject) => {
    const listener: AddressListener = (event, { address: which }, where) => {
      if (where !== iface || !which.equals(address) || event === "added" || event === "deprecated") return;
      ip.addresses.listeners.delete(listener);
      resolve(event === "usable");
      if (event === "duplicate") ip.removeAddress(iface, address);
    };
    ip.addresses.listeners.add(listener);
    try {
      ip.addAddress(iface, own, { origin: "dhcp", ...options });
    } catch (error) {
      ip.addresses.listeners.delete(listener);
      reject(error);
    }
    ip.flush();
  });
}

/** Takes an address away that DHCP gave. */
export function dropAddress(ip: IpStack, iface: NetInterface, address: IpAddress): void {
  ip.touch();
  if (iface.find(address)?.origin === "dhcp") ip.removeAddress(iface, address);
}
