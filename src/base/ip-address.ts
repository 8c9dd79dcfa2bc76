/**
 * An address of either family as four 32-bit words (signed, so that they stay small integers), IPv4 as
 * ::ffff:a.b.c.d (RFC 4291 §2.5.5.2): the form in which the data plane's transport records hold addresses.
 */
import { bytes6, format4, format6, parse6, tryParse4 } from "./address.ts";
import { invalid } from "./errors.ts";

const MAPPED = 0xffff;

/** Addresses read lately, one for each slot: the few peers that most packets are from and for cost no object each. */
const recent: (IpAddress | undefined)[] = new Array(1024).fill(undefined);

function slotOf(a: number, b: number, c: number, d: number): number {
  const h = Math.imul(d ^ Math.imul(c, 0x85ebca6b) ^ Math.imul(a ^ (b << 5), 0xc2b2ae35), 0x9e3779b1);
  return h >>> 22;
}

export class IpAddress {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;

  constructor(a: number, b: number, c: number, d: number) {
    this.a = a | 0;
    this.b = b | 0;
    this.c = c | 0;
    this.d = d | 0;
  }

  /** "192.0.2.1" or "2001:db8::1"; an IPv4-mapped address is its IPv4 address. */
  static parse(text: string): IpAddress {
    const four = tryParse4(text);
    if (four >= 0) return IpAddress.v4(four);
    if (!text.includes(":")) throw invalid(`"${text}" is not an IP address; expected one like 192.0.2.1 or 2001:db8::1`);
    const { high, low } = parse6(text);
    return IpAddress.v6(high, low);
  }

  static v4(value: number): IpAddress {
    return new IpAddress(0, 0, MAPPED, value);
  }

  static v6(high: bigint, low: bigint): IpAddress {
    return new IpAddress(Number(high >> 32n), Number(high & 0xffffffffn), Number(low >> 32n), Number(low & 0xffffffffn));
  }

  /** Four words of `words` from `at` on. */
  static read(words: Int32Array, at: number): IpAddress {
    const slot = slotOf(words[at], words[at + 1], words[at + 2], words[at + 3]);
    const known = recent[slot];
    if (known?.matches(words, at)) return known;
    const address = new IpAddress(words[at], words[at + 1], words[at + 2], words[at + 3]);
    recent[slot] = address;
    return address;
  }

  /** This address as the object that others of its value lately were: thousands of connections to one peer have one. */
  get shared(): IpAddress {
    const slot = slotOf(this.a, this.b, this.c, this.d);
    const known = recent[slot];
    if (known?.equals(this)) return known;
    recent[slot] = this;
    return this;
  }

  /** Four or sixteen bytes in network order. */
  static fromBytes(bytes: Uint8Array): IpAddress {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes.length === 4) return IpAddress.v4(view.getUint32(0));
    return new IpAddress(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12));
  }

  /**
   * Sixteen bytes that somebody put where IPv6 addresses belong; undefined for IPv4-mapped ones, which on the wire are nobody's
   * (RFC 4291 §2.5.5.2, RFC 4942 §2.2).
   */
  static from6(bytes: Uint8Array): IpAddress | undefined {
    const address = IpAddress.fromBytes(bytes.subarray(0, 16));
    return address.family === 6 ? address : undefined;
  }

  get family(): 4 | 6 {
    return this.a === 0 && this.b === 0 && this.c === MAPPED ? 4 : 6;
  }

  /** The IPv4 address as an unsigned number. */
  get v4(): number {
    return this.d >>> 0;
  }

  get high(): bigint {
    return (BigInt(this.a >>> 0) << 32n) | BigInt(this.b >>> 0);
  }

  get low(): bigint {
    return (BigInt(this.c >>> 0) << 32n) | BigInt(this.d >>> 0);
  }

  /** Four or sixteen bytes. */
  bytes(): Uint8Array {
    if (this.family === 6) return bytes6(this.high, this.low);
    return Uint8Array.of(this.d >>> 24, this.d >>> 16, this.d >>> 8, this.d);
  }

  write(words: Int32Array, at: number): void {
    words[at] = this.a;
    words[at + 1] = this.b;
    words[at + 2] = this.c;
    words[at + 3] = this.d;
  }

  matches(words: Int32Array, at: number): boolean {
    return words[at + 3] === this.d && words[at + 2] === this.c && words[at + 1] === this.b && words[at] === this.a;
  }

  equals(other: IpAddress): boolean {
    return this.d === other.d && this.c === other.c && this.b === other.b && this.a === other.a;
  }

  /** A string that names the address in a Map. */
  get key(): string {
    return this.family === 4 ? `${this.d}` : `${this.a}.${this.b}.${this.c}.${this.d}`;
  }

  get isUnspecified(): boolean {
    return this.d === 0 && (this.family === 4 || (this.a === 0 && this.b === 0 && this.c === 0));
  }

  get isLoopback(): boolean {
    return this.family === 4 ? this.d >>> 24 === 127 : this.a === 0 && this.b === 0 && this.c === 0 && this.d === 1;
  }

  get isMulticast(): boolean {
    return this.family === 4 ? this.d >>> 28 === 14 : this.a >>> 24 === 0xff;
  }

  /** 169.254.0.0/16 (RFC 3927), fe80::/10. */
  get isLinkLocal(): boolean {
    return this.family === 4 ? this.d >>> 16 === 0xa9fe : this.a >>> 22 === 0x3fa;
  }

  /** Bits that the two have in common from the front, of 32 or 128. */
  commonPrefix(other: IpAddress): number {
    if (this.family === 4) return Math.clz32(this.d ^ other.d);
    const words = [this.a ^ other.a, this.b ^ other.b, this.c ^ other.c, this.d ^ other.d];
    const first = words.findIndex((word) => word !== 0);
    return first < 0 ? 128 : 32 * first + Math.clz32(words[first]);
  }

  toString(): string {
    return this.family === 4 ? format4(this.v4) : format6(this.high, this.low);
  }

  toJSON(): string {
    return this.toString();
  }

  /** What Node's `console.log` shows. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `IpAddress(${this})`;
  }
}

/** An address on a link: "192.0.2.1/24". Bits behind the length belong to the host. */
export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly length: number;
}

export function parseInterfaceAddress(text: string): InterfaceAddress {
  const [head, tail] = text.split("/");
  const address = IpAddress.parse(head);
  const most = address.family === 4 ? 32 : 128;
  const length = tail === undefined ? most : /^\d{1,3}$/.test(tail) ? Number(tail) : -1;
  if (length < 0 || length > most || text.split("/").length > 2) {
    throw invalid(`"${text}" has no valid length; expected a number from 0 to ${most} after the slash`);
  }
  return { address, length };
}

/** The address with everything behind `length` bits cleared. */
export function networkOf(address: IpAddress, length: number): IpAddress {
  const bits = address.family === 4 ? 96 + length : length;
  const keep = (word: number, index: number) => {
    const n = Math.max(0, Math.min(32, bits - 32 * index));
    return n === 0 ? 0 : word & (0xffffffff << (32 - n));
  };
  return new IpAddress(keep(address.a, 0), keep(address.b, 1), keep(address.c, 2), keep(address.d, 3));
}

/** Where a host reaches itself, in each family. */
export const LOOPBACK: { readonly 4: IpAddress; readonly 6: IpAddress } = { 4: IpAddress.parse("127.0.0.1"), 6: IpAddress.parse("::1") };
