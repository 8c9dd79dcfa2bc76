/**
 * How each end of a conversation sees it. A server behind a router that translates knows its client by the addresses that its
 * packets arrive with; so what came out is read, and answers are addressed as such a server would.
 */
import { u16 } from "../../src/base/bytes.ts";
import type { Frame } from "./case.ts";
import { PORTS, type PortName } from "./topology.ts";
import { addressBytes, addressText, fromHex } from "./words.ts";

/** From the end that speaks: where it is attached, its address and port, its peer's. Ports are ids for echoes. */
export interface View {
  readonly port: PortName;
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
}

/** The port of the router that an address is behind. */
export function portTowards(address: string): PortName {
  const bytes = addressBytes(address);
  for (const { name, address4, address6 } of PORTS) {
    const own = addressBytes(bytes.length === 4 ? address4 : address6);
    if (own.subarray(0, bytes.length === 4 ? 3 : 8).every((byte, i) => byte === bytes[i])) return name;
  }
  return "wan";
}

const ETHERNET = 14;

/** What a whole packet says about its ends; extension headers and later fragments say nothing. */
export function viewOf({ port, frame }: Frame): (View & { protocol: number }) | undefined {
  const bytes = fromHex(frame).subarray(ETHERNET);
  const six = bytes[0] >>> 4 === 6;
  const at = six ? 40 : (bytes[0] & 15) * 4;
  if (bytes.length < at + 8 || (!six && (u16(bytes, 6) & 0x1fff) !== 0)) return undefined;
  const [source, destination] = six ? [bytes.subarray(8, 24), bytes.subarray(24, 40)] : [bytes.subarray(12, 16), bytes.subarray(16, 20)];
  const protocol = six ? bytes[6] : bytes[9];
  const echo = protocol === 1 || protocol === 58;
  const [sport, dport] = echo ? [u16(bytes, at + 4), u16(bytes, at + 4)] : [u16(bytes, at), u16(bytes, at + 2)];
  return { port, from: addressText(source), to: addressText(destination), sport, dport, protocol };
}

/** The other end's view of a packet that it got. */
export const turned = (view: View): View => ({ port: view.port, from: view.to, to: view.from, sport: view.dport, dport: view.sport });
