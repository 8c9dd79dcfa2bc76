/**
 * Bytes of a message, read and written: integers in network order, and names with compression (RFC 1035 §4.1.4).
 * Every read is checked; a pointer must lead backwards, so that no name can go round in circles.
 */
import { ByteReader, put16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import { nameKey } from "./hosts.ts";
import { labelsOf, labelText, MOST_NAME, parentOf } from "./name.ts";

/** Pointers followed in one name: more than labels can be is an attack. */
const MOST_POINTERS = 127;

export function malformed(what: string): LoomError {
  return new LoomError("EPROTO", `malformed DNS message: ${what}`);
}

export class Reader extends ByteReader {
  protected override beyond(n: number): LoomError {
    return malformed(`${n} bytes at ${this.at} go beyond its end`);
  }

  /** A length byte and so many bytes (RFC 1035 §3.3, character-string). */
  counted(): Uint8Array {
    return this.raw(this.u8());
  }

  name(compressed = true): string {
    const { bytes } = this;
    let at = this.at;
    let limit = this.end;
    let floor = at;
    let after = -1;
    let length = 1;
    let pointers = 0;
    const labels: string[] = [];
    for (;;) {
      if (at >= limit) throw malformed(`the name at ${this.at} goes beyond its end`);
      const n = bytes[at];
      if (n >= 0xc0) {
        if (!compressed) throw malformed("a pointer where none may be");
        const to = at + 1 < limit ? ((n & 0x3f) << 8) | bytes[at + 1] : floor;
        if (to >= floor || ++pointers > MOST_POINTERS) throw malformed(`the pointer at ${at} leads nowhere`);
        if (after < 0) after = at + 2;
        at = floor = to;
        limit = bytes.length;
      } else if (n > 63) throw malformed(`a label of kind ${n >>> 6} at ${at}`);
      else if (n === 0) break;
      else {
        length += n + 1;
        if (at + 1 + n > limit || length > MOST_NAME) throw malformed(`the name at ${this.at} is too long`);
        labels.push(labelText(bytes, at + 1, at + 1 + n));
        at += n + 1;
      }
    }
    this.at = after < 0 ? at + 1 : after;
    return labels.length ? labels.join(".") : ".";
  }
}

/** Largest message (RFC 1035 §4.2.2), and the first offset a pointer cannot name. */
const MOST_MESSAGE = 65_535;
const POINTER_LIMIT = 0x4000;

export class Writer {
  private bytes = new Uint8Array(512);
  length = 0;
  /** Where names have been written. */
  private readonly names = new Map<string, number>();

  private grow(n: number): number {
    const at = this.length;
    if (at + n > MOST_MESSAGE) throw new LoomError("EMSGSIZE", `a DNS message of more than ${MOST_MESSAGE} bytes`);
    if (at + n > this.bytes.length) {
      const more = new Uint8Array(Math.max(2 * this.bytes.length, at + n));
      more.set(this.bytes);
      this.bytes = more;
    }
    this.length += n;
    return at;
  }

  u8(value: number): void {
    const at = this.grow(1);
    this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.grow(2);
    this.set16(at, value);
  }

  set16(at: number, value: number): void {
    put16(this.bytes, at, value);
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  raw(bytes: Uint8Array): void {
    const at = this.grow(bytes.length);
    this.bytes.set(bytes, at);
  }

  counted(bytes: Uint8Array): void {
    if (bytes.length > 255) throw new LoomError("EINVAL", `a string of ${bytes.length} bytes; the most is 255`);
    this.u8(bytes.length);
    this.raw(bytes);
  }

  /** A name; with a pointer to where its end stands already. */
  name(name: string, compress = true): void {
    let rest = nameKey(name);
    for (const label of labelsOf(name)) {
      const known = compress ? this.names.get(rest) : undefined;
      if (known !== undefined) {
        this.u16(0xc000 | known);
        return;
      }
      if (this.length < POINTER_LIMIT && !this.names.has(rest)) this.names.set(rest, this.length);
      this.counted(label);
      rest = parentOf(rest);
    }
    this.u8(0);
  }

  /** Takes back what was written since `length` was this. */
  rewind(length: number): void {
    this.length = length;
    for (const [name, at] of this.names) if (at >= length) this.names.delete(name);
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}
