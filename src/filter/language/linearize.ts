/**
 * Statements to expressions of the register machine, as nft does it: the same registers, the same order, the same short cuts (prefixes
 * that end at a byte are loaded shorter; chains of and, or, xor with constants are one `bitwise`).
 */
import type { CompareOp, Expression, Register, XfrmKey } from "../expressions.ts";
import { NAT_NETMAP, NAT_PROTO_SPECIFIED } from "../expressions.ts";
import { bytesOf, ones } from "./constants.ts";
import { FIB_FLAGS, FIB_PRESENT, META, RT, SOCKET } from "./keys.ts";
import type { Binary, Constant, Selector, SetDefinition, Statement, Value } from "./model.ts";

/** Registers are handed out in words of 4 bytes; every fourth has a name of its own. */
const register = (slot: number): Register => (slot % 4 === 0 ? 1 + slot / 4 : 8 + slot);
const words = (bits: number): number => Math.max(1, (bits + 31) >> 5);
/** Words a value takes: concatenations what they need, all others a whole register of 16 bytes. */
const slots = (value: Value): number =>
  value.k === "concat" || value.k === "map" ? Math.max(words(value.bits), 4) : Math.max(4, words(value.bits));

export function linearize(statements: readonly Statement[]): Expression[] {
  const lineariser = new Lineariser();
  for (const statement of statements) lineariser.statement(statement);
  return lineariser.out;
}

/** Bits below the field in the bytes that are loaded. */
export function payloadShift(offset: number, bits: number): number {
  return (8 - ((offset + bits) % 8)) % 8;
}
/** Is a field written together with others: with those of its bytes, or of the word that a checksum is mended by? */
export function isWrittenTogether(target: Selector & { readonly k: "payload" }): boolean {
  const checksum = target.raw ? undefined : target.protocol?.checksum;
  const bytes = ((target.offset % 8) + target.bits + 7) >> 3;
  return unaligned(target.offset, target.bits) || (checksum !== undefined && bytes % 2 === 1);
}
export const unaligned = (offset: number, bits: number): boolean => offset % 8 !== 0 || bits % 8 !== 0;
/** A field that ends within a byte: compared where it lies, with the constant moved to it. */
function fieldShift(value: Value): number {
  return value.k === "payload" || (value.k === "exthdr" && !value.present) ? payloadShift(value.offset, value.bits) : 0;
}

class Lineariser {
  readonly out: Expression[] = [];

  statement(each: Statement): void {
    switch (each.k) {
      case "verdict":
        this.out.push({ op: "verdict", verdict: each.verdict });
        return;
      case "bind":
        this.out.push({ op: "verdict", verdict: { code: each.code, chain: each.chain.name } });
        return;
      case "match":
        if (each.r.k === "set") this.lookup(each.l, each.r.set, each.op === "!=");
        else this.match(each.l, each.r, each.op);
        return;
      case "vmap":
        this.key(each.e, each.set, 0);
        this.out.push({ op: "lookup", sreg: 1, set: each.set.name, dreg: 0, invert: false });
        return;
      case "mangle":
        this.mangle(each.target, each.value);
        return;
      case "objref":
        this.out.push({ op: "objref", type: each.type, name: each.name });
        return;
      case "objmap":
        this.key(each.e, each.set, 0);
        this.out.push({ op: "objref-map", sreg: 1, set: each.set.name });
        return;
      case "dynset":
        this.dynset(each);
        return;
      case "nat":
        this.nat(each);
        return;
      case "masquerade":
      case "redirect":
        this.ports(each);
        return;
      case "tproxy": {
        const addr = each.addr && this.value(each.addr, 0);
        const port = each.port && this.value(each.port, each.addr ? 4 : 0);
        this.out.push({ op: "tproxy", family: each.family, ...(addr ? { addr } : {}), ...(port ? { port } : {}) });
        return;
      }
      case "dup": {
        const addr = each.addr && this.value(each.addr, 0);
        const device = each.device && this.value(each.device, each.addr ? 4 : 0);
        this.out.push({ op: "dup", ...(addr ? { addr } : {}), ...(device ? { device } : {}) });
        return;
      }
      case "fwd": {
        const device = this.value(each.device, 0);
        const addr = each.addr && this.value(each.addr, 4);
        this.out.push({ op: "fwd", device, ...(addr ? { addr, family: each.family } : {}) });
        return;
      }
      case "queue":
        this.queue(each);
        return;
      default:
        this.plain(each);
    }
  }

  private plain(each: Statement): void {
    switch (each.k) {
      case "counter":
        this.out.push({ op: "counter", packets: each.packets, bytes: each.bytes });
        return;
      case "limit":
        this.out.push({ op: "limit", rate: each.rate, per: each.per, burst: each.burst, unit: each.unit, over: each.over });
        return;
      case "quota":
        this.out.push({ op: "quota", bytes: each.bytes, used: each.used, over: each.over });
        return;
      case "log": {
        const { k: _, ...spec } = each;
        this.out.push({ op: "log", ...spec });
        return;
      }
      case "connlimit":
        this.out.push({ op: "connlimit", count: each.count, over: each.over });
        return;
      case "reject":
        this.out.push({ op: "reject", type: each.type, code: each.code });
        return;
      case "synproxy":
        this.out.push({ op: "synproxy", mss: each.mss, wscale: each.wscale, flags: each.flags });
        return;
      case "reset":
        this.out.push({ op: "exthdr-reset", type: each.kind });
        return;
      case "notrack":
      case "last":
        this.out.push({ op: each.k });
        return;
      default:
        throw new Error(`a statement of kind ${each.k} has no expressions`);
    }
  }

  /** The key of a set into registers from `slot` on. */
  private key(value: Value, set: SetDefinition, slot: number): void {
    if (value.k !== "concat") {
      this.load(value, slot, set.anonymous);
      if (set.interval) this.toNetwork(value, register(slot));
      return;
    }
    let at = slot;
    for (const item of value.items) {
      this.load(item, at, false);
      // Intervals are compared byte by byte, whatever the field.
      if (set.interval) this.toNetwork(item, register(at));
      at += words(item.bits);
    }
  }
  private lookup(value: Value, set: SetDefinition, invert: boolean): void {
    this.key(value, set, 0);
    this.out.push({ op: "lookup", sreg: 1, set: set.name, invert });
  }

  private match(l: Value, r: Constant, op: string): void {
    if (op === "implicit" || op === "!") {
      if (r.type.kind === "bitmask" && l.type.kind === "bitmask" && (op === "!" || l.k !== "binary")) {
        this.flags(l, r, op === "!" ? "eq" : "neq");
        return;
      }
      op = "==";
    }
    if (r.form === "prefix" && (op === "==" || op === "!=")) {
      this.prefix(l, r, op === "==" ? "eq" : "neq");
      return;
    }
    this.load(l, 0, true);
    const shift = BigInt(fieldShift(l));
    const bits = l.bits + Number(shift);
    if (r.form === "value") {
      const compare = COMPARE[op];
      const ordered = op !== "==" && op !== "!=";
      if (ordered) this.toNetwork(l, 1);
      const order = ordered && l.type.kind !== "string" ? "big" : l.order;
      this.out.push({ op: "cmp", sreg: 1, cmp: compare, data: bytesOf(r.from << shift, bits, order, l.type) });
      return;
    }
    this.toNetwork(l, 1);
    const bytes = (number: bigint) => bytesOf(number << shift, bits, "big", l.type);
    if (op === "!=") {
      this.out.push({ op: "range", sreg: 1, cmp: "neq", from: bytes(r.from), to: bytes(r.to) });
      return;
    }
    this.out.push({ op: "cmp", sreg: 1, cmp: "gte", data: bytes(r.from) }, { op: "cmp", sreg: 1, cmp: "lte", data: bytes(r.to) });
  }
  /** Any (`neq`) or none (`eq`) of the flags. */
  private flags(l: Value, r: Constant, cmp: CompareOp): void {
    this.load(l, 0, true);
    const zero = bytesOf(0n, l.bits, l.order);
    const mask = bytesOf(r.from, l.bits, l.order);
    this.out.push({ op: "bitwise", sreg: 1, dreg: 1, len: mask.length, mask, xor: zero }, { op: "cmp", sreg: 1, cmp, data: zero });
  }
  private prefix(l: Value, r: Constant, cmp: CompareOp): void {
    const length = r.prefix as number;
    // Of numbers in the machine's order the first bytes are not the first bits.
    const whole = length % 8 === 0 && length > 0 && (l.order === "big" || l.type.kind === "string");
    if (whole) {
      this.load(l.k === "payload" ? { ...l, bits: length } : l, 0, true);
      this.out.push({ op: "cmp", sreg: 1, cmp, data: bytesOf(r.from, r.bits, "big", r.type).slice(0, length / 8) });
      return;
    }
    this.load(l, 0, true);
    const mask = bytesOf(ones(length) << BigInt(r.bits - length), r.bits, l.order, l.type);
    const zero = new Uint8Array(mask.length);
    this.out.push({ op: "bitwise", sreg: 1, dreg: 1, len: mask.length, mask, xor: zero });
    this.out.push({ op: "cmp", sreg: 1, cmp, data: bytesOf(r.from, r.bits, l.order, l.type) });
  }
  /** Numbers of the machine's order are turned before they are compared as bytes. */
  private toNetwork(value: Value, reg: Register): void {
    if (value.order !== "host" || value.type.kind === "string" || value.bits <= 8) return;
    const len = (value.bits + 7) >> 3;
    this.out.push({ op: "byteorder", sreg: reg, dreg: reg, to: "hton", len, size: len });
  }

  /** A value that a statement takes, in registers from `slot` on. */
  value(value: Value, slot: number): Register {
    this.load(value, slot, false);
    return register(slot);
  }
  /** `raw`: leave a field where it lies in its bytes instead of moving it down. */
  private load(value: Value, slot: number, raw: boolean): void {
    const dreg = register(slot);
    switch (value.k) {
      case "constant":
        this.out.push({ op: "immediate", dreg, data: bytesOf(value.from, value.bits, value.order, value.type) });
        return;
      case "concat": {
        let at = slot;
        for (const item of value.items) {
          this.load(item, at, false);
          at += words(item.bits);
        }
        return;
      }
      case "map": {
        this.key(value.e, value.set, slot);
        this.out.push({ op: "lookup", sreg: dreg, set: value.set.name, dreg, invert: false });
        return;
      }
      case "binary":
        this.binary(value, slot);
        return;
      default:
        this.selector(value, slot, raw);
    }
  }

  private binary(value: Binary, slot: number): void {
    const reg = register(slot);
    if (value.op === "<<" || value.op === ">>") {
      this.load(value.l, slot, false);
      const len = (value.bits + 7) >> 3;
      this.out.push({ op: "shift", sreg: reg, dreg: reg, len, left: value.op === "<<", bits: Number(value.r.from) });
      return;
    }
    const chain: Binary[] = [];
    let inner: Value = value;
    while (inner.k === "binary" && inner.op !== "<<" && inner.op !== ">>") {
      chain.push(inner);
      inner = inner.l;
    }
    this.load(inner, slot, false);
    let mask = ones(value.bits);
    let xor = 0n;
    for (const { op, r } of chain.reverse()) {
      if (op === "&") [mask, xor] = [mask & r.from, xor & r.from];
      else if (op === "^") xor ^= r.from;
      else [mask, xor] = [mask & ~r.from, (xor & ~r.from) | r.from];
    }
    this.bitwise(reg, value.bits, value.order, mask & ones(value.bits), xor);
  }
  private bitwise(reg: Register, bits: number, order: "host" | "big", mask: bigint, xor: bigint): void {
    const bytes = bytesOf(mask, bits, order);
    this.out.push({ op: "bitwise", sreg: reg, dreg: reg, len: bytes.length, mask: bytes, xor: bytesOf(xor, bits, order) });
  }

  private selector(value: Selector, slot: number, raw: boolean): void {
    const dreg = register(slot);
    switch (value.k) {
      case "payload": {
        const [offset, len] = [value.offset >> 3, ((value.offset % 8) + value.bits + 7) >> 3];
        this.out.push({ op: "payload", dreg, base: value.base, offset, len });
        this.field(value.offset, value.bits, dreg, raw);
        return;
      }
      case "exthdr": {
        const [offset, len] = [value.offset >> 3, ((value.offset % 8) + value.bits + 7) >> 3];
        this.out.push({ op: "exthdr", dreg, header: value.header, type: value.kind, offset, len, present: value.present });
        if (!value.present) this.field(value.offset, value.bits, dreg, raw);
        return;
      }
      case "meta":
        this.out.push({ op: "meta", dreg, key: META[value.key].key });
        return;
      case "ct":
        this.out.push({ op: "ct", dreg, key: value.key as never, ...(value.direction ? { direction: value.direction } : {}) });
        return;
      case "rt":
        this.out.push({ op: "rt", dreg, key: RT[value.key].key });
        return;
      case "socket":
        this.out.push({ op: "socket", dreg, key: SOCKET[value.key].key, ...(value.level === undefined ? {} : { level: value.level }) });
        return;
      case "fib": {
        const flags = value.flags.reduce((sum, flag) => sum | FIB_FLAGS[flag], value.present ? FIB_PRESENT : 0);
        this.out.push({ op: "fib", dreg, result: value.result, flags: flags & ~FIB_PRESENT, present: value.present });
        return;
      }
      case "xfrm": {
        const key = value.nf === undefined ? value.key : (`${value.key}${value.nf === "ip" ? 4 : 6}` as const);
        this.out.push({ op: "xfrm", dreg, direction: value.direction, number: value.number, key: key as XfrmKey });
        return;
      }
      case "osf":
        this.out.push({ op: "osf", dreg, version: value.key === "version", ttl: value.ttl === "loose" ? 1 : value.ttl === "skip" ? 2 : 0 });
        return;
      case "numgen":
        this.out.push({ op: "numgen", dreg, kind: value.kind, modulus: value.modulus, offset: value.offset });
        return;
      case "symhash":
        this.out.push({ op: "hash", dreg, kind: "symhash", modulus: value.modulus, offset: value.offset });
        return;
      case "jhash": {
        this.load(value.e, slot + 4, false);
        const items = value.e.k === "concat" ? value.e.items : [value.e];
        const len = value.e.k === "concat" ? items.reduce((sum, item) => sum + 4 * words(item.bits), 0) : (value.e.bits + 7) >> 3;
        this.out.push({
          op: "hash",
          dreg,
          kind: "jhash",
          sreg: register(slot + 4),
          len,
          seed: value.seed ?? 0,
          modulus: value.modulus,
          offset: value.offset,
        });
      }
    }
  }
  private field(offset: number, bits: number, reg: Register, raw: boolean): void {
    if (!unaligned(offset, bits)) return;
    const shift = payloadShift(offset, bits);
    const total = 8 * (((offset % 8) + bits + 7) >> 3);
    this.bitwise(reg, total, "big", ones(bits) << BigInt(shift), 0n);
    if (!raw && shift > 0) this.out.push({ op: "shift", sreg: reg, dreg: reg, len: total / 8, left: false, bits: shift });
  }

  private mangle(target: Selector, value: Value): void {
    if (target.k === "payload") {
      this.write(target, value);
      return;
    }
    if (target.k === "exthdr") {
      this.value(value, 0);
      const len = (target.bits + 7) >> 3;
      if (value.k !== "constant" && value.order !== target.order)
        this.out.push({ op: "byteorder", sreg: 1, dreg: 1, to: "hton", len, size: len });
      this.out.push({ op: "exthdr-write", sreg: 1, type: target.kind, offset: target.offset >> 3, len });
      return;
    }
    const sreg = this.value(value, 0);
    if (target.k === "meta") this.out.push({ op: "meta-set", sreg, key: META[target.key].key });
    else if (target.k === "ct")
      this.out.push({ op: "ct-set", sreg, key: target.key as never, ...(target.direction ? { direction: target.direction } : {}) });
    else throw new Error(`${target.k} cannot be set`);
  }
  /** Checksums are mended in words of 16 bits, so a lone byte is written with its neighbour. */
  private write(target: Selector & { k: "payload" }, value: Value): void {
    const { protocol, base } = target;
    const checksum = target.raw ? undefined : protocol?.checksum;
    const csum = {
      kind: checksum === undefined ? "none" : "inet",
      offset: checksum ?? 0,
      pseudo: !target.raw && target.field !== undefined && protocol?.pseudo?.has(target.field.name) === true,
    } as const;
    let offset = target.offset >> 3;
    let len = ((target.offset % 8) + target.bits + 7) >> 3;
    if (!isWrittenTogether(target)) {
      const sreg = this.value(value, 0);
      this.out.push({ op: "payload-write", sreg, base, offset, len, csum });
      return;
    }
    let shift = payloadShift(target.offset, target.bits);
    if (checksum !== undefined && len % 2 === 1) {
      len++;
      if (offset % 2 === 1) offset--;
      else shift += 8;
    }
    if (value.k !== "constant") throw new Error("what shares a word with other fields is set to a constant");
    const mask = ones(8 * len) ^ (ones(target.bits) << BigInt(shift));
    this.out.push({ op: "payload", dreg: 1, base, offset, len });
    this.bitwise(1, 8 * len, "big", mask, value.from << BigInt(shift));
    this.out.push({ op: "payload-write", sreg: 1, base, offset, len, csum });
  }

  private dynset(each: Statement & { k: "dynset" }): void {
    this.load(each.key, 0, false);
    const data = each.data && this.value(each.data, slots(each.key));
    this.out.push({
      op: "dynset",
      action: each.op,
      set: each.set.name,
      key: 1,
      ...(data ? { data } : {}),
      ...(each.timeoutMs === undefined ? {} : { timeoutMs: each.timeoutMs }),
      invert: false,
      expressions: linearize(each.statements),
    });
  }

  /** Bounds of a constant interval in two registers, a single value in one. */
  private bounds(value: Value, slot: number): readonly [Register, Register | undefined, number] {
    if (value.k !== "constant" || value.form === "value") return [this.value(value, slot), undefined, slot + 4];
    const one = (number: bigint) => ({ ...value, form: "value", from: number, to: number }) as const;
    const low = this.value(one(value.from), slot);
    return [low, this.value(one(value.to), slot + 4), slot + 8];
  }
  private nat(each: Statement & { k: "nat" }): void {
    const nat: { -readonly [K in "addrMin" | "addrMax" | "protoMin" | "protoMax"]?: Register } = {};
    let flags = each.flags | (each.prefix ? NAT_NETMAP : 0);
    let next = 0;
    if (each.addr) {
      const [low, high, after] = this.bounds(each.addr, 0);
      nat.addrMin = low;
      if (high !== undefined) nat.addrMax = high;
      next = after;
      const data = each.addr.k === "map" ? each.addr.set.data : undefined;
      if (data?.kind === "data") {
        const [address, port] = data.parts.map(({ bits }) => words(bits));
        if (port) nat.protoMin = register(address);
        if (data.interval) nat.addrMax = register(address + (port ?? 0));
        if (data.interval && port) nat.protoMax = register(2 * address + port);
      }
    }
    if (each.port) {
      const [low, high] = this.bounds(each.port, next);
      nat.protoMin = low;
      if (high !== undefined) nat.protoMax = high;
      flags |= NAT_PROTO_SPECIFIED;
    }
    this.out.push({ op: "nat", kind: each.type, family: each.family, ...nat, flags });
  }
  private ports(each: Statement & { k: "masquerade" | "redirect" }): void {
    const op = each.k === "masquerade" ? "masq" : "redir";
    if (!each.port) {
      this.out.push({ op, flags: each.flags });
      return;
    }
    const [low, high] = this.bounds(each.port, 0);
    const flags = each.flags | NAT_PROTO_SPECIFIED;
    this.out.push({ op, protoMin: low, ...(high === undefined ? {} : { protoMax: high }), flags });
  }
  private queue(each: Statement & { k: "queue" }): void {
    const { num, flags } = each;
    if (num && num.k !== "constant") {
      const sreg = this.value(num, 0);
      this.out.push({ op: "queue", from: 0, total: 1, flags, sreg });
      return;
    }
    const from = num ? Number(num.from) : 0;
    this.out.push({ op: "queue", from, total: num ? Number(num.to - num.from) + 1 : 1, flags });
  }
}

const COMPARE: Readonly<Record<string, CompareOp>> = { "==": "eq", "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte" };
