/**
 * Instructions of a WebAssembly function, written byte by byte (WebAssembly Core Specification 2.0, chapter 5).
 *
 * Method names are those of the text format with the dot left out. What is pushed is a stack machine's code in order; nothing
 * is checked here: a wrong program is refused by the runtime that compiles it.
 */

export const I32 = 0x7f;
export const I64 = 0x7e;
export type ValueType = typeof I32 | typeof I64;

/** Bytes that grow; LEB128 numbers as the format has them. */
export class ByteWriter {
  protected bytes: Uint8Array;
  length = 0;

  constructor(room = 64) {
    this.bytes = new Uint8Array(room);
  }

  protected reserve(n: number): void {
    if (this.length + n <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, this.length + n));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = value;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  unsigned(value: number): void {
    value >>>= 0;
    for (; value >= 0x80; value >>>= 7) this.byte((value & 0x7f) | 0x80);
    this.byte(value);
  }

  signed(value: number): void {
    value |= 0;
    for (;;) {
      const low = value & 0x7f;
      value >>= 7;
      const last = (value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0);
      this.byte(last ? low : low | 0x80);
      if (last) return;
    }
  }

  signed64(value: bigint): void {
    value = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(value & 0x7fn);
      value >>= 7n;
      const last = (value === 0n && (low & 0x40) === 0) || (value === -1n && (low & 0x40) !== 0);
      this.byte(last ? low : low | 0x80);
      if (last) return;
    }
  }

  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/** Loads and stores: opcode by the width of the memory access. */
const LOAD = { 1: 0x2d, 2: 0x2f, 4: 0x28 } as const;
const STORE = { 1: 0x3a, 2: 0x3b, 4: 0x36 } as const;
export type Width = 1 | 2 | 4;

export class Code extends ByteWriter {
  /** Blocks that are open: what a branch counts. */
  depth = 0;

  get(local: number): this {
    this.byte(0x20);
    this.unsigned(local);
    return this;
  }

  set(local: number): this {
    this.byte(0x21);
    this.unsigned(local);
    return this;
  }

  tee(local: number): this {
    this.byte(0x22);
    this.unsigned(local);
    return this;
  }

  i32(value: number): this {
    this.byte(0x41);
    this.signed(value);
    return this;
  }

  i64(value: bigint): this {
    this.byte(0x42);
    this.signed64(value);
    return this;
  }

  /** A load of 1, 2 or 4 bytes, zero-extended, at the address on the stack plus `offset`. */
  load(width: Width, offset = 0): this {
    return this.access(LOAD[width], offset);
  }

  store(width: Width, offset = 0): this {
    return this.access(STORE[width], offset);
  }

  load64(offset = 0): this {
    return this.access(0x29, offset);
  }

  store64(offset = 0): this {
    return this.access(0x37, offset);
  }

  private access(opcode: number, offset: number): this {
    this.byte(opcode);
    this.byte(0);
    this.unsigned(offset);
    return this;
  }

  private plain(opcode: number): this {
    this.byte(opcode);
    return this;
  }

  eqz = () => this.plain(0x45);
  eq = () => this.plain(0x46);
  ne = () => this.plain(0x47);
  ltU = () => this.plain(0x49);
  gtU = () => this.plain(0x4b);
  leU = () => this.plain(0x4d);
  geU = () => this.plain(0x4f);
  add = () => this.plain(0x6a);
  sub = () => this.plain(0x6b);
  mul = () => this.plain(0x6c);
  remU = () => this.plain(0x70);
  and = () => this.plain(0x71);
  or = () => this.plain(0x72);
  xor = () => this.plain(0x73);
  shl = () => this.plain(0x74);
  shrU = () => this.plain(0x76);
  rotl = () => this.plain(0x77);
  eqz64 = () => this.plain(0x50);
  eq64 = () => this.plain(0x51);
  ltU64 = () => this.plain(0x54);
  gtU64 = () => this.plain(0x56);
  geU64 = () => this.plain(0x5a);
  add64 = () => this.plain(0x7c);
  sub64 = () => this.plain(0x7d);
  mul64 = () => this.plain(0x7e);
  divU64 = () => this.plain(0x80);
  remU64 = () => this.plain(0x82);
  shl64 = () => this.plain(0x86);
  shrU64 = () => this.plain(0x88);
  xor64 = () => this.plain(0x85);
  wrap = () => this.plain(0xa7);
  extend = () => this.plain(0xad);
  select = () => this.plain(0x1b);
  pop = () => this.plain(0x1a);
  ret = () => this.plain(0x0f);
  unreachable = () => this.plain(0x00);

  private open(opcode: number): this {
    this.depth++;
    this.byte(opcode);
    this.byte(0x40);
    return this;
  }

  block = () => this.open(0x02);
  loop = () => this.open(0x03);
  if = () => this.open(0x04);
  else = () => this.plain(0x05);

  end(): this {
    this.depth--;
    return this.plain(0x0b);
  }

  /** Branches to the block that was open when `depth` was `target`. */
  br(target: number): this {
    this.byte(0x0c);
    this.unsigned(this.depth - target);
    return this;
  }

  brIf(target: number): this {
    this.byte(0x0d);
    this.unsigned(this.depth - target);
    return this;
  }

  call(index: number): this {
    this.byte(0x10);
    this.unsigned(index);
    return this;
  }

  callIndirect(type: number): this {
    this.byte(0x11);
    this.unsigned(type);
    this.unsigned(0);
    return this;
  }
}
