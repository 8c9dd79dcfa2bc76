/** What is read of a packet into registers: bytes of it (payload), what the engine knows of it (meta), and of its connection (ct). */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { CtKey, Direction, Expression, Family, MetaKey, PayloadBase } from "../expressions.ts";
import { type Code, I64 } from "./code.ts";
import type { Base, Emitter, Field } from "./emitter.ts";

/** Bytes of each word of a value. */
export function wordsOf(length: number): number[] {
  return Array.from({ length: Math.ceil(length / 4) }, (_, i) => Math.min(4, length - 4 * i));
}

/** Loads `length` bytes at a local's address plus `offset` into words. */
export function loadWords(code: Code, at: number, offset: number, length: number, to: readonly number[]): void {
  for (const [i, bytes] of wordsOf(length).entries()) {
    const from = offset + 4 * i;
    if (bytes === 3)
      code
        .get(at)
        .load(2, from)
        .get(at)
        .load(1, from + 2)
        .i32(16)
        .shl()
        .or();
    else code.get(at).load(bytes as 1 | 2 | 4, from);
    code.set(to[i]);
  }
}

/** The scratch memory's part that loads go to. */
const LOADED = 192;

// ── Payload ─────────────────────────────────────────────────────────────────────────────────────
export const BASE_NUMBERS: Record<PayloadBase, number> = {
  link: abi.BASE_LINK,
  network: abi.BASE_NETWORK,
  transport: abi.BASE_TRANSPORT,
  inner: abi.BASE_INNER,
};

/** Bytes of the network header that are always in the first segment, once a packet is known to be of the family. */
const WHOLE: Partial<Record<Family, number>> = { ip: 20, ip6: 40, inet: 20 };

function payload(family: Family, base: PayloadBase, offset: number, length: number): Field {
  if (length < 1 || length > 64 || offset < 0 || offset > 4096)
    throw invalid(`a load of ${length} bytes at ${offset} is none that rules have`);
  const certain = base === "network" && offset + length <= (WHOLE[family] ?? 0);
  return {
    key: `payload ${base} ${offset} ${length}`,
    words: wordsOf(length),
    certain,
    emit(e, to) {
      if (base === "inner") return loadFar(e, base, offset, length, to);
      const c = e.code;
      const at = e.base(base as Base);
      if (certain) return loadWords(c, at, offset, length, to);
      c.get(at)
        .i32(offset + length)
        .add()
        .get(e.base("end"))
        .gtU()
        .if();
      loadFar(e, base, offset, length, to);
      c.else();
      loadWords(c, at, offset, length, to);
      c.end();
    },
  };
}

/** What is not in the first segment, or not there at all. */
function loadFar(e: Emitter, base: PayloadBase, offset: number, length: number, to: readonly number[]): void {
  const c = e.code.get(e.worker).get(e.position).i32(BASE_NUMBERS[base]).i32(offset).i32(length);
  e.scratch(LOADED).call(e.program.plane("loadPayload")).eqz();
  e.failIf();
  loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, length, to);
}

// ── meta ────────────────────────────────────────────────────────────────────────────────────────
type Emit = (e: Emitter, to: readonly number[]) => void;
interface Known {
  readonly bytes: number;
  readonly certain: boolean;
  readonly emit: Emit;
}

const descriptor = (e: Emitter): Code => e.code.get(e.base("descriptor"));
const always = (bytes: number, push: (e: Emitter) => void): Known => ({
  bytes,
  certain: true,
  emit(e, [to]) {
    push(e);
    e.code.set(to);
  },
});
const never: Known = { bytes: 4, certain: false, emit: (e) => e.fail() };

/** Pushes the packet's bytes from its network header on. */
export function pushLength(e: Emitter): Code {
  descriptor(e).load(4, abi.DESC_PACKET_LENGTH);
  return descriptor(e).load(2, abi.DESC_L3).sub();
}

/** Pushes what the port is called that the packet came in by, or leaves by: an address of IFACE_*. */
export function pushInterface(e: Emitter, output: boolean, port: number): Code {
  const { interfaces, nothing, ports } = e.program.places;
  const c = output ? e.vector(abi.VEC_OIF, 2) : descriptor(e).load(2, abi.DESC_INGRESS);
  c.tee(port).i32(abi.IFACE_SIZE).mul().i32(interfaces).add();
  return c.i32(nothing).get(port).i32(ports).ltU().select();
}

/** A field of a port's name record; `needed`: without a port the rule ends. */
function ofInterface(output: boolean, offset: number, bytes: number, needed: boolean): Known {
  return {
    bytes,
    certain: !needed,
    emit(e, to) {
      const at = e.temporary();
      pushInterface(e, output, at).set(at);
      if (needed) {
        e.code.get(at).i32(e.program.places.nothing).eq();
        e.failIf();
      }
      if (offset === abi.IFACE_KIND) {
        e.code.get(at).load(1, offset).eqz();
        e.failIf();
      }
      loadWords(e.code, at, offset, bytes, to);
    },
  };
}

function nfproto(family: Family): Known {
  const fixed: Partial<Record<Family, number>> = { ip: 2, ip6: 10, arp: 3, netdev: 5, bridge: 7 };
  const value = fixed[family];
  if (value !== undefined) return always(1, (e) => e.code.i32(value));
  return always(1, (e) => descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP6).and().i32(2).shl().i32(2).add());
}

/** EtherType as it stands in the frame: known for IP, read in front of the network header for everything else. */
const protocol: Known = {
  bytes: 2,
  certain: true,
  emit(e, [to]) {
    const c = descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP4).and().if().i32(0x0008).set(to).else();
    descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP6).and().if().i32(0xdd86).set(to).else();
    c.i32(0).set(to);
    descriptor(e).load(2, abi.DESC_L3).i32(2).geU().if();
    c.get(e.base("network")).i32(2).sub().load(2).set(to).end().end().end();
  },
};

function l4proto(family: Family): Known {
  const certain = family === "ip" || family === "ip6" || family === "inet";
  return {
    bytes: 1,
    certain,
    emit(e, [to]) {
      if (!certain) {
        descriptor(e)
          .load(1, abi.DESC_FLAGS)
          .i32(abi.FLAG_IP4 | abi.FLAG_IP6)
          .and()
          .eqz();
        e.failIf();
      }
      descriptor(e).load(1, abi.DESC_PROTOCOL).set(to);
    },
  };
}

/** enum of linux/if_packet.h: for us 0, broadcast 1, multicast 2. */
const pkttype: Known = {
  bytes: 1,
  certain: true,
  emit(e, [to]) {
    const c = e.code.i32(0).set(to);
    descriptor(e).load(4, abi.DESC_FLAGS).i32(abi.FLAG_L2_GROUP).and().if();
    c.i32(1).i32(2);
    c.get(e.base("data")).load(4).get(e.base("data")).load(2, 4).i32(16).shl().i32(0xffff).or().and().i32(-1).eq();
    c.select().set(to).end();
  },
};

/** Nanoseconds since 1970, on the stack as 64 bits. */
function pushWallTime(e: Emitter): Code {
  e.code.get(e.worker).load64(abi.WORKER_TIME);
  return e.code.i32(e.program.places.epoch).load64().add64();
}

const time: Known = {
  bytes: 8,
  certain: true,
  emit(e, [low, high]) {
    const at = e.temporary(I64);
    pushWallTime(e).tee(at).wrap().set(low).get(at).i64(32n).shrU64().wrap().set(high);
  },
};
const SECOND = 1_000_000_000n;

function metaOf(key: MetaKey, family: Family): Known {
  switch (key) {
    case "len":
      return always(4, pushLength);
    case "protocol":
      return protocol;
    case "priority":
      return always(4, (e) => e.vector(abi.VEC_PRIORITY, 4));
    case "mark":
      return always(4, (e) => descriptor(e).load(4, abi.DESC_MARK));
    case "iif":
    case "oif":
      return ofInterface(key === "oif", abi.IFACE_INDEX, 4, false);
    case "iifname":
    case "oifname":
      return ofInterface(key === "oifname", abi.IFACE_NAME, abi.IFACE_NAME_SIZE, false);
    case "iiftype":
    case "oiftype":
      return ofInterface(key === "oiftype", abi.IFACE_TYPE, 2, true);
    case "iifgroup":
    case "oifgroup":
      return ofInterface(key === "oifgroup", abi.IFACE_GROUP, 4, true);
    case "iifkind":
    case "oifkind":
      return ofInterface(key === "oifkind", abi.IFACE_KIND, 16, true);
    case "nfproto":
      return nfproto(family);
    case "l4proto":
      return l4proto(family);
    case "pkttype":
      return pkttype;
    case "cpu":
      return always(4, (e) => e.code.get(e.worker).load(4, abi.WORKER_ID));
    case "random":
      return always(4, (e) => e.code.call(e.program.random()));
    case "secpath":
      return always(1, (e) => e.code.i32(0));
    case "sdif":
      return always(4, (e) => e.code.i32(0));
    case "time":
      return time;
    case "day":
      return always(1, (e) =>
        pushWallTime(e)
          .i64(86_400n * SECOND)
          .divU64()
          .i64(4n)
          .add64()
          .i64(7n)
          .remU64()
          .wrap(),
      );
    case "hour":
      return always(4, (e) => pushWallTime(e).i64(SECOND).divU64().i64(86_400n).remU64().wrap());
    case "skuid":
    case "skgid":
    case "cgroup":
      // Nothing that is forwarded belongs to a socket.
      return never;
    default:
      throw invalid(`meta ${key} is not known to this engine`);
  }
}

// ── ct ──────────────────────────────────────────────────────────────────────────────────────────
/** Pushes the address of the flow's hot record; without a flow the rule ends. */
function pushFlow(e: Emitter): Code {
  const flow = e.temporary();
  const c = e.vector(abi.VEC_FLOW, 4).tee(flow).eqz();
  e.failIf();
  return c.i32(e.program.places.flows).load(4, abi.FLOWS_HOT).get(flow).i32(1).shrU().i32(abi.FLOW_SIZE).mul().add();
}

const ofFlow = (offset: number, bytes: 1 | 2 | 4): Known => ({
  bytes,
  certain: false,
  emit(e, [to]) {
    pushFlow(e).load(bytes, offset).set(to);
  },
});

export const DIRECTIONS: Record<Direction, number> = { original: 0, reply: 1 };

/** By call; `family`: the flow must be of it. */
function byCall(field: number, bytes: number, direction: Direction | undefined, family?: 4 | 6): Known {
  return {
    bytes,
    certain: false,
    emit(e, to) {
      if (family !== undefined) {
        pushFlow(e).load(1, abi.FLOW_FAMILY).i32(family).ne();
        e.failIf();
      }
      const c = e.code
        .get(e.worker)
        .get(e.position)
        .i32(field)
        .i32(direction === undefined ? 2 : DIRECTIONS[direction]);
      e.scratch(LOADED).call(e.program.plane("flowLoad")).eqz();
      e.failIf();
      loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, bytes, to);
    },
  };
}

function ctOf(key: CtKey, family: Family, direction: Direction | undefined): Known {
  const far = (field: number, bytes: number, of?: 4 | 6) => byCall(field, bytes, direction, of);
  switch (key) {
    case "state":
      return always(4, (e) => e.vector(abi.VEC_CTINFO, 1).i32(15).and().load(1, e.program.places.states));
    case "direction":
      return {
        bytes: 1,
        certain: false,
        emit(e, [to]) {
          pushFlow(e).pop();
          e.vector(abi.VEC_FLOW, 4).i32(1).and().set(to);
        },
      };
    case "status":
      return ofFlow(abi.FLOW_STATUS, 4);
    case "mark":
      return ofFlow(abi.FLOW_MARK, 4);
    case "protocol":
      return ofFlow(abi.FLOW_PROTOCOL, 1);
    case "l3protocol":
      return {
        bytes: 1,
        certain: false,
        emit(e, [to]) {
          e.code.i32(2).i32(10);
          pushFlow(e).load(1, abi.FLOW_FAMILY).i32(4).eq().select().set(to);
        },
      };
    case "zone":
      return direction === undefined ? ofFlow(abi.FLOW_ZONE, 2) : far(abi.CTFIELD_ZONE, 2);
    case "src":
    case "dst":
      return far(key === "src" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, family === "ip6" ? 16 : 4, family === "ip6" ? 6 : 4);
    case "src_ip":
    case "dst_ip":
      return far(key === "src_ip" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, 4, 4);
    case "src_ip6":
    case "dst_ip6":
      return far(key === "src_ip6" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, 16, 6);
    case "proto_src":
      return far(abi.CTFIELD_SOURCE_PORT, 2);
    case "proto_dst":
      return far(abi.CTFIELD_DESTINATION_PORT, 2);
    case "expiration":
      return far(abi.CTFIELD_EXPIRATION, 4);
    case "label":
      return far(abi.CTFIELD_LABELS, 16);
    case "packets":
      return far(abi.CTFIELD_PACKETS, 8);
    case "bytes":
      return far(abi.CTFIELD_BYTES, 8);
    case "avgpkt":
      return far(abi.CTFIELD_AVERAGE, 8);
    case "helper":
      return far(abi.CTFIELD_HELPER, 16);
    case "id":
      return far(abi.CTFIELD_ID, 4);
    default:
      throw invalid(`ct ${key} cannot be read`);
  }
}

function known(key: string, { bytes, certain, emit }: Known): Field {
  return { key, words: wordsOf(bytes), certain, emit };
}

/** The field that an expression reads, if it is one that reads. Each is made once: rulesets ask for the same ones again and again. */
export function fieldOf(expression: Expression, family: Family): Field | undefined {
  if (expression.op !== "payload" && expression.op !== "meta" && expression.op !== "ct") return undefined;
  let fields = made.get(family);
  if (!fields) made.set(family, (fields = new Map()));
  const key = keyOf(expression);
  let field = fields.get(key);
  if (!field) {
    field = makeField(expression, family);
    if (fields.size < MOST_FIELDS) fields.set(key, field);
  }
  return field;
}

type Reading = Extract<Expression, { op: "payload" | "meta" | "ct" }>;
const made = new Map<Family, Map<number | string, Field>>();
const MOST_FIELDS = 4096;

/** Tells fields of a family apart: a number for bytes of the packet, a name for the rest. */
function keyOf(expression: Reading): number | string {
  if (expression.op === "meta") return expression.key;
  if (expression.op === "ct") return `ct ${expression.key} ${expression.direction ?? ""}`;
  return (((expression.offset & 0xffff) << 8) | (expression.len & 0xff)) * 4 + BASE_NUMBERS[expression.base];
}

function makeField(expression: Reading, family: Family): Field {
  if (expression.op === "payload") return payload(family, expression.base, expression.offset, expression.len);
  if (expression.op === "meta") return known(`meta ${expression.key}`, metaOf(expression.key, family));
  const { key, direction } = expression;
  return known(`ct ${key} ${direction ?? ""}`, ctOf(key, family, direction));
}

/** Reading it once is as good as reading it again, and cheap where nobody wants it. */
export function canHoist(expression: Expression, field: Field): boolean {
  if (expression.op === "payload") return expression.base !== "inner" && field.words.length <= 4;
  if (expression.op === "ct") return expression.key === "state" || expression.key === "mark" || expression.key === "status";
  return expression.op === "meta" && expression.key !== "random" && !["skuid", "skgid", "cgroup"].includes(expression.key);
}
