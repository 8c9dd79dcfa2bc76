/** Expressions that do something to the packet or its connection, or give it to somebody else. */
import * as abi from "../../../assembly/abi.ts";
import { invalid, LoomError } from "../../base/errors.ts";
import { type CtKey, type Expression, NAT_MAP_IPS, NAT_PROTO_SPECIFIED, type Register } from "../expressions.ts";
import { type Emitter, tell } from "./emitter.ts";
import { ACCEPT_ALL, TOLD } from "./link.ts";
import { answerHandshake, argument } from "./lookup.ts";
import { BASE_NUMBERS } from "./payload.ts";
import { loadWords, wordsOf } from "./reading.ts";
import { scale } from "./stateful.ts";

type Of<Op extends Expression["op"]> = Extract<Expression, { op: Op }>;
/** Scratch: where records for translation stand. */
const RECORD = 128;

const unsupported = (what: string) => new LoomError("ENOTSUP", `${what} is not known to this engine`);

/** The packet may lie elsewhere now, whether it was written or not: that is seen to before the rule ends. */
function failAfterRefresh(e: Emitter): void {
  const written = e.temporary();
  e.code.set(written);
  e.refresh();
  e.code.get(written).eqz();
  e.failIf();
}

// ── Writes ──────────────────────────────────────────────────────────────────────────────────────
export function payloadWrite(e: Emitter, { sreg, base, offset, len, csum }: Of<"payload-write">): void {
  e.spill(sreg, len, 0);
  const mend = (csum.kind === "inet" ? abi.MEND_INET | csum.offset : 0) | (csum.pseudo ? abi.MEND_PSEUDO : 0);
  e.code.get(e.worker).get(e.position).i32(BASE_NUMBERS[base]).i32(offset).i32(len);
  e.scratch().i32(mend).call(e.program.plane("writePayload"));
  failAfterRefresh(e);
}

export function exthdrWrite(e: Emitter, { sreg, type, offset, len }: Of<"exthdr-write">): void {
  if (len !== 2 && len !== 4) throw invalid(`${len} bytes of a TCP option are written; expected 2 or 4`);
  e.spill(sreg, len, 0);
  e.code.get(e.worker).get(e.position).i32(type).i32(offset).i32(len);
  e.scratch().call(e.program.plane("writeOption"));
  failAfterRefresh(e);
}

export function exthdrReset(e: Emitter, { type }: Of<"exthdr-reset">): void {
  e.code.get(e.worker).get(e.position).i32(type).call(e.program.plane("resetOption"));
  failAfterRefresh(e);
}

export function metaSet(e: Emitter, { sreg, key }: Of<"meta-set">): void {
  if (key === "mark") {
    e.code.get(e.base("descriptor"));
    e.push(e.word(sreg)).store(4, abi.DESC_MARK);
  } else if (key === "priority") {
    e.vectorAt(4);
    e.push(e.word(sreg)).store(4, abi.VEC_PRIORITY);
  } else if (key === "nftrace") {
    e.code.get(e.worker).get(e.position);
    e.pushBytes(e.word(sreg), 1).call(e.program.plane("followPacket"));
  } else throw unsupported(`setting meta ${key}`);
  e.refresh();
}

const SET_FIELDS: Partial<Record<CtKey, { field: number; bytes: number }>> = {
  mark: { field: abi.CTFIELD_MARK, bytes: 4 },
  label: { field: abi.CTFIELD_LABELS, bytes: 16 },
  zone: { field: abi.CTFIELD_ZONE, bytes: 2 },
  event: { field: abi.CTFIELD_EVENTS, bytes: 4 },
};

const ZONE_FIELDS = { original: abi.CTFIELD_ZONE_ORIGINAL, reply: abi.CTFIELD_ZONE_REPLY } as const;

export function ctSet(e: Emitter, { sreg, key, direction }: Of<"ct-set">): void {
  const known = key === "zone" && direction ? { field: ZONE_FIELDS[direction], bytes: 2 } : SET_FIELDS[key];
  if (!known) throw unsupported(`setting ct ${key}`);
  e.spill(sreg, known.bytes, 0);
  e.code.get(e.worker).get(e.position).i32(known.field);
  e.scratch().i32(known.bytes).call(e.program.plane("flowStore")).pop();
  e.refresh();
}

export function notrack(e: Emitter): void {
  // What a zone was chosen for is tracked (nft_notrack: it has a template).
  e.vector(abi.VEC_FLOW, 4).eqz();
  const c = e.vector(abi.VEC_CTINFO, 1).i32(abi.CT_NEW).ne().and().if();
  e.vectorAt(1);
  c.i32(abi.CT_UNTRACKED).store(1, abi.VEC_CTINFO).end();
  e.refresh();
}

// ── Reads that call ─────────────────────────────────────────────────────────────────────────────
const OPTIONS = { ipv6: abi.OPTION_IP6, tcpopt: abi.OPTION_TCP, ipopt: abi.OPTION_IP4, sctp: abi.OPTION_SCTP } as const;
const LOADED = 192;

export function exthdr(e: Emitter, { dreg, header, type, offset, len, present }: Of<"exthdr">): void {
  const c = e.code
    .get(e.worker)
    .get(e.position)
    .i32(OPTIONS[header])
    .i32(type)
    .i32(offset)
    .i32(present ? 0 : len);
  e.scratch(LOADED).call(e.program.plane("loadOption"));
  if (present) {
    const [to] = e.fresh(dreg, [1]);
    c.tee(to).i32(2).eq();
    e.failIf();
    return;
  }
  c.i32(1).ne();
  e.failIf();
  loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, len, e.fresh(dreg, wordsOf(len)));
}

export function fib(e: Emitter, { dreg, result, flags, present }: Of<"fib">): void {
  const found = e.temporary();
  const c = e.code.get(e.worker).get(e.position).i32(flags);
  c.i32(result === "type" ? abi.FIB_TYPE : abi.FIB_OIF)
    .call(e.program.plane("askFib"))
    .set(found);
  if (present || result === "type") {
    const [to] = e.fresh(dreg, [present ? 1 : 4]);
    c.get(found);
    if (present) c.i32(0).ne();
    c.set(to);
    return;
  }
  c.get(found).i32(e.program.places.nothing).get(found).select().set(found);
  const bytes = result === "oif" ? 4 : abi.IFACE_NAME_SIZE;
  loadWords(c, found, result === "oif" ? abi.IFACE_INDEX : abi.IFACE_NAME, bytes, e.fresh(dreg, wordsOf(bytes)));
}

export function hash(e: Emitter, expression: Of<"hash">): void {
  const c = e.code;
  if (expression.kind === "jhash") {
    e.spill(expression.sreg, expression.len, 0);
    e.scratch().i32(expression.len).i32(expression.seed).call(e.program.plane("jhash"));
  } else c.get(e.worker).get(e.position).call(e.program.plane("symmetricHash"));
  scale(e, expression.modulus, expression.offset);
  const [to] = e.fresh(expression.dreg, [4]);
  c.set(to);
}

export function rt(e: Emitter, { dreg, key }: Of<"rt">): void {
  if (key === "nexthop4" || key === "nexthop6") throw unsupported("rt nexthop");
  const c = e.vector(abi.VEC_OIF, 2).i32(e.program.places.ports).geU();
  e.failIf();
  const [to] = e.fresh(dreg, [key === "tcpmss" ? 2 : key === "ipsec" ? 1 : 4]);
  if (key === "tcpmss") c.get(e.worker).get(e.position).call(e.program.plane("segmentLimit"));
  else c.i32(0);
  c.set(to);
}

/** What rules may ask of a packet's socket, by the numbers of linux/netfilter/nf_tables.h (NFT_SOCKET_*). */
const SOCKET_KEYS = { transparent: 0, mark: 1, wildcard: 2, cgroupv2: 3 } as const;

/** The socket that a packet is for, or of: the host layer knows it, and is asked. A packet without one matches nothing. */
export function socket(e: Emitter, { dreg, key }: Of<"socket">): void {
  if (key === "cgroupv2") {
    e.fresh(dreg, [4, 4]);
    e.fail();
    return;
  }
  const c = e.code.get(e.worker).get(e.position).i32(SOCKET_KEYS[key]);
  e.scratch(LOADED).call(e.program.plane("socketField")).eqz();
  e.failIf();
  const bytes = key === "mark" ? 4 : 1;
  loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, bytes, e.fresh(dreg, wordsOf(bytes)));
}

// ── Verdicts and what comes with them ───────────────────────────────────────────────────────────
/** Codes of icmpx by family: no route, port, host, prohibited (linux/netfilter/nf_tables.h, NFT_REJECT_ICMPX_*). */
const ICMPX4 = [0, 3, 1, 13];
const ICMPX6 = [0, 4, 3, 1];

export function reject(e: Emitter, { type, code }: Of<"reject">): void {
  argument(e, () => {
    const c = e.code;
    if (type !== "icmpx-unreach") return c.i32(((type === "tcp-rst" ? abi.REJECT_TCP_RESET : abi.REJECT_ICMP) << 8) | code);
    if (ICMPX4[code] === undefined) throw invalid(`icmpx code ${code}; expected 0 to 3`);
    c.i32((abi.REJECT_ICMP << 8) | ICMPX4[code]).i32((abi.REJECT_ICMP << 8) | ICMPX6[code]);
    return c.get(e.base("descriptor")).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP4).and().select();
  });
  e.code.i32(abi.VERDICT_REJECT).ret();
}

/** linux/netfilter/nf_tables.h, NFT_QUEUE_FLAG_CPU_FANOUT. */
const CPU_FANOUT = 2;

/** linux/netfilter/nf_tables.h, NFT_QUEUE_FLAG_BYPASS. */
const BYPASS = 1;

/** The argument is the queue's number, and the flags above its 16 bits. While nobody listens to any, `bypass` lets packets pass at once. */
export function queue(e: Emitter, { from, total, flags, sreg }: Of<"queue">): void {
  const c = e.code;
  if (flags & BYPASS) c.i32(e.program.places.listeners).load(4).eqz().if().i32(abi.VERDICT_ACCEPT).ret().end();
  argument(e, () => {
    if (sreg !== undefined) e.pushBytes(e.word(sreg), 2);
    else if (total <= 1) c.i32(from);
    else if (flags & CPU_FANOUT) c.get(e.worker).load(4, abi.WORKER_ID).i32(total).remU().i32(from).add();
    else {
      c.get(e.worker).get(e.position).call(e.program.plane("symmetricHash"));
      scale(e, total, from);
    }
    c.i32(flags << 16).or();
  });
  c.i32(abi.VERDICT_QUEUE).ret();
}

export function log(e: Emitter, expression: Of<"log">): void {
  const number = e.program.table.statement(expression);
  e.code.get(e.worker).get(e.position).i32(number).call(e.program.plane("logPacket"));
}

export function synproxy(e: Emitter, expression: Of<"synproxy">): void {
  answerHandshake(e, expression);
}

type Nat = Of<"nat"> | Of<"masq"> | Of<"redir">;

/** Whether the packet is of the other family. */
function pushIsOther(e: Emitter, family: 4 | 6): void {
  e.code.get(e.base("descriptor")).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP4).and();
  if (family === 4) e.code.eqz();
}

/** In a table of both families an address is for packets of its own: others go on behind it (nft_nat_inet). */
export function nat(e: Emitter, expression: Nat): void {
  if (e.family !== "inet" || expression.op !== "nat" || expression.addrMin === undefined) {
    translation(e, expression);
    return;
  }
  pushIsOther(e, expression.family);
  e.code.eqz().if();
  translation(e, expression);
  e.code.end();
}

/** Fills a record (NATREQ_*) and has the flow translated; what comes of it is the verdict. */
function translation(e: Emitter, expression: Nat): void {
  const source = expression.op === "masq" || (expression.op === "nat" && expression.kind === "snat");
  const at = abi.WORKER_SCRATCH + RECORD;
  const c = e.code
    .get(e.worker)
    .i32(source ? abi.NAT_SOURCE : abi.NAT_DESTINATION)
    .store(1, at + abi.NATREQ_KIND);
  c.get(e.worker);
  if (expression.op === "nat") c.i32(expression.family);
  else c.i32(4).i32(6).get(e.base("descriptor")).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP4).and().select();
  c.store(1, at + abi.NATREQ_FAMILY);
  const { protoMin, protoMax } = expression;
  let flags = expression.flags | (protoMin === undefined ? 0 : NAT_PROTO_SPECIFIED);
  if (expression.op !== "nat") flags |= abi.NAT_OWN_ADDRESS;
  else if (expression.addrMin !== undefined) flags |= NAT_MAP_IPS;
  c.get(e.worker)
    .i32(flags)
    .store(2, at + abi.NATREQ_FLAGS);
  port(e, protoMin, at + abi.NATREQ_MIN_PORT);
  port(e, protoMax ?? protoMin, at + abi.NATREQ_MAX_PORT);
  const { addrMin = undefined, addrMax = undefined } = expression.op === "nat" ? expression : {};
  const bytes = expression.op === "nat" && expression.family === 4 ? 4 : 16;
  address(e, addrMin, bytes, at + abi.NATREQ_MIN);
  address(e, addrMax ?? addrMin, bytes, at + abi.NATREQ_MAX);
  const verdict = e.temporary();
  c.get(e.worker).get(e.position);
  e.scratch(RECORD).call(e.program.plane("natSetup")).set(verdict);
  c.i32(ACCEPT_ALL).get(verdict).get(verdict).i32(abi.VERDICT_ACCEPT).eq().select().ret();
}

/** A port of a register (network order) as the record has it, or 0. */
function port(e: Emitter, register: Register | undefined, at: number): void {
  const c = e.code.get(e.worker);
  if (register === undefined) c.i32(0);
  else {
    const value = e.temporary();
    e.pushBytes(e.word(register), 2).tee(value).i32(8).shl().get(value).i32(8).shrU().or();
  }
  c.store(2, at);
}

function address(e: Emitter, register: Register | undefined, bytes: number, at: number): void {
  for (let i = 0; i < 4; i++) {
    e.code.get(e.worker);
    if (register === undefined || 4 * i >= bytes) e.code.i32(0);
    else e.push(e.word(register, i));
    e.code.store(4, at + 4 * i);
  }
}

/** Pushes what copies go to: family, address of an address, interface index. */
function pushTarget(e: Emitter, family: 0 | 4 | 6, addr: Register | undefined, device: Register | undefined): void {
  if (addr !== undefined) e.spill(addr, family === 6 ? 16 : 4, 0);
  e.code.get(e.worker).get(e.position).i32(family);
  e.scratch();
  if (device === undefined) e.code.i32(0);
  else e.push(e.word(device));
}

export function dup(e: Emitter, { addr, device }: Of<"dup">): void {
  if (addr === undefined && device === undefined) throw invalid("dup names neither an address nor a device");
  pushTarget(e, addr === undefined ? 0 : e.family === "ip6" ? 6 : 4, addr, device);
  e.code.call(e.program.plane("duplicatePacket"));
}

export function fwd(e: Emitter, { addr, device, family }: Of<"fwd">): void {
  if (addr !== undefined) {
    pushIsOther(e, family ?? 4);
    e.failIf();
  }
  // Afterwards it is somebody else's.
  tell(e, abi.VERDICT_STOLEN);
  pushTarget(e, addr === undefined ? 0 : (family ?? 4), addr, device);
  e.code.call(e.program.plane("forwardPacket"));
  if (e.traced !== undefined) e.code.i32(TOLD).or();
  e.code.ret();
}
