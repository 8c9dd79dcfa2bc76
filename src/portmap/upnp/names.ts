/** What the gateway is called (UPnP Device Architecture 1.1; InternetGatewayDevice:1, WANIPConnection:1). */
import { md5 } from "../../base/md5.ts";

const device = (name: string) => `urn:schemas-upnp-org:device:${name}:1`;
const service = (name: string) => `urn:schemas-upnp-org:service:${name}:1`;

export const GATEWAY = device("InternetGatewayDevice");
export const WAN = device("WANDevice");
export const CONNECTION = device("WANConnectionDevice");
export const FORWARDING = service("Layer3Forwarding");
export const LINK = service("WANCommonInterfaceConfig");
export const IP_CONNECTION = service("WANIPConnection");

/** Each of the three devices has a number of its own, made of the router's MAC address: the same after every start. */
export function uuidOf(mac: string, which: string): string {
  const hex = [...md5(new TextEncoder().encode(`packetloom ${which} ${mac}`))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  // RFC 9562 §5.3: version 3, variant 10.
  const variant = ((Number.parseInt(hex[16], 16) & 3) | 8).toString(16);
  return `uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-3${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export interface Names {
  readonly gateway: string;
  readonly wan: string;
  readonly connection: string;
}

export const namesOf = (mac: string): Names => ({
  gateway: uuidOf(mac, "gateway"),
  wan: uuidOf(mac, "wan"),
  connection: uuidOf(mac, "connection"),
});

/** What is advertised and found: search target and the device that has it. */
export function targetsOf({ gateway, wan, connection }: Names): readonly { readonly target: string; readonly name: string }[] {
  return [
    { target: "upnp:rootdevice", name: gateway },
    { target: gateway, name: gateway },
    { target: wan, name: wan },
    { target: connection, name: connection },
    { target: GATEWAY, name: gateway },
    { target: WAN, name: wan },
    { target: CONNECTION, name: connection },
    { target: FORWARDING, name: gateway },
    { target: LINK, name: wan },
    { target: IP_CONNECTION, name: connection },
  ];
}

/** Unique service name: a device's own name stands alone. */
export const usnOf = (name: string, target: string): string => (name === target ? name : `${name}::${target}`);
