/** ECN's two bits of a frame in flight (RFC 3168 §5), for links that mark instead of dropping. */
import { ETHERTYPE } from "../wire/index.ts";

const HEADER = 14;
const CE = 3;

function typeOf(frame: Uint8Array): number {
  return (frame[12] << 8) | frame[13];
}

/** Has its sender said that it may be marked? */
export function mayBeMarked(frame: Uint8Array): boolean {
  const type = typeOf(frame);
  if (type === ETHERTYPE.ipv4) return (frame[HEADER + 1] & CE) !== 0;
  return type === ETHERTYPE.ipv6 && ((frame[HEADER + 1] >> 4) & CE) !== 0;
}

/** Sets CE; IPv4's header checksum follows (RFC 1624). */
export function markCongestion(frame: Uint8Array): void {
  if (typeOf(frame) === ETHERTYPE.ipv6) {
    frame[HEADER + 1] |= CE << 4;
    return;
  }
  const before = frame[HEADER + 1];
  frame[HEADER + 1] |= CE;
  const at = HEADER + 10;
  const sum = (~((frame[at] << 8) | frame[at + 1]) & 0xffff) + (frame[HEADER + 1] - before);
  const checksum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  frame[at] = checksum >> 8;
  frame[at + 1] = checksum & 0xff;
}
