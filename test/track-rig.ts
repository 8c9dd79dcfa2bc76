/** Packets between two networks with a tracking router in their middle: 10/8 behind its port 0, 20/8 behind port 1. */

import { VirtualClock } from "../src/base/clock.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { Firewall } from "../src/filter/index.ts";
import { Conntrack } from "../src/track/index.ts";
import { addressBytes4, ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeTcp, serializeUdp } from "../src/wire/index.ts";
import { engineOf, mac } from "./support.ts";

/** MACs of the router's ports. */
export const ROUTER = [Uint8Array.of(2, 0, 0, 0, 0, 0), Uint8Array.of(2, 0, 0, 0, 0, 1)];
export const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

const between = (source: number, destination: number) => ({ source: addressBytes4(source), destination: addressBytes4(destination) });

/** A packet as it comes in by a port. */
export function frame(port: number, source: number, destination: number, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = serializeIpv4({ protocol, source, destination, payload });
  return serializeEthernet({ destination: ROUTER[port], source: mac(50 + port), type: ETHERTYPE.ipv4, payload: packet });
}

export function udp(
  port: number,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  payload = new Uint8Array(8),
): Uint8Array {
  return frame(
    port,
    source,
    destination,
    PROTOCOL.udp,
    serializeUdp({ sourcePort, destinationPort, payload }, between(source, destination)),
  );
}

export interface Segment {
  readonly ports: readonly [source: number, destination: number];
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement?: number;
  readonly window?: number;
  readonly options?: Uint8Array;
  readonly payload?: Uint8Array;
}

export function tcp(port: number, source: number, destination: number, { ports, ...given }: Segment): Uint8Array {
  const segment = {
    acknowledgement: 0,
    window: 1000,
    options: new Uint8Array(),
    payload: new Uint8Array(),
    ...given,
    sourcePort: ports[0],
    destinationPort: ports[1],
    urgentPointer: 0,
  };
  return frame(port, source, destination, PROTOCOL.tcp, serializeTcp(segment, between(source, destination)));
}

/** The router by itself, in virtual time, with rules: its addresses are 10.0.0.254 on `lan` and 20.0.0.99 on `wan`. */
export async function crossing(build: "shared" | "plain", rules: string, flows = 64) {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows, flowEvents: 64, filterBytes: 4 << 20, clock });
  const table4 = engine.createTable(4);
  const network = engine.createNetwork();
  for (const p of [0, 1]) {
    const hop = table4.addNextHop({ kind: "forward", port: p, destinationMac: mac(1 + p), sourceMac: ROUTER[p] });
    table4.set(p ? "20.0.0.0/8" : "10.0.0.0/8", hop);
    engine.port(p).configure({ table4 });
    const address4 = IpAddress.parse(p ? "20.0.0.99" : "10.0.0.254");
    network.add(engine.port(p)).describe(p, { name: p ? "wan" : "lan", index: p + 1, type: 1, address4 });
  }
  const firewall = new Firewall(engine, network);
  firewall.apply(rules);
  return { engine, clock, firewall, conntrack: new Conntrack(engine, network.index) };
}
