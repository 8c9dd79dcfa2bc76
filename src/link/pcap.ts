/**
 * Capture files: classic pcap (both byte orders, micro- and nanoseconds) and pcapng (any byte order per
 * section, any timestamp resolution per interface), read and written. Formats: draft-ietf-opsawg-pcap and
 * draft-ietf-opsawg-pcapng. Hostile lengths are checked against what is there before anything is read.
 */
import { concat } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import { checkArgument, checkOptions, bytes as isBytes, oneOf, type Shape, whole } from "../base/options.ts";

export interface CapturedPacket {
  /** 1 for the first packet of the file. */
  readonly number: number;
  /** Nanoseconds since 1970-01-01 (or what the file counts from). */
  readonly timestamp: bigint;
  /** Bytes captured. */
  readonly bytes: Uint8Array;
  /** Bytes on the wire; more than captured when a snapshot length cut it. */
  readonly wireLength: number;
  readonly linkType: number;
}

/** LINKTYPE values that the engine can take frames of, or make frames from. */
export const LINKTYPE = { ethernet: 1, raw: 101, ipv4: 228, ipv6: 229 } as const;

export interface Capture {
  readonly format: "pcap" | "pcapng";
  readonly packets: CapturedPacket[];
  /** Set when the file ends early or breaks; the packets before are there. */
  readonly problem?: string;
}

const MICRO = 0xa1b2c3d4;
const NANO = 0xa1b23c4d;
const SECTION = 0x0a0d0d0a;
const BYTE_ORDER = 0x1a2b3c4d;
const INTERFACE = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
/** No link has larger frames (BIG TCP stops at 512 KiB). */
const LARGEST_PACKET = 1 << 20;

export function readCapture(bytes: Uint8Array, name = "the capture"): Capture {
  checkArgument("readCapture", "bytes", bytes, isBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length >= 4) {
    for (const little of [true, false]) {
      const magic = view.getUint32(0, little);
      if (magic === MICRO || magic === NANO) return readPcap(view, bytes, little, magic === NANO, name);
    }
    if (view.getUint32(0) === SECTION) return readPcapng(view, bytes, name);
  }
  throw new LoomError("EPROTO", `${name} is no capture; expected a pcap or pcapng file`);
}

function readPcap(view: DataView, bytes: Uint8Array, little: boolean, nano: boolean, name: string): Capture {
  const packets: CapturedPacket[] = [];
  if (bytes.length < 24) throw new LoomError("EPROTO", `${name} ends within the pcap header`);
  const linkType = view.getUint32(20, little) & 0xffff;
  const unit = nano ? 1n : 1000n;
  let problem: string | undefined;
  let at = 24;
  while (at < bytes.length) {
    const where = `${name}, packet ${packets.length + 1}`;
    if (at + 16 > bytes.length) {
      problem = `${where}: the file ends within its header`;
      break;
    }
    const captured = view.getUint32(at + 8, little);
    if (captured > LARGEST_PACKET) {
      problem = `${where}: a length of ${captured} bytes; the file is damaged here`;
      break;
    }
    if (at + 16 + captured > bytes.length) {
      problem = `${where}: the file ends ${at + 16 + captured - bytes.length} bytes short`;
      break;
    }
    packets.push({
      number: packets.length + 1,
      timestamp: BigInt(view.getUint32(at, little)) * 1_000_000_000n + BigInt(view.getUint32(at + 4, little)) * unit,
      bytes: bytes.subarray(at + 16, at + 16 + captured),
      wireLength: view.getUint32(at + 12, little),
      linkType,
    });
    at += 16 + captured;
  }
  return { format: "pcap", packets, problem };
}

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  /** Ticks a second. */
  readonly resolution: bigint;
  /** Seconds added to every timestamp. */
  readonly offset: bigint;
}

function readPcapng(view: DataView, bytes: Uint8Array, name: string): Capture {
  const packets: CapturedPacket[] = [];
  let interfaces: Interface[] = [];
  let little = true;
  let problem: string | undefined;
  for (let at = 0, block = 1; at < bytes.length; block++) {
    const where = `${name}, block ${block} (after packet ${packets.length})`;
    if (at + 12 > bytes.length) {
      problem = `${where}: the file ends within its header`;
      break;
    }
    if (view.getUint32(at, true) === SECTION) {
      little = view.getUint32(at + 8, true) === BYTE_ORDER;
      if (!little && view.getUint32(at + 8) !== BYTE_ORDER) {
        problem = `${where}: a section without a byte-order mark`;
        break;
      }
      interfaces = [];
    }
    const length = view.getUint32(at + 4, little);
    if (length < 12 || length % 4 !== 0 || at + length > bytes.length) {
      problem =
        at + length > bytes.length
          ? `${where}: the file ends ${at + length - bytes.length} bytes short`
          : `${where}: a length of ${length}`;
      break;
    }
    if (view.getUint32(at + length - 4, little) !== length) {
      problem = `${where}: its two lengths differ`;
      break;
    }
    const type = view.getUint32(at, little);
    const body = new DataView(view.buffer, view.byteOffset + at + 8, length - 12);
    if (type === INTERFACE) interfaces.push(readInterface(body, little));
    else {
      const packet = readBlock(type, body, little, interfaces, packets.length + 1);
      if (typeof packet === "string") {
        problem = `${where}: ${packet}`;
        break;
      }
      if (packet) packets.push(packet);
    }
    at += length;
  }
  return { format: "pcapng", packets, problem };
}

function readInterface(body: DataView, little: boolean): Interface {
  let resolution = 1_000_000n;
  let offset = 0n;
  const options = Math.min(body.byteLength, 8);
  for (let at = options; at + 4 <= body.byteLength; ) {
    const code = body.getUint16(at, little);
    const length = body.getUint16(at + 2, little);
    if (code === 0 || at + 4 + length > body.byteLength) break;
    if (code === 9 && length === 1) resolution = resolutionOf(body.getUint8(at + 4));
    if (code === 14 && length === 8) offset = body.getBigInt64(at + 4, little);
    at += 4 + length + ((4 - (length & 3)) & 3);
  }
  return {
    linkType: body.byteLength >= 2 ? body.getUint16(0, little) : LINKTYPE.ethernet,
    snapLength: body.byteLength >= 8 ? body.getUint32(4, little) : 0,
    resolution,
    offset,
  };
}

/** if_tsresol: a power of ten, or of two with the high bit set. */
function resolutionOf(value: number): bigint {
  return value & 0x80 ? 1n << BigInt(value & 0x7f) : 10n ** BigInt(value);
}

/** A packet, a sentence when the block is broken, undefined for blocks without packets. */
function readBlock(
  type: number,
  body: DataView,
  little: boolean,
  interfaces: Interface[],
  number: number,
): CapturedPacket | string | undefined {
  if (type === SIMPLE_PACKET) {
    const on = interfaces[0];
    if (!on || body.byteLength < 4) return "a simple packet without an interface";
    const wireLength = body.getUint32(0, little);
    const captured = Math.min(wireLength, on.snapLength || wireLength, body.byteLength - 4);
    return { number, timestamp: 0n, wireLength, linkType: on.linkType, bytes: slice(body, 4, captured) };
  }
  if (type !== ENHANCED_PACKET && type !== OBSOLETE_PACKET) return undefined;
  if (body.byteLength < 20) return "a packet block that is too short";
  const index = type === ENHANCED_PACKET ? body.getUint32(0, little) : body.getUint16(0, little);
  const on = interfaces[index];
  if (!on) return `a packet of interface ${index}, which is not described`;
  const ticks = (BigInt(body.getUint32(4, little)) << 32n) | BigInt(body.getUint32(8, little));
  const captured = body.getUint32(12, little);
  if (captured > body.byteLength - 20) return `a packet of ${captured} bytes in a block of ${body.byteLength}`;
  const timestamp = on.offset * 1_000_000_000n + (ticks * 1_000_000_000n) / on.resolution;
  return { number, timestamp, wireLength: body.getUint32(16, little), linkType: on.linkType, bytes: slice(body, 20, captured) };
}

function slice(body: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(body.buffer, body.byteOffset + at, length);
}

/** Seconds are 32 bits in pcap. */
const PCAP_END = 4_294_967_296n * 1_000_000_000n;

export interface WriterOptions {
  format?: "pcap" | "pcapng";
  linkType?: number;
  /** Longest part of a packet that is kept. Default 262,144. */
  snapLength?: number;
}

const WRITER: Shape<WriterOptions> = { format: oneOf("pcap", "pcapng"), linkType: whole(0, 0xffff), snapLength: whole(1, 0xffffffff) };

/** Collects packets and gives the file's bytes; nanoseconds in both formats. */
export class CaptureWriter {
  private readonly parts: Uint8Array[] = [];
  private readonly format: "pcap" | "pcapng";
  private readonly snapLength: number;

  constructor(options: WriterOptions = {}) {
    checkOptions("capture", WRITER, options);
    this.format = options.format ?? "pcap";
    this.snapLength = options.snapLength ?? 262_144;
    const linkType = options.linkType ?? LINKTYPE.ethernet;
    if (this.format === "pcap") this.parts.push(words([NANO, 0x00040002, 0, 0, this.snapLength, linkType]));
    else {
      this.parts.push(words([SECTION, 28, BYTE_ORDER, 1, 0xffffffff, 0xffffffff, 28]));
      // if_tsresol 9: nanoseconds.
      this.parts.push(words([INTERFACE, 32, linkType, this.snapLength, 0x00010009, 9, 0, 32]));
    }
  }

  /** `wireLength` when `bytes` is already cut. The bytes are copied. */
  write(bytes: Uint8Array, timestamp = 0n, wireLength = bytes.length): void {
    const kept = bytes.subarray(0, this.snapLength);
    if (this.format === "pcap") {
      if (timestamp >= PCAP_END) throw new LoomError("EINVAL", "a packet of the year 2106 or later does not fit into pcap; write pcapng");
      this.parts.push(
        words([Number(timestamp / 1_000_000_000n), Number(timestamp % 1_000_000_000n), kept.length, wireLength]),
        kept.slice(),
      );
      return;
    }
    const padded = new Uint8Array((kept.length + 3) & ~3);
    padded.set(kept);
    const length = 32 + padded.length;
    const [high, low] = [Number(BigInt.asUintN(32, timestamp >> 32n)), Number(timestamp & 0xffffffffn)];
    this.parts.push(words([ENHANCED_PACKET, length, 0, high, low, kept.length, wireLength]), padded, words([length]));
  }

  bytes(): Uint8Array {
    return concat(this.parts);
  }
}

function words(values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  const view = new DataView(out.buffer);
  values.forEach((value, i) => view.setUint32(4 * i, value, true));
  return out;
}
