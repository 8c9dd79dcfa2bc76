/**
 * One function of a program while it is being written: its locals, the registers of the rule in hand, and what has been read of the packet.
 *
 * Registers are 16 words, and each is a local of the function (or a constant) while the rule lasts: nothing of them stands in memory.
 * A rule is a block; what does not match branches to its end. Fields of the packet that several rules ask for are read once, at the
 * head of the function (`hoisted`), and again after a statement that may have changed them.
 */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { Family, Register } from "../expressions.ts";
import { Code, I32, I64, type ValueType } from "./code.ts";
import type { Places, PlaneFunction, TableLink } from "./link.ts";

/** A register's word: where it is, and how many of its low bytes may be other than 0. */
export interface Word {
  readonly local?: number;
  readonly constant?: number;
  readonly bytes: number;
}

/** Something that can be read of a packet into words. */
export interface Field {
  readonly key: string;
  /** Bytes of each word. */
  readonly words: readonly number[];
  /** Always there: reading never ends the rule. */
  readonly certain: boolean;
  emit(e: Emitter, to: readonly number[]): void;
}

interface Hoisted {
  readonly field: Field;
  readonly to: readonly number[];
  /** The same as words of a register. */
  readonly words: readonly Word[];
  /** 1 when the field is there; absent for what always is. */
  readonly present?: number;
}

export interface Program {
  readonly places: Places;
  readonly table: TableLink;
  /** Number of a function of the data plane, which the program imports from now on. */
  plane(name: PlaneFunction): number;
  /** Number of the program's own random generator. */
  random(): number;
  /** Number of the function of a chain. */
  chainFunction(name: string): number;
  /** Type of chains, for calls through the table. */
  readonly chainType: number;
  /** Does running that chain (or one that verdict maps name) change packets? */
  writes(chain?: string): boolean;
}

export type Base = "descriptor" | "data" | "end" | "network" | "transport" | "link";
const BASES: readonly Base[] = ["descriptor", "data", "end", "network", "transport", "link"];
/** An address behind everything: what begins there is never within a packet. */
const BEYOND = 0xffff0000 | 0;
/** Flags (low four bits) of packets whose transport header can be read: IPv4 or IPv6, and no fragment or a first one. */
const TRANSPORT_FLAGS = 0x6006;

export const slotOf = (register: Register): number => (register >= 8 ? register - 8 : 4 * (register - 1));

export class Emitter {
  readonly program: Program;
  readonly family: Family;
  readonly worker = 0;
  readonly position = 1;
  code = new Code(1024);
  readonly locals: ValueType[] = [];
  private readonly bases = new Map<Base, number>();
  private readonly hoisted = new Map<string, Hoisted>();
  private slots: (Word | undefined)[] = [];
  private readonly pools: Record<ValueType, { all: number[]; used: number }> = { [I32]: { all: [], used: 0 }, [I64]: { all: [], used: 0 } };
  private target = 0;
  /** The rule in hand, in programs that trace: there each has a function to itself. */
  readonly traced: number | undefined;

  constructor(program: Program, family: Family, traced?: number) {
    this.program = program;
    this.family = family;
    this.traced = traced;
  }

  // ── Locals ──────────────────────────────────────────────────────────────────────────────────────
  local(type: ValueType = I32): number {
    this.locals.push(type);
    return 1 + this.locals.length;
  }

  /** A local that is free again when the rule ends. */
  temporary(type: ValueType = I32): number {
    const pool = this.pools[type];
    if (pool.used === pool.all.length) pool.all.push(this.local(type));
    return pool.all[pool.used++];
  }

  /** The local that holds an address of the packet. */
  base(base: Base): number {
    let local = this.bases.get(base);
    if (local === undefined) {
      local = this.local();
      this.bases.set(base, local);
    }
    return local;
  }

  // ── Registers ───────────────────────────────────────────────────────────────────────────────────
  word(register: Register, index = 0): Word {
    const word = this.slots[slotOf(register) + index];
    if (!word) throw invalid(`register ${register} is read before anything is in it`);
    return word;
  }

  assign(register: Register, words: readonly Word[]): void {
    const first = slotOf(register);
    if (first < 0 || first + words.length > 16) throw invalid(`register ${register} has no room for ${4 * words.length} bytes`);
    for (let i = 0; i < words.length; i++) this.slots[first + i] = words[i];
  }

  /** Fresh locals as the words of a register. */
  fresh(register: Register, bytes: readonly number[]): number[] {
    const locals = bytes.map(() => this.temporary());
    this.assign(
      register,
      locals.map((local, i) => ({ local, bytes: bytes[i] })),
    );
    return locals;
  }

  push(word: Word): Code {
    return word.local === undefined ? this.code.i32(word.constant ?? 0) : this.code.get(word.local);
  }

  /** Pushes the first `bytes` bytes of a word, the rest zero. */
  pushBytes(word: Word, bytes: number): Code {
    this.push(word);
    if (bytes < word.bytes) this.code.i32(bytes === 4 ? -1 : (1 << (8 * bytes)) - 1).and();
    return this.code;
  }

  /** Writes a register's words to the worker's scratch memory at `at`, zero-padded to whole words. */
  spill(register: Register, bytes: number, at: number): void {
    for (let i = 0; 4 * i < bytes; i++) {
      this.code.get(this.worker);
      this.pushBytes(this.word(register, i), Math.min(4, bytes - 4 * i)).store(4, abi.WORKER_SCRATCH + at + 4 * i);
    }
  }

  /** Pushes an address of the worker's scratch memory. */
  scratch(at = 0): Code {
    return this.code
      .get(this.worker)
      .i32(abi.WORKER_SCRATCH + at)
      .add();
  }

  /** Pushes the worker's own value for this packet: 1, 2 or 4 bytes of a vector. */
  vector(offset: number, width: 1 | 2 | 4): Code {
    this.vectorAt(width);
    return this.code.load(width, offset);
  }

  /** Pushes where a vector (at offset 0) has this packet's value. */
  vectorAt(width: 1 | 2 | 4): Code {
    this.code.get(this.worker).get(this.position);
    if (width > 1) this.code.i32(width >> 1).shl();
    return this.code.add();
  }

  // ── Rules ───────────────────────────────────────────────────────────────────────────────────────
  rule(write: () => void): void {
    this.slots = [];
    for (const pool of Object.values(this.pools)) pool.used = 0;
    this.attempt(write);
  }

  /** A block that `fail` leaves. */
  attempt(write: () => void): void {
    const outer = this.target;
    this.code.block();
    this.target = this.code.depth;
    write();
    this.code.end();
    this.target = outer;
  }

  /** Ends the rule when the value on the stack is not 0. */
  failIf(): void {
    this.code.brIf(this.target);
  }

  fail(): void {
    this.code.br(this.target);
  }

  // ── Fields ──────────────────────────────────────────────────────────────────────────────────────
  /** Reads a field at the head of the function from now on. */
  hoist(field: Field): void {
    if (this.hoisted.has(field.key)) return;
    const to = field.words.map(() => this.local());
    const words = to.map((local, i): Word => ({ local, bytes: field.words[i] }));
    this.hoisted.set(field.key, { field, to, words, present: field.certain ? undefined : this.local() });
  }

  isHoisted(field: Field): boolean {
    return this.hoisted.has(field.key);
  }

  /** Puts a field into a register. */
  read(register: Register, field: Field): void {
    if (this.hoisted.has(field.key)) {
      this.checkHoisted(field);
      this.alias(register, field);
    } else field.emit(this, this.fresh(register, field.words));
  }

  /** Fails without a hoisted field; its locals. */
  checkHoisted(field: Field): readonly number[] {
    const { present, to } = this.hoisted.get(field.key) as Hoisted;
    if (present !== undefined) {
      this.code.get(present).eqz();
      this.failIf();
    }
    return to;
  }

  /** A register is a hoisted field that is known to be there. */
  alias(register: Register, field: Field): void {
    this.assign(register, (this.hoisted.get(field.key) as Hoisted).words);
  }

  /** Reads everything anew: the packet, or what is known of it, may have changed. Registers keep what they have. */
  refresh(): void {
    this.detach();
    for (const base of BASES) this.base(base);
    this.emitBases();
    this.emitFields();
  }

  /** Registers that alias hoisted fields get locals of their own. */
  detach(): void {
    const shared = new Set([...this.hoisted.values()].flatMap(({ to }) => to));
    this.slots = this.slots.map((word) => {
      if (word?.local === undefined || !shared.has(word.local)) return word;
      const local = this.temporary();
      this.code.get(word.local).set(local);
      return { ...word, local };
    });
  }

  private emitBases(): void {
    const c = this.code;
    if (this.bases.size === 0) return;
    const d = this.base("descriptor");
    this.vector(abi.VEC_IDS, 4).i32(abi.DESC_SHIFT).shl().i32(this.program.places.descriptors).add().set(d);
    const needs = (base: Base) => this.bases.has(base);
    if (!BASES.slice(1).some(needs)) return;
    const data = this.base("data");
    c.get(d).load(4, abi.DESC_DATA).set(data);
    if (needs("end")) c.get(data).get(d).load(4, abi.DESC_LENGTH).add().set(this.base("end"));
    if (needs("network")) c.get(data).get(d).load(2, abi.DESC_L3).add().set(this.base("network"));
    if (needs("link")) c.get(data).i32(BEYOND).get(d).load(2, abi.DESC_L3).i32(14).geU().select().set(this.base("link"));
    if (needs("transport")) {
      c.get(data).get(d).load(2, abi.DESC_L4).add().i32(BEYOND);
      c.i32(TRANSPORT_FLAGS).get(d).load(1, abi.DESC_FLAGS).i32(15).and().shrU().i32(1).and().select();
      c.set(this.base("transport"));
    }
  }

  private emitFields(): void {
    for (const { field, to, present } of this.hoisted.values()) {
      if (present === undefined) field.emit(this, to);
      else {
        this.code.i32(0).set(present);
        this.attempt(() => {
          field.emit(this, to);
          this.code.i32(1).set(present);
        });
      }
    }
  }

  /** The function: what is read at its head, then the rules. `result` is what it gives at its end. */
  finish(result: number): Code {
    const body = this.code;
    // Fields first: they say which addresses they need.
    const fields = new Code(256);
    this.code = fields;
    this.emitFields();
    const whole = new Code(fields.length + body.length + 128);
    this.code = whole;
    this.emitBases();
    whole.raw(fields.done());
    whole.raw(body.done());
    whole.i32(result);
    return whole;
  }
}

/** In programs that trace: tells of the rule in hand before it does what cannot be told afterwards. `chain`: pushes the number of the one that it leads to. */
export function tell(e: Emitter, verdict: number, chain: () => void = () => e.code.i32(0)): void {
  if (e.traced === undefined) return;
  e.code.get(e.worker).get(e.position).i32(e.traced).i32(verdict);
  chain();
  e.code.call(e.program.plane("tracePacket"));
}
