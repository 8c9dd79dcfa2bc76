/** IPv4 options at a host (RFC 1122 §3.2.1.8, RFC 7126): malformed ones are answered, source routes dropped, the rest passed by. */
import type { HeaderProblem } from "./extensions.ts";

const END = 0;
const NOP = 1;
const RECORD_ROUTE = 7;
const TIMESTAMP = 68;
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;

/** What stops a packet: a source route (nobody asked for one in thirty years but to get round filters), or a broken option. */
export function checkOptions4(packet: Uint8Array): HeaderProblem | undefined {
  const end = (packet[0] & 15) * 4;
  for (let at = 20; at < end; ) {
    const type = packet[at];
    if (type === END) return undefined;
    if (type === NOP) {
      at++;
      continue;
    }
    const length = packet[at + 1];
    if (at + 1 >= end || length < 2 || at + length > end) return { error: { code: 0, pointer: at } };
    if (type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) return {};
    if (type === RECORD_ROUTE && length < 3) return { error: { code: 0, pointer: at + 1 } };
    if (type === TIMESTAMP && length < 4) return { error: { code: 0, pointer: at + 1 } };
    if (type === RECORD_ROUTE && packet[at + 2] < 4) return { error: { code: 0, pointer: at + 2 } };
    if (type === TIMESTAMP && packet[at + 2] < 5) return { error: { code: 0, pointer: at + 2 } };
    at += length;
  }
  return undefined;
}
