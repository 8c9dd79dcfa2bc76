/** Two hosts for an attack's test, connections in each state, and segments as if they came from the other. */
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import type { Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { STATES } from "../src/tcp/states.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { addressBytes4, ETHERTYPE, serializeEthernet, serializeIpv4, serializeTcp, type TcpSegment } from "../src/wire/index.ts";

export const A = 0x0a000001;
export const B = 0x0a000002;

export async function twoHosts(seed: number, handshakes?: number): Promise<{ lab: Lab; a: Host; b: Host }> {
  const lab = await Lab.create({ seed });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const b = await lab.host({ handshakes, interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] });
  lab.link(a, b, { delay: 1 });
  a.ping("10.0.0.2").catch(() => {});
  await lab.run(100);
  return { lab, a, b };
}

/** Puts a segment on b's interface as if it came from an address (default: a). */
export function inject(b: Host, segment: Partial<TcpSegment> & Pick<TcpSegment, "sourcePort" | "destinationPort">, source = A): void {
  const whole = {
    sequence: 0,
    acknowledgement: 0,
    flags: 0,
    window: 65_535,
    urgentPointer: 0,
    options: new Uint8Array(0),
    payload: new Uint8Array(0),
    ...segment,
  };
  const addresses = { source: addressBytes4(source), destination: addressBytes4(B) };
  const packet = serializeIpv4({ protocol: 6, source, destination: B, payload: serializeTcp(whole, addresses) });
  const { port, mac } = b.ip.interface("eth0");
  port.receive(serializeEthernet({ destination: mac, source: Uint8Array.of(2, 0, 0, 0, 0, 9), type: ETHERTYPE.ipv4, payload: packet }));
}

/** A server connection on b in the state that was asked for. */
export async function inState(
  wanted: (typeof STATES)[number],
  seed: number,
): Promise<{ lab: Lab; a: Host; b: Host; client: Tcb; server: Tcb | undefined }> {
  const hosts = await twoHosts(seed);
  const { lab, a, b } = hosts;
  const listener = b.tcp.listen(undefined, 80);
  const client = a.tcp.connect(IpAddress.v4(B), 80, { port: 4000 });
  if (wanted === "SYN-RECEIVED") {
    lab.links[0].set({ cut: true }, 1);
    await lab.run(2);
    return { ...hosts, client, server: b.tcp.list()[0] };
  }
  await lab.run(20);
  const server = listener.accept() as Tcb;
  if (wanted === "CLOSE-WAIT" || wanted === "LAST-ACK") user.shutdown(client);
  if (wanted === "FIN-WAIT-1" || wanted === "LAST-ACK") {
    await lab.run(20);
    lab.links[0].set({ cut: true });
  }
  if (wanted === "FIN-WAIT-1" || wanted === "FIN-WAIT-2" || wanted === "LAST-ACK" || wanted === "CLOSING" || wanted === "TIME-WAIT")
    user.shutdown(server);
  if (wanted === "CLOSING") {
    // The FINs cross, and what acknowledges them is lost.
    user.shutdown(client);
    lab.settle();
    lab.links[0].set({ cut: true });
  }
  if (wanted === "TIME-WAIT") user.shutdown(client);
  await lab.run(20);
  return { ...hosts, client, server };
}

export const EDGES = [0, 1, -1, 2, 1000, -1000, 65_535, -65_536, 0x7fffffff, -0x80000000, 1_000_000];

export function optionsOf(server: Tcb, random: Random): Uint8Array {
  if (!server.timestampsOk) return new Uint8Array(0);
  const out = new Uint8Array(random.below(3) ? 12 : 32);
  const view = new DataView(out.buffer);
  view.setUint32(0, 0x0101080a);
  view.setUint32(4, (server.tsRecent + random.below(100)) >>> 0);
  view.setUint32(8, server.tsval >>> 0);
  if (out.length === 32) {
    view.setUint32(12, 0x01010512);
    for (let i = 16; i < 32; i += 4) view.setUint32(i, (server.una + EDGES[random.below(EDGES.length)]) >>> 0);
  }
  return out;
}
