/** Filters, as the data plane compares them (QFILTER_*). */
import * as abi from "../../assembly/abi.ts";
import { bytes6, parsePrefix } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import type { Image } from "./image.ts";
import type { Match } from "./options.ts";

/** Writes a filter at `at`, without what it points to. */
export function writeMatch(image: Image, at: number, match: Match): void {
  let fields = 0;
  if (match.mark !== undefined) {
    const mask = match.markMask ?? 0xffffffff;
    fields |= abi.QMATCH_MARK;
    image.u32(at + abi.QFILTER_MARK, (match.mark & mask) >>> 0);
    image.u32(at + abi.QFILTER_MARK_MASK, mask);
  }
  if (match.protocol !== undefined) {
    fields |= abi.QMATCH_PROTOCOL;
    image.u8(at + abi.QFILTER_PROTOCOL, match.protocol);
  }
  if (match.tos !== undefined) {
    fields |= abi.QMATCH_TOS;
    image.u8(at + abi.QFILTER_TOS, match.tos);
    image.u8(at + abi.QFILTER_TOS_MASK, match.tosMask ?? 0xff);
  }
  let family = match.family;
  for (const side of ["source", "destination"] as const) {
    const prefix = match[side];
    if (prefix === undefined) continue;
    const is = writePrefix(image, at, side, prefix);
    if (family !== undefined && family !== is) throw invalid(`filter: ${side} is of IPv${is}, and the rest of IPv${family}`);
    family = is;
    fields |= side === "source" ? abi.QMATCH_SOURCE : abi.QMATCH_DESTINATION;
  }
  if (family !== undefined) {
    fields |= abi.QMATCH_FAMILY;
    image.u8(at + abi.QFILTER_FAMILY, family);
  }
  fields |= writePorts(image, at + abi.QFILTER_SOURCE_PORTS, match.sourcePort) && abi.QMATCH_SOURCE_PORT;
  fields |= writePorts(image, at + abi.QFILTER_DESTINATION_PORTS, match.destinationPort) && abi.QMATCH_DESTINATION_PORT;
  image.u32(at + abi.QFILTER_FIELDS, fields);
}

function writePrefix(image: Image, at: number, side: "source" | "destination", text: string): 4 | 6 {
  const prefix = parsePrefix(text);
  const { length } = prefix;
  const bytes = prefix.family === 4 ? bytes4(prefix.address) : bytes6(prefix.high, prefix.low);
  const mask = bytes.map((_, i) => (0xff00 >> Math.min(Math.max(length - 8 * i, 0), 8)) & 0xff);
  const value = side === "source" ? abi.QFILTER_SOURCE : abi.QFILTER_DESTINATION;
  const where = side === "source" ? abi.QFILTER_SOURCE_MASK : abi.QFILTER_DESTINATION_MASK;
  image.bytes(
    at + value,
    bytes.map((byte, i) => byte & mask[i]),
  );
  image.bytes(at + where, mask);
  return bytes.length === 4 ? 4 : 6;
}

function bytes4(address: number): Uint8Array {
  return Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address);
}

/** 1 when there was something to write. */
function writePorts(image: Image, at: number, ports: Match["sourcePort"]): 0 | 1 {
  if (ports === undefined) return 0;
  const [low, high] = typeof ports === "number" ? [ports, ports] : ports;
  if (high === undefined || low > high) throw invalid(`filter: ${JSON.stringify(ports)} is no range of ports; expected [first, last]`);
  image.u16(at, low);
  image.u16(at + 2, high);
  return 1;
}
