/**
 * MRT files (RFC 6396): TABLE_DUMP, TABLE_DUMP_V2 (with additional paths, RFC 8050) and BGP4MP updates.
 *
 * A table dump holds many paths to a prefix; the one with the shortest AS path wins, the earlier one among
 * equals. Updates are applied in order: an announcement sets, a withdrawal by the same peer removes.
 */
import { format4, format6 } from "../base/address.ts";
import { ByteReader } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import { RouteSet } from "../base/routes.ts";
import type { Progress } from "./text.ts";

const TABLE_DUMP = 12;
const TABLE_DUMP_V2 = 13;
const BGP4MP = 16;
const BGP4MP_ET = 17;
const HEADER = 12;
/** No record of a real dump comes near; a larger length is damage. */
const LARGEST_RECORD = 1 << 24;

/** What runs over the bounds is an error that the loop turns into a sentence. */
class Reader extends ByteReader {
  sub(n: number): Reader {
    const at = this.take(n);
    return new Reader(this.bytes, at, at + n);
  }

  /** A prefix as NLRI carries it: length in bits, then as many bytes as it takes. */
  prefix(is6: boolean): { key: string; length: number; bytes: Uint8Array } {
    const length = this.u8();
    if (length > (is6 ? 128 : 32)) throw new LoomError("EPROTO", `a prefix of ${length} bits`);
    const n = (length + 7) >> 3;
    const at = this.take(n);
    const bytes = new Uint8Array(is6 ? 16 : 4);
    bytes.set(this.bytes.subarray(at, at + n));
    if (length & 7) bytes[n - 1] &= 0xff << (8 - (length & 7));
    return keyed(bytes, length);
  }

  address(is6: boolean): Uint8Array {
    return this.raw(is6 ? 16 : 4);
  }
}

function keyed(bytes: Uint8Array, length: number): { key: string; length: number; bytes: Uint8Array } {
  let key = String.fromCharCode(length);
  for (const b of bytes) key += String.fromCharCode(b);
  return { key, length, bytes };
}

interface Path {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly nextHop: string;
  readonly pathLength: number;
  readonly peer: string;
}

interface Attributes {
  /** Of the NEXT_HOP attribute: for IPv4 routes in the message itself. */
  nextHop?: string;
  /** Of MP_REACH_NLRI: for the routes in it, and for a table dump's IPv6 routes. */
  reachHop?: string;
  pathLength: number;
  announced: { is6: boolean; routes: Reader } | undefined;
  withdrawn: { is6: boolean; routes: Reader } | undefined;
}

function addressText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return bytes.length === 4 ? format4(view.getUint32(0)) : format6(view.getBigUint64(0), view.getBigUint64(8));
}

/** Path attributes (RFC 4271 §4.3); `short6`: in TABLE_DUMP_V2 MP_REACH_NLRI holds only a next hop (RFC 6396 §4.3.4). */
function attributes(reader: Reader, asBytes: 2 | 4, short6: boolean): Attributes {
  const out: Attributes = { pathLength: 0, announced: undefined, withdrawn: undefined };
  while (reader.left > 0) {
    const flags = reader.u8();
    const type = reader.u8();
    const body = reader.sub(flags & 0x10 ? reader.u16() : reader.u8());
    if (type === 2) out.pathLength = pathLength(body, asBytes);
    else if (type === 3) out.nextHop = addressText(body.address(false));
    else if (type === 14) reach(body, short6, out);
    else if (type === 15) unreach(body, out);
  }
  return out;
}

function unreach(body: Reader, out: Attributes): void {
  const family = body.u16();
  if (body.u8() === 1 && (family === 1 || family === 2)) out.withdrawn = { is6: family === 2, routes: body };
}

/** ASes in sequences, one for each set (RFC 4271 §9.1.2.2); confederation segments count for nothing (RFC 5065 §5.3). */
function pathLength(body: Reader, asBytes: number): number {
  let length = 0;
  while (body.left > 0) {
    const type = body.u8();
    const n = body.u8();
    body.skip(n * asBytes);
    length += type === 1 ? 1 : type === 2 ? n : 0;
  }
  return length;
}

function reach(body: Reader, short: boolean, out: Attributes): void {
  if (!short || body.bytes[body.at] === 0) {
    const family = body.u16();
    if (body.u8() !== 1 || (family !== 1 && family !== 2)) return;
    const hop = body.sub(body.u8());
    if (hop.left >= 4) out.reachHop = addressText(hop.address(hop.left >= 16));
    body.skip(1);
    out.announced = { is6: family === 2, routes: body };
    return;
  }
  const hop = body.sub(body.u8());
  if (hop.left >= 4) out.reachHop = addressText(hop.address(hop.left >= 16));
}

/** All that is known while a file is read. */
class Rib {
  readonly paths = new Map<string, Path>();
  skipped = 0;
  withoutHop = 0;

  /** A path of a table dump: kept when it is shorter than what is known. */
  offer(prefix: ReturnType<Reader["prefix"]>, attrs: Attributes, peer: string): void {
    const known = this.paths.get(prefix.key);
    if (known && known.pathLength <= attrs.pathLength) return;
    const is6 = prefix.bytes.length === 16;
    this.set(prefix, is6 ? (attrs.reachHop ?? attrs.nextHop) : (attrs.nextHop ?? attrs.reachHop), attrs.pathLength, peer);
  }

  set(prefix: ReturnType<Reader["prefix"]>, nextHop: string | undefined, pathLength: number, peer: string): void {
    if (nextHop === undefined) {
      this.withoutHop++;
      return;
    }
    this.paths.set(prefix.key, { bytes: prefix.bytes, length: prefix.length, nextHop, pathLength, peer });
  }

  withdraw(prefix: ReturnType<Reader["prefix"]>, peer: string): void {
    if (this.paths.get(prefix.key)?.peer === peer) this.paths.delete(prefix.key);
  }

  routes(): RouteSet {
    const routes = new RouteSet();
    for (const { bytes, length, nextHop } of this.paths.values()) {
      const view = new DataView(bytes.buffer);
      const hop = routes.hop(nextHop);
      if (bytes.length === 4) routes.v4.add(view.getUint32(0), length, hop);
      else routes.v6.add(view.getBigUint64(0), view.getBigUint64(8), length, hop);
    }
    return routes;
  }
}

function tableDump(reader: Reader, subtype: number, rib: Rib): void {
  if (subtype !== 1 && subtype !== 2) throw new LoomError("EPROTO", `TABLE_DUMP of address family ${subtype}`);
  const is6 = subtype === 2;
  reader.skip(4);
  const address = reader.address(is6);
  const length = reader.u8();
  if (length > (is6 ? 128 : 32)) throw new LoomError("EPROTO", `a prefix of ${length} bits`);
  reader.skip(5);
  const peer = addressText(reader.address(is6));
  reader.skip(2);
  rib.offer(keyed(masked(address, length), length), attributes(reader.sub(reader.u16()), 2, false), peer);
}

function masked(bytes: Uint8Array, length: number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(Math.max(length - 8 * i, 0), 8);
    bytes[i] &= 0xff << (8 - keep);
  }
  return bytes;
}

/** RIB_IPV4_UNICAST 2, RIB_IPV6_UNICAST 4, the same with additional paths 8 and 10; others carry no unicast routes. */
function tableDump2(reader: Reader, subtype: number, rib: Rib): void {
  const is6 = subtype === 4 || subtype === 10;
  if (!is6 && subtype !== 2 && subtype !== 8) {
    if (subtype !== 1) rib.skipped++;
    return;
  }
  reader.skip(4);
  const prefix = reader.prefix(is6);
  const entries = reader.u16();
  for (let i = 0; i < entries; i++) {
    const peer = reader.u16();
    reader.skip(subtype >= 8 ? 8 : 4);
    rib.offer(prefix, attributes(reader.sub(reader.u16()), 4, true), String(peer));
  }
}

/** BGP4MP_MESSAGE 1, _AS4 4, and their _LOCAL forms 6, 7; state changes carry no routes. */
function bgp4mp(reader: Reader, subtype: number, rib: Rib): void {
  const asBytes = subtype === 4 || subtype === 7 ? 4 : 2;
  if (subtype === 0 || subtype === 5) return;
  if (subtype !== 1 && subtype !== 4 && subtype !== 6 && subtype !== 7) {
    rib.skipped++;
    return;
  }
  reader.skip(asBytes * 2 + 2);
  const is6 = reader.u16() === 2;
  const peer = addressText(reader.address(is6));
  reader.address(is6);
  reader.skip(16);
  const length = reader.u16();
  const type = reader.u8();
  if (type !== 2) return;
  const message = reader.sub(length - 19);
  update(message, asBytes, peer, rib);
}

function update(message: Reader, asBytes: 2 | 4, peer: string, rib: Rib): void {
  const withdrawn = message.sub(message.u16());
  while (withdrawn.left > 0) rib.withdraw(withdrawn.prefix(false), peer);
  const attrs = attributes(message.sub(message.u16()), asBytes, false);
  const { withdrawn: gone, announced, pathLength } = attrs;
  while (gone && gone.routes.left > 0) rib.withdraw(gone.routes.prefix(gone.is6), peer);
  while (message.left > 0) rib.set(message.prefix(false), attrs.nextHop, pathLength, peer);
  while (announced && announced.routes.left > 0) rib.set(announced.routes.prefix(announced.is6), attrs.reachHop, pathLength, peer);
}

/** `damaged`: the bytes are known to end badly, so a broken record ends the reading instead of failing it. */
export function parseMrt(bytes: Uint8Array, name: string, progress?: Progress, damaged = false): RouteSet {
  const rib = new Rib();
  const warnings: string[] = [];
  let record = 0;
  let at = 0;
  while (at < bytes.length) {
    record++;
    if (progress && (record & 0xfff) === 0) progress(at, bytes.length);
    const where = `${name}, record ${record} at byte ${at}`;
    if (bytes.length - at < HEADER) {
      warnings.push(`${where}: the file ends within a header; what came before is kept`);
      break;
    }
    const header = new Reader(bytes, at + 4, at + HEADER);
    const type = header.u16();
    const subtype = header.u16();
    const length = header.u32();
    if (length > LARGEST_RECORD && !damaged)
      throw new LoomError("EPROTO", `${where}: a length of ${length} bytes; this is no MRT file, or a damaged one`);
    if (at + HEADER + length > bytes.length) {
      warnings.push(`${where}: the file ends ${at + HEADER + length - bytes.length} bytes short; what came before is kept`);
      break;
    }
    try {
      one(new Reader(bytes, at + HEADER, at + HEADER + length), type, subtype, rib);
    } catch (error) {
      if (!(error instanceof LoomError)) throw error;
      if (damaged) {
        warnings.push(`${where}: ${error.message}; what came before is kept`);
        break;
      }
      throw new LoomError("EPROTO", `${where} (type ${type}, subtype ${subtype}): ${error.message}`);
    }
    at += HEADER + length;
  }
  progress?.(bytes.length, bytes.length);
  const routes = rib.routes();
  if (rib.skipped) warnings.push(`${name}: ${rib.skipped} records hold no unicast routes and were passed over`);
  if (rib.withoutHop) warnings.push(`${name}: ${rib.withoutHop} announcements name no next hop and were passed over`);
  routes.warnings.push(...warnings);
  return routes;
}

function one(reader: Reader, type: number, subtype: number, rib: Rib): void {
  if (type === TABLE_DUMP) tableDump(reader, subtype, rib);
  else if (type === TABLE_DUMP_V2) tableDump2(reader, subtype, rib);
  else if (type === BGP4MP) bgp4mp(reader, subtype, rib);
  else if (type === BGP4MP_ET) {
    reader.skip(4);
    bgp4mp(reader, subtype, rib);
  } else rib.skipped++;
}

/** True for a first header with a known type and a believable length. */
export function looksLikeMrt(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER) return false;
  const header = new Reader(bytes, 4, HEADER);
  const type = header.u16();
  const subtype = header.u16();
  return type >= 11 && type <= 49 && subtype < 64 && header.u32() <= LARGEST_RECORD;
}
