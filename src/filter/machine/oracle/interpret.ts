/**
 * The register machine run step by step over a plain packet: slow, obvious, and written apart from the compiler, so that both can be held
 * against each other. What lies outside of rules (routes, connections, translation) is asked of the `World`.
 */
import * as abi from "../../../../assembly/abi.ts";
import { helperName } from "../../../engine/helper-names.ts";
import type { ChainSpec, Expression, Family, RulesetSpec, SetSpec, TableSpec, Verdict } from "../../expressions.ts";
import { arrange } from "../order.ts";
import { jhash, scale } from "./hashes.ts";
import { baseOf, has, type Interface, type Packet, setWord, word } from "./packet.ts";
import { exthdr, resetOption, write, writeOption } from "./payload.ts";
import { type Element, PlainSet } from "./sets.ts";
import { type Kept, keep, run } from "./state.ts";

/** What rules ask of the rest of the world. */
export interface World {
  /** Nanoseconds of the engine's clock, and of 1970 at its 0. */
  readonly now: bigint;
  readonly epoch: bigint;
  readonly worker: number;
  random(): number;
  symmetricHash(packet: Packet): number;
  /** The interface behind an address, or its type (RTN_*). */
  fib(packet: Packet, flags: number, result: "oif" | "type"): Interface | undefined | number;
  flowLoad(packet: Packet, field: number, direction: number): Uint8Array | undefined;
  flowStore(packet: Packet, field: number, bytes: Uint8Array): void;
  /** A verdict (VERDICT_*) for a request. */
  nat(packet: Packet, request: NatRequest): number;
  socket?(packet: Packet, key: "transparent" | "mark" | "wildcard"): Uint8Array | undefined;
  log(packet: Packet, expression: Expression): void;
  synproxy(packet: Packet, number: Expression | string): number | undefined;
  duplicate(packet: Packet, family: number, address: Uint8Array, device: number): void;
  forward(packet: Packet, family: number, address: Uint8Array, device: number): number;
  segmentLimit(packet: Packet): number;
}

export interface NatRequest {
  readonly kind: number;
  readonly family: number;
  readonly flags: number;
  readonly ports: readonly [number, number];
  readonly addresses: readonly [Uint8Array, Uint8Array];
}

export interface Outcome {
  readonly verdict: number;
  readonly argument?: number;
}

/** How a chain came to its end: by a verdict, or not. */
type Result = Outcome | "end" | "return";
type Step = "go on" | "break" | Result;

interface Table {
  readonly spec: TableSpec;
  readonly chains: ReadonlyMap<string, ChainSpec>;
  readonly sets: ReadonlyMap<string, PlainSet>;
  readonly objects: ReadonlyMap<string, Kept>;
}

export const slot = (register: number): number => 4 * (register >= 8 ? register - 8 : 4 * (register - 1));
const text = (name: string): Uint8Array => {
  const out = new Uint8Array(16);
  out.set(new TextEncoder().encode(name).subarray(0, 16));
  return out;
};

export class Interpreter {
  private readonly world: World;
  private readonly tables: Table[];
  private readonly kept = new Map<Expression, Kept>();
  private readonly segments: Map<number, { table: Table; chain: ChainSpec }[]>;
  private readonly registers = new Uint8Array(80);

  constructor(ruleset: RulesetSpec, world: World) {
    this.world = world;
    this.tables = ruleset.tables.map((spec) => ({
      spec,
      chains: new Map(spec.chains.map((chain) => [chain.name, chain])),
      sets: new Map(spec.sets.map((set) => [set.name, new PlainSet(set, carriedBy(spec, set), world.now)])),
      objects: new Map(
        spec.objects.map(({ name, object }) => [
          `${object.type} ${name}`,
          keep({ ...object, op: object.type } as unknown as Expression, world.now),
        ]),
      ),
    }));
    for (const { spec } of this.tables)
      for (const { rules } of spec.chains)
        for (const { expressions } of rules) for (const e of expressions) this.kept.set(e, keep(e, world.now));
    this.segments = arrange(this.tables);
  }

  /** What a rule's expression keeps. */
  state(expression: Expression): Kept | undefined {
    return this.kept.get(expression);
  }

  set(family: Family, table: string, name: string): PlainSet | undefined {
    return this.tables.find(({ spec }) => spec.family === family && spec.name === table)?.sets.get(name);
  }

  object(family: Family, table: string, key: string): Kept | undefined {
    return this.tables.find(({ spec }) => spec.family === family && spec.name === table)?.objects.get(key);
  }

  /** Sends a packet through a segment. */
  run(segment: number, packet: Packet): Outcome {
    for (const { table, chain } of this.segments.get(segment) ?? []) {
      const { family } = table.spec;
      if ((family === "ip" && packet.family !== 4) || (family === "ip6" && packet.family !== 6)) continue;
      if (family === "inet" && packet.family === 0) continue;
      const port = chain.base?.hook === "egress" ? packet.output : packet.input;
      if (chain.base?.devices && !chain.base.devices.includes(port?.name ?? "")) continue;
      const result = this.chain(table, chain, packet);
      const outcome =
        typeof result === "string" ? { verdict: chain.base?.policy === "drop" ? abi.VERDICT_DROP : abi.VERDICT_ACCEPT } : result;
      if (outcome.verdict !== abi.VERDICT_ACCEPT) return outcome;
      if (outcome.argument === FINAL) break;
    }
    return { verdict: abi.VERDICT_ACCEPT };
  }

  private chain(table: Table, chain: ChainSpec, packet: Packet): Result {
    for (const { expressions } of chain.rules) {
      this.registers.fill(0);
      for (const expression of expressions) {
        const step = this.step(table, expression, packet);
        if (step === "go on") continue;
        if (step === "break") break;
        return step;
      }
    }
    return "end";
  }

  private verdict(table: Table, verdict: Verdict, packet: Packet): Step {
    switch (verdict.code) {
      case "continue":
        return "go on";
      case "break":
      case "return":
        return verdict.code;
      case "accept":
      case "drop":
        return { verdict: verdict.code === "accept" ? abi.VERDICT_ACCEPT : abi.VERDICT_DROP };
      case "queue":
        return { verdict: abi.VERDICT_QUEUE, argument: verdict.queue };
    }
    const chain = table.chains.get(verdict.chain);
    if (!chain) throw new Error(`no chain ${verdict.chain}`);
    const result = this.chain(table, chain, packet);
    if (typeof result !== "string") return result;
    // From a jump it goes on with the next rule (nft_do_chain).
    return verdict.code === "jump" ? "break" : "return";
  }

  // ── Registers ───────────────────────────────────────────────────────────────────────────────────
  private get(register: number, length: number): Uint8Array {
    return this.registers.slice(slot(register), slot(register) + length);
  }

  /** Whole words: what is behind the value is zero. */
  private put(register: number, bytes: Uint8Array): "go on" {
    const at = slot(register);
    this.registers.fill(0, at, at + Math.ceil(bytes.length / 4) * 4);
    this.registers.set(bytes, at);
    return "go on";
  }

  private number(register: number, value: number): "go on" {
    setWord(this.registers, slot(register), value);
    return "go on";
  }

  /** How a register's bytes stand to others. */
  private against(register: number, data: Uint8Array): number {
    const at = slot(register);
    for (let i = 0; i < data.length; i++) if (this.registers[at + i] !== data[i]) return this.registers[at + i] - data[i];
    return 0;
  }

  private copy(register: number, bytes: Uint8Array, from: number, length: number): "go on" {
    const at = slot(register);
    for (let i = 0; i < length; i++) this.registers[at + i] = bytes[from + i];
    for (let i = length; (i & 3) !== 0; i++) this.registers[at + i] = 0;
    return "go on";
  }

  private bitwise({ sreg, dreg, len, mask, xor }: Extract<Expression, { op: "bitwise" }>): "go on" {
    const from = slot(sreg);
    const to = slot(dreg);
    for (let i = 0; i < len; i++) this.registers[to + i] = (this.registers[from + i] & mask[i]) ^ xor[i];
    for (let i = len; (i & 3) !== 0; i++) this.registers[to + i] = 0;
    return "go on";
  }

  /** "break" for what is not there. */
  private maybe(register: number, bytes: Uint8Array | undefined): Step {
    return bytes === undefined ? "break" : this.put(register, bytes);
  }

  // ── Expressions ─────────────────────────────────────────────────────────────────────────────────
  private step(table: Table, e: Expression, packet: Packet): Step {
    const { world } = this;
    switch (e.op) {
      case "immediate":
        return this.put(e.dreg, e.data);
      case "verdict":
        return this.verdict(table, e.verdict, packet);
      case "cmp":
        return compare(this.against(e.sreg, e.data), e.cmp) ? "go on" : "break";
      case "range":
        return (this.against(e.sreg, e.from) >= 0 && this.against(e.sreg, e.to) <= 0) === (e.cmp === "eq") ? "go on" : "break";
      case "bitwise":
        return this.bitwise(e);
      case "shift":
        return this.put(e.dreg, shift(this.get(e.sreg, Math.ceil(e.len / 4) * 4), e.left, e.bits));
      case "byteorder":
        return this.put(e.dreg, byteorder(this.get(e.sreg, Math.ceil(e.len / e.size) * e.size), e.size));
      case "payload": {
        const start = baseOf(packet, e.base);
        return start >= 0 && has(packet, start + e.offset, e.len) ? this.copy(e.dreg, packet.bytes, start + e.offset, e.len) : "break";
      }
      case "payload-write":
        return write(packet, e, this.get(e.sreg, e.len)) ? "go on" : "break";
      case "exthdr": {
        const found = exthdr(packet, e);
        if (e.present) return found === undefined ? "break" : this.put(e.dreg, Uint8Array.of(found === null ? 0 : 1));
        return found ? this.put(e.dreg, found) : "break";
      }
      case "exthdr-write":
        return writeOption(packet, e, this.get(e.sreg, e.len)) ? "go on" : "break";
      case "exthdr-reset":
        return resetOption(packet, e.type) ? "go on" : "break";
      case "meta":
        if (e.key === "l4proto" && packet.family !== 0) return this.number(e.dreg, packet.protocol);
        if (e.key === "nfproto" && table.spec.family === "inet") return this.number(e.dreg, packet.family === 6 ? 10 : 2);
        return this.maybe(e.dreg, this.meta(table.spec.family, e.key, packet));
      case "meta-set":
        if (e.key === "mark") packet.mark = word(this.get(e.sreg, 4), 0);
        else if (e.key === "priority") packet.priority = word(this.get(e.sreg, 4), 0);
        return "go on";
      case "ct":
        if (e.key === "state") return this.number(e.dreg, CT_STATE[packet.ctinfo] ?? 1);
        return this.maybe(e.dreg, this.ct(table.spec.family, e, packet));
      case "ct-set":
        world.flowStore(packet, fieldOf(e), this.get(e.sreg, CT_BYTES[e.key] ?? 4));
        return "go on";
      case "rt":
        if (!packet.output) return "break";
        if (e.key === "tcpmss") return this.number(e.dreg, world.segmentLimit(packet));
        return this.number(e.dreg, 0);
      case "socket":
        return this.maybe(e.dreg, e.key === "cgroupv2" ? undefined : this.world.socket?.(packet, e.key));
      case "fib":
        return this.fib(e, packet);
      case "numgen": {
        if (e.kind === "random") return this.number(e.dreg, scale(world.random(), e.modulus) + e.offset);
        const kept = this.kept.get(e) as Kept;
        const value = kept.number;
        kept.number = value + 1 < e.modulus ? value + 1 : 0;
        return this.number(e.dreg, value + e.offset);
      }
      case "hash": {
        const value = e.kind === "jhash" ? jhash(this.get(e.sreg, e.len), e.seed) : world.symmetricHash(packet);
        return this.number(e.dreg, scale(value, e.modulus) + e.offset);
      }
      case "lookup":
        return this.lookup(table, e, packet);
      case "dynset":
        return this.dynset(table, e, packet);
      case "objref":
        return this.useObject(table, `${e.type} ${e.name}`, packet);
      case "objref-map": {
        const set = table.sets.get(e.set) as PlainSet;
        const element = set.find(this.get(e.sreg, set.keyLength), world.now);
        if (!element) return "break";
        if (!this.carried(element, packet)) return "break";
        return this.useObject(table, `${set.spec.map?.kind === "object" ? set.spec.map.type : ""} ${element.spec.object}`, packet);
      }
      case "counter":
      case "limit":
      case "quota":
      case "connlimit":
      case "last":
        return this.runKept(this.kept.get(e) as Kept, packet) ? "go on" : "break";
      case "log":
        world.log(packet, e);
        return "go on";
      case "reject": {
        const icmpx = (packet.family === 4 ? [0, 3, 1, 13] : [0, 4, 3, 1])[e.code];
        const code = e.type === "icmpx-unreach" ? icmpx : e.code;
        return { verdict: abi.VERDICT_REJECT, argument: (e.type === "tcp-rst" ? 256 : 0) | code };
      }
      case "nat":
      case "masq":
      case "redir": {
        const isOthers = e.op === "nat" && e.addrMin !== undefined && packet.family !== e.family;
        if (isOthers && table.spec.family === "inet") return "go on";
        const verdict = world.nat(packet, this.natRequest(e, packet));
        return verdict === abi.VERDICT_ACCEPT ? { verdict, argument: FINAL } : { verdict };
      }
      case "notrack":
        if (!packet.flow) packet.ctinfo = abi.CT_UNTRACKED;
        return "go on";
      case "synproxy": {
        const verdict = world.synproxy(packet, e);
        return verdict === undefined ? "go on" : { verdict };
      }
      case "dup":
        world.duplicate(
          packet,
          e.addr === undefined ? 0 : table.spec.family === "ip6" ? 6 : 4,
          this.get(e.addr ?? 1, 16),
          this.device(e.device),
        );
        return "go on";
      case "fwd":
        if (e.addr !== undefined && packet.family !== (e.family ?? 4)) return "break";
        return {
          verdict: world.forward(packet, e.addr === undefined ? 0 : (e.family ?? 4), this.get(e.addr ?? 1, 16), this.device(e.device)),
        };
      case "queue":
        if (e.flags & 1) return { verdict: abi.VERDICT_ACCEPT };
        return { verdict: abi.VERDICT_QUEUE, argument: this.queue(e, packet) };
      default:
        throw new Error(`${e.op} is not known`);
    }
  }

  private device(register: number | undefined): number {
    return register === undefined ? 0 : word(this.get(register, 4), 0);
  }

  private queue(e: Extract<Expression, { op: "queue" }>, packet: Packet): number {
    const flags = e.flags << 16;
    if (e.sreg !== undefined) return (word(this.get(e.sreg, 4), 0) & 0xffff) | flags;
    if (e.total <= 1) return e.from | flags;
    if (e.flags & 2) return (e.from + (this.world.worker % e.total)) | flags;
    return (e.from + scale(this.world.symmetricHash(packet), e.total)) | flags;
  }

  private natRequest(e: Extract<Expression, { op: "nat" | "masq" | "redir" }>, packet: Packet): NatRequest {
    const port = (register: number | undefined) => {
      const bytes = register === undefined ? new Uint8Array(2) : this.get(register, 2);
      return (bytes[0] << 8) | bytes[1];
    };
    const length = e.op === "nat" && e.family === 6 ? 16 : 4;
    const address = (register: number | undefined) => {
      const out = new Uint8Array(16);
      if (register !== undefined) out.set(this.get(register, length));
      return out;
    };
    const nat = e.op === "nat" ? e : undefined;
    const own = nat ? (nat.addrMin === undefined ? 0 : 1) : abi.NAT_OWN_ADDRESS;
    return {
      kind: e.op === "masq" || nat?.kind === "snat" ? abi.NAT_SOURCE : abi.NAT_DESTINATION,
      family: nat ? nat.family : packet.family === 4 ? 4 : 6,
      flags: e.flags | own | (e.protoMin === undefined ? 0 : 2),
      ports: [port(e.protoMin), port(e.protoMax ?? e.protoMin)],
      addresses: [address(nat?.addrMin), address(nat?.addrMax ?? nat?.addrMin)],
    };
  }

  private useObject(table: Table, key: string, packet: Packet): Step {
    const kept = table.objects.get(key);
    if (!kept) throw new Error(`no object ${key}`);
    const { op } = kept.expression;
    if (op === "counter" || op === "limit" || op === "quota") return this.runKept(kept, packet) ? "go on" : "break";
    if (op === "synproxy") {
      const verdict = this.world.synproxy(packet, key);
      return verdict === undefined ? "go on" : { verdict };
    }
    this.world.flowStore(packet, OBJECT_FIELDS[op] ?? 0, new TextEncoder().encode(key));
    return "go on";
  }

  private runKept(kept: Kept, packet: Packet): boolean {
    return run(kept, packet.bytes.length - packet.l3, this.world.now, packet.flow?.id ?? 0);
  }

  /** False: something that the element carries ends the rule. */
  private carried(element: Element, packet: Packet): boolean {
    return element.kept.every((kept) => this.runKept(kept, packet));
  }

  private lookup(table: Table, e: Extract<Expression, { op: "lookup" }>, packet: Packet): Step {
    const set = table.sets.get(e.set) as PlainSet;
    const element = set.find(this.get(e.sreg, set.keyLength), this.world.now);
    if (e.invert) return element === undefined || set.hasCatchAll ? "go on" : "break";
    if (!element || !this.carried(element, packet)) return "break";
    const { map } = set.spec;
    if (e.dreg === undefined) return "go on";
    if (map?.kind === "verdict") return this.verdict(table, element.spec.verdict ?? { code: "continue" }, packet);
    if (map?.kind !== "data") return "go on";
    const data = new Uint8Array(map.length);
    data.set((element.data ?? data).subarray(0, map.length));
    return this.put(e.dreg, data);
  }

  private dynset(table: Table, e: Extract<Expression, { op: "dynset" }>, packet: Packet): Step {
    const set = table.sets.get(e.set) as PlainSet;
    const key = this.get(e.key, set.keyLength);
    if (e.action === "delete") {
      set.remove(key);
      return "go on";
    }
    const length = set.spec.map?.kind === "data" ? set.spec.map.length : 0;
    const data = e.data === undefined ? undefined : this.get(e.data, length);
    const element = set.update(key, data, BigInt(Math.round((e.timeoutMs ?? 0) * 1e6)), e.action === "update", this.world.now);
    if (!element) return e.invert ? "go on" : "break";
    return this.carried(element, packet) && !e.invert ? "go on" : "break";
  }

  private fib(e: Extract<Expression, { op: "fib" }>, packet: Packet): Step {
    const found = this.world.fib(packet, e.flags, e.result === "type" ? "type" : "oif");
    if (e.present) return this.put(e.dreg, Uint8Array.of(found ? 1 : 0));
    if (typeof found === "number") return this.number(e.dreg, found);
    return e.result === "oif" ? this.number(e.dreg, found?.index ?? 0) : this.put(e.dreg, text(found?.name ?? ""));
  }

  private meta(family: Family, key: string, packet: Packet): Uint8Array | undefined {
    const { world } = this;
    const u32 = (value: number) => {
      const out = new Uint8Array(4);
      setWord(out, 0, value);
      return out;
    };
    const port = key.startsWith("o") ? packet.output : packet.input;
    switch (key) {
      case "len":
        return u32(packet.bytes.length - packet.l3);
      case "protocol":
        if (packet.family === 4) return Uint8Array.of(8, 0);
        if (packet.family === 6) return Uint8Array.of(0x86, 0xdd);
        return packet.l3 >= 2 ? packet.bytes.slice(packet.l3 - 2, packet.l3) : new Uint8Array(2);
      case "priority":
        return u32(packet.priority);
      case "mark":
        return u32(packet.mark);
      case "iif":
      case "oif":
        return u32(port?.index ?? 0);
      case "iifname":
      case "oifname":
        return text(port?.name ?? "");
      case "iiftype":
      case "oiftype":
        return port && u32(port.type).subarray(0, 2);
      case "iifgroup":
      case "oifgroup":
        return port && u32(port.group);
      case "iifkind":
      case "oifkind":
        return port?.kind ? text(port.kind) : undefined;
      case "nfproto":
        return Uint8Array.of(
          ({ ip: 2, ip6: 10, arp: 3, netdev: 5, bridge: 7 } as Partial<Record<Family, number>>)[family] ?? (packet.family === 6 ? 10 : 2),
        );
      case "l4proto":
        return packet.family === 0 && family !== "ip" && family !== "ip6" && family !== "inet" ? undefined : Uint8Array.of(packet.protocol);
      case "pkttype":
        return Uint8Array.of(!packet.group ? 0 : packet.bytes.subarray(0, 6).every((byte) => byte === 255) ? 1 : 2);
      case "cpu":
        return u32(world.worker);
      case "random":
        return u32(world.random());
      case "secpath":
        return Uint8Array.of(0);
      case "sdif":
        return u32(0);
      case "time": {
        const out = new Uint8Array(8);
        new DataView(out.buffer).setBigUint64(0, world.now + world.epoch, true);
        return out;
      }
      case "day":
        return Uint8Array.of(new Date(Number((world.now + world.epoch) / 1_000_000n)).getUTCDay());
      case "hour": {
        const seconds = Number((world.now + world.epoch) / 1_000_000_000n);
        return u32(seconds % 86_400);
      }
      default:
        return undefined;
    }
  }

  private ct(family: Family, e: Extract<Expression, { op: "ct" }>, packet: Packet): Uint8Array | undefined {
    const { flow } = packet;
    if (!flow) return undefined;
    const u32 = (value: number) => {
      const out = new Uint8Array(4);
      setWord(out, 0, value);
      return out;
    };
    switch (e.key) {
      case "direction":
        return Uint8Array.of(flow.direction === "reply" ? 1 : 0);
      case "status":
        return u32(flow.status);
      case "mark":
        return u32(flow.mark);
      case "protocol":
        return Uint8Array.of(flow.protocol);
      case "l3protocol":
        return Uint8Array.of(flow.family === 4 ? 2 : 10);
      case "zone":
        if (e.direction === undefined) return u32(flow.zone).subarray(0, 2);
    }
    const wanted = e.key.endsWith("6")
      ? 6
      : e.key.endsWith("_ip")
        ? 4
        : e.key === "src" || e.key === "dst"
          ? family === "ip6"
            ? 6
            : 4
          : flow.family;
    if (wanted !== flow.family) return undefined;
    const bytes = this.world.flowLoad(packet, CT_FIELDS[e.key] ?? 0, direction(e.direction));
    if (e.key === "helper") return bytes && text(helperName(bytes[0]) ?? "");
    return bytes?.subarray(0, /^(src|dst)/.test(e.key) ? (wanted === 6 ? 16 : 4) : (CT_BYTES[e.key] ?? 4));
  }
}

/** An accept after which no further chain of the segment is asked. */
const FINAL = -1;
const CT_STATE: Record<number, number> = { 0: 2, 1: 4, 2: 8, 3: 2, 4: 4, 7: 64 };
const CT_FIELDS: Record<string, number> = {
  src: 0,
  src_ip: 0,
  src_ip6: 0,
  dst: 1,
  dst_ip: 1,
  dst_ip6: 1,
  proto_src: 2,
  proto_dst: 3,
  expiration: 4,
  label: 5,
  packets: 6,
  bytes: 7,
  avgpkt: 8,
  zone: 9,
  helper: 10,
  id: 11,
  mark: 12,
  event: 13,
};
const fieldOf = ({ key, direction: way }: { readonly key: string; readonly direction?: "original" | "reply" }): number =>
  key === "zone" && way ? (way === "original" ? 16 : 17) : (CT_FIELDS[key] ?? 0);
const CT_BYTES: Record<string, number> = { proto_src: 2, proto_dst: 2, label: 16, packets: 8, bytes: 8, avgpkt: 8, helper: 16, zone: 2 };
const OBJECT_FIELDS: Record<string, number> = { "ct helper": 10, "ct timeout": 14, "ct expectation": 15 };
const direction = (d: "original" | "reply" | undefined): number => (d === undefined ? 2 : d === "reply" ? 1 : 0);

function compare(sign: number, op: string): boolean {
  return op === "eq"
    ? sign === 0
    : op === "neq"
      ? sign !== 0
      : op === "lt"
        ? sign < 0
        : op === "lte"
          ? sign <= 0
          : op === "gt"
            ? sign > 0
            : sign >= 0;
}

/** nft_bitwise_eval_lshift and _rshift: bits that leave a word enter its neighbour. */
function shift(bytes: Uint8Array, left: boolean, bits: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const n = bytes.length / 4;
  let carry = 0;
  for (let k = 0; k < n; k++) {
    const i = left ? n - 1 - k : k;
    const value = word(bytes, 4 * i);
    setWord(out, 4 * i, (left ? value << bits : value >>> bits) | carry);
    carry = bits === 0 ? 0 : left ? value >>> (32 - bits) : value << (32 - bits);
  }
  return out;
}

function byteorder(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += size) for (let i = 0; i < size; i++) out[at + i] = bytes[at + size - 1 - i];
  return out;
}

function carriedBy(table: TableSpec, set: SetSpec): readonly Expression[] {
  if (set.expressions) return set.expressions;
  const adds = table.chains.flatMap(({ rules }) => rules.flatMap(({ expressions }) => expressions)).filter((e) => e.op === "dynset");
  const with_ = adds.find((e) => e.set === set.name && e.expressions.length > 0);
  return with_?.expressions ?? set.elements.find(({ expressions }) => expressions && expressions.length > 0)?.expressions ?? [];
}
