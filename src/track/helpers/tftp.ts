/** TFTP (RFC 1350 §4): the server answers a request from a port of its own choice. */
import type { Announcer, Ends } from "./announcer.ts";

const UDP = 17;
const [READ, WRITE] = [1, 2];

/** A datagram of the side that began the flow. */
export function readTftp(payload: Uint8Array, ends: Ends, announcer: Announcer): void {
  const opcode = payload.length < 4 ? 0 : payload[0] * 256 + payload[1];
  if (opcode !== READ && opcode !== WRITE) return;
  const { flow, place, mine, theirs } = ends;
  const isTranslated = !theirs.dst.equals(mine.src) || theirs.dport !== mine.sport;
  announcer.counters.announced++;
  const found = announcer.expect({
    protocol: UDP,
    source: theirs.src,
    destination: theirs.dst,
    port: theirs.dport as number,
    place,
    master: flow,
    timeoutMs: 300_000,
    most: 1,
    ...(isTranslated && { translateTo: { address: mine.src, port: mine.sport as number } }),
  });
  if (found !== "expected") announcer.counters.refused++;
}
