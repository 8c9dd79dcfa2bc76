/** Compiled rules and the interpreter side by side: one engine whose programs are called with packets laid out by hand. */
import * as abi from "../assembly/abi.ts";
import { Random } from "../src/base/random.ts";
import { Engine } from "../src/engine/engine.ts";
import { HELPER_NAMES } from "../src/engine/helper-names.ts";
import type { Expression, Family, Hook, RuleSpec, RulesetSpec, SetSpec, TableSpec } from "../src/filter/expressions.ts";
import { Machine } from "../src/filter/machine/machine.ts";
import { Interpreter, type NatRequest, type Outcome, type World } from "../src/filter/machine/oracle/interpret.ts";
import type { Flow, Interface, Packet } from "../src/filter/machine/oracle/packet.ts";
import { checksum, pseudoSum } from "../src/wire/index.ts";

export const INTERFACES: Interface[] = [
  { name: "eth0", index: 2, type: 1, group: 0, kind: "" },
  { name: "eth1", index: 3, type: 1, group: 7, kind: "vlan" },
  { name: "lan0", index: 9, type: 1, group: 1, kind: "bridge" },
  { name: "wg0", index: 12, type: 65_534, group: 1, kind: "wireguard" },
];

/** What is seen of a packet behind a segment. */
export interface Seen extends Outcome {
  readonly bytes: string;
  readonly mark: number;
  readonly priority: number;
  readonly ctinfo: number;
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A clock that stands until it is set. */
export const still = (epoch = 0) => ({
  ms: 1000,
  epoch,
  now() {
    return this.ms;
  },
  sleep: () => Promise.resolve(),
  turn: () => Promise.resolve(),
});

const SEED = 7;

/** The same numbers as programs give out. */
export function xorshift(seed: number): () => number {
  const bytes = new Random(seed).fill(new Uint8Array(8));
  bytes[0] |= 1;
  let state = new DataView(bytes.buffer).getBigUint64(0, true);
  return () => {
    state ^= BigInt.asUintN(64, state << 13n);
    state ^= state >> 7n;
    state ^= BigInt.asUintN(64, state << 17n);
    return Number(state >> 32n);
  };
}

/** Things that happened outside of the packet, as text. */
export type Events = string[];

export class Rig {
  readonly engine: Engine;
  readonly machine: Machine;
  readonly clock: ReturnType<typeof still>;
  /** What compiled rules asked for. */
  events: Events = [];
  private readonly hot: number;
  private packets: Packet[] = [];

  static async create(options: { filterBytes?: number; build?: "shared" | "plain"; families?: Family[] } = {}): Promise<Rig> {
    const clock = still(1_700_000_000_000);
    const engine = await Engine.create({
      ports: 4,
      buffers: 1024,
      routes4: 100,
      routes6: 100,
      appBytes: 65_536,
      flows: 1024,
      filterBytes: options.filterBytes ?? 8 << 20,
      build: options.build ?? "plain",
      secret: new Uint8Array(8).fill(0x5a),
      clock,
    });
    return new Rig(engine, clock, options.families);
  }

  constructor(engine: Engine, clock: ReturnType<typeof still>, families?: Family[]) {
    this.engine = engine;
    this.clock = clock;
    const { memory } = engine;
    for (const [i, { name, index, type, group, kind }] of INTERFACES.entries()) {
      const at = memory.base(abi.REGION_IFACES) + i * abi.IFACE_SIZE;
      memory.u8.set(new TextEncoder().encode(name), at + abi.IFACE_NAME);
      memory.setU32(at + abi.IFACE_INDEX, index);
      memory.setU32(at + abi.IFACE_TYPE, type);
      memory.setU32(at + abi.IFACE_GROUP, group);
      memory.u8.set(new TextEncoder().encode(kind), at + abi.IFACE_KIND);
    }
    this.hot = memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_HOT);
    this.machine = new Machine(engine, 0, { random: new Random(SEED), families, plane: this.doubles() });
  }

  /** Connection tracking and translation in its place. */
  private doubles() {
    const { memory } = this.engine;
    return {
      flowLoad: (_worker: number, position: number, field: number, direction: number, out: number) => {
        const bytes = fieldOf(this.packets[position].flow, field, direction);
        if (bytes) memory.u8.set(bytes, out);
        return bytes ? 1 : 0;
      },
      flowStore: (_worker: number, position: number, field: number, from: number, length: number) => {
        const { flow } = this.packets[position];
        const bytes = memory.u8.slice(from, from + length);
        if (flow && field === abi.CTFIELD_MARK)
          memory.setU32(this.hot + flow.id * abi.FLOW_SIZE + abi.FLOW_MARK, bytes[0] + 256 * bytes[1]);
        this.events.push(`store ${field} ${field >= abi.CTFIELD_TIMEOUT || field === abi.CTFIELD_HELPER ? "" : hexOf(bytes)}`);
        return 1;
      },
      natSetup: (_worker: number, _position: number, record: number) => {
        const port = (at: number) => memory.u8[record + at] | (memory.u8[record + at + 1] << 8);
        this.events.push(
          natText({
            kind: memory.u8[record + abi.NATREQ_KIND],
            family: memory.u8[record + abi.NATREQ_FAMILY],
            flags: port(abi.NATREQ_FLAGS),
            ports: [port(abi.NATREQ_MIN_PORT), port(abi.NATREQ_MAX_PORT)],
            addresses: [
              memory.u8.slice(record + abi.NATREQ_MIN, record + abi.NATREQ_MAX),
              memory.u8.slice(record + abi.NATREQ_MAX, record + abi.NATREQ_SIZE),
            ],
          }),
        );
        return abi.VERDICT_ACCEPT;
      },
    };
  }

  /** An interpreter for the same ruleset, in the same world. */
  interpreter(ruleset: RulesetSpec, events: Events): Interpreter {
    return new Interpreter(ruleset, this.world(events));
  }

  private world(events: Events): World {
    const rig = this;
    const random = xorshift(SEED);
    return {
      get now() {
        return BigInt(rig.clock.ms) * 1_000_000n;
      },
      epoch: 1_700_000_000_000n * 1_000_000n,
      worker: 0,
      random,
      symmetricHash: (packet) => this.beside(packet, (position) => this.call("symmetricHash", position)),
      fib: (packet, flags, result) =>
        this.beside(packet, (position) => {
          const found = this.call("askFib", position, flags, result === "type" ? abi.FIB_TYPE : abi.FIB_OIF);
          return result === "type" ? found : INTERFACES[(found - this.engine.memory.base(abi.REGION_IFACES)) / abi.IFACE_SIZE];
        }),
      flowLoad: (packet, field, direction) => fieldOf(packet.flow, field, direction),
      flowStore: (packet, field, bytes) => {
        if (packet.flow && field === abi.CTFIELD_MARK) packet.flow.mark = bytes[0] + 256 * bytes[1];
        events.push(`store ${field} ${field >= abi.CTFIELD_TIMEOUT || field === abi.CTFIELD_HELPER ? "" : hexOf(bytes)}`);
      },
      nat: (_packet, request) => {
        events.push(natText(request));
        return abi.VERDICT_ACCEPT;
      },
      log: () => events.push("log"),
      synproxy: (packet) => {
        const flags = handshakeFlags(packet);
        if (flags !== SYN && flags !== ACK) return undefined;
        return flags === SYN && packet.input && isSumRight(packet) ? abi.VERDICT_STOLEN : abi.VERDICT_DROP;
      },
      duplicate: () => {},
      forward: (_packet, family, _address, device) =>
        family === 0 && INTERFACES.some(({ index }) => index === device) ? abi.VERDICT_STOLEN : abi.VERDICT_DROP,
      segmentLimit: (packet) => this.beside(packet, (position) => this.call("segmentLimit", position)),
    };
  }

  private call(name: string, position: number, ...rest: number[]): number {
    const plane = this.engine.plane as unknown as Record<string, (...args: number[]) => number>;
    return plane[name](this.engine.memory.worker(0), position, ...rest) >>> 0;
  }

  /** Asks the data plane of a packet that lies at the last position for the moment. */
  private beside<T>(packet: Packet, ask: (position: number) => T): T {
    const id = this.put({ ...packet, flow: undefined }, abi.BURST - 1, packet.bytes.length);
    try {
      return ask(abi.BURST - 1);
    } finally {
      this.engine.plane.packetRelease(0, id);
    }
  }

  /** Lays a packet out at a position of the burst, in one piece or with a chain behind `first` bytes. */
  private put(packet: Packet, position: number, first: number): number {
    const { memory, plane } = this.engine;
    const worker = memory.worker(0);
    const pieces = [packet.bytes.subarray(0, first), packet.bytes.subarray(first)].filter((piece, i) => i === 0 || piece.length > 0);
    const ids = pieces.map(() => plane.bufferTake(0));
    for (const [i, piece] of pieces.entries()) {
      const d = memory.descriptor(ids[i]);
      memory.u8.set(piece, memory.getU32(d + abi.DESC_DATA));
      memory.setU32(d + abi.DESC_LENGTH, piece.length);
      memory.setU32(d + abi.DESC_NEXT, ids[i + 1] ?? abi.NONE);
    }
    const d = memory.descriptor(ids[0]);
    memory.setU32(d + abi.DESC_PACKET_LENGTH, packet.bytes.length);
    memory.setU16(d + abi.DESC_INGRESS, packet.input ? INTERFACES.indexOf(packet.input) : abi.NO_PORT);
    memory.setU16(d + abi.DESC_L3, packet.l3);
    memory.setU16(d + abi.DESC_L4, packet.l4);
    memory.u8[d + abi.DESC_PROTOCOL] = packet.protocol;
    memory.setU32(d + abi.DESC_FLAGS, flagsOf(packet));
    memory.setU32(d + abi.DESC_MARK, packet.mark);
    memory.setU32(worker + abi.VEC_IDS + 4 * position, ids[0]);
    memory.setU32(worker + abi.VEC_FLOW + 4 * position, packet.flow ? packet.flow.id * 2 + (packet.flow.direction === "reply" ? 1 : 0) : 0);
    memory.setU32(worker + abi.VEC_PRIORITY + 4 * position, packet.priority);
    memory.setU32(worker + abi.VEC_ARGUMENT + 4 * position, 0);
    memory.setU16(worker + abi.VEC_OIF + 2 * position, packet.output ? INTERFACES.indexOf(packet.output) : abi.NO_PORT);
    memory.u8[worker + abi.VEC_CTINFO + position] = packet.ctinfo;
    memory.u8[worker + abi.VEC_VERDICT + position] = 99;
    if (packet.flow) this.putFlow(packet.flow);
    return ids[0];
  }

  private putFlow(flow: Flow): void {
    const { memory } = this.engine;
    const at = this.hot + flow.id * abi.FLOW_SIZE;
    memory.setU32(at + abi.FLOW_ADDRESSES, flow.id);
    memory.setU16(at + abi.FLOW_ZONE, flow.zone);
    memory.u8[at + abi.FLOW_PROTOCOL] = flow.protocol;
    memory.u8[at + abi.FLOW_SPACE] = flow.family === 6 ? abi.SPACE_IP6 : 0;
    memory.setU32(at + abi.FLOW_STATUS, flow.status);
    memory.setU32(at + abi.FLOW_MARK, flow.mark);
  }

  /** Sends packets through a segment's program, one after the other in one burst; `split`: where each is cut into two segments. */
  run(segment: number, packets: readonly Packet[], split: (packet: Packet) => number = ({ bytes }) => bytes.length): Seen[] {
    const { memory, plane, programs } = this.engine;
    const worker = memory.worker(0);
    this.packets = [...packets];
    memory.u64[(worker + abi.WORKER_TIME) / 8] = BigInt(this.clock.ms) * 1_000_000n;
    for (const [i, packet] of packets.entries()) {
      this.put(packet, i, split(packet));
      memory.setU16(worker + abi.VEC_SEGMENT + 2 * i, i);
    }
    const entry = memory.getU32(memory.base(abi.REGION_NETNS) + abi.NETNS_PROGRAMS + 4 * segment);
    if (entry === 0) throw new Error(`segment ${segment} has no program`);
    (programs.get(entry - 1) as (worker: number, list: number, n: number) => void)(worker, worker + abi.VEC_SEGMENT, packets.length);
    const seen = packets.map((_, i) => this.seen(i));
    plane.packetsFlush(0);
    this.drain();
    return seen;
  }

  private seen(position: number): Seen {
    const { memory, plane } = this.engine;
    const worker = memory.worker(0);
    const id = memory.getU32(worker + abi.VEC_IDS + 4 * position);
    const verdict = memory.u8[worker + abi.VEC_VERDICT + position];
    const d = memory.descriptor(id);
    const bytes = new Uint8Array(memory.getU32(d + abi.DESC_PACKET_LENGTH));
    const at = memory.base(abi.REGION_HOST);
    plane.packetCopy(id, 0, at, bytes.length);
    bytes.set(memory.u8.subarray(at, at + bytes.length));
    const argued = verdict === abi.VERDICT_QUEUE || verdict === abi.VERDICT_REJECT;
    const out: Seen = {
      verdict,
      // Above the argument stands how many chains of the segment were passed: the road's, not the expression's.
      ...(argued && { argument: memory.getU32(worker + abi.VEC_ARGUMENT + 4 * position) & 0xff_ffff }),
      bytes: hexOf(bytes),
      mark: memory.getU32(d + abi.DESC_MARK),
      priority: memory.getU32(worker + abi.VEC_PRIORITY + 4 * position),
      ctinfo: memory.u8[worker + abi.VEC_CTINFO + position],
    };
    if (verdict !== abi.VERDICT_STOLEN) plane.packetRelease(0, id);
    return out;
  }

  /** Takes what was punted and staged, so that nothing stays in flight. */
  private drain(): void {
    const { memory, plane } = this.engine;
    const at = memory.base(abi.REGION_HOST);
    for (let p = 0; p < INTERFACES.length; p++) this.engine.port(p).transmitted(() => {});
    for (let n = plane.puntPop(at, 64); n > 0; n = plane.puntPop(at, 64)) {
      for (let i = 0; i < n; i++) {
        if (memory.getU32(at + i * abi.PUNT_SIZE + abi.PUNT_REASON) === abi.PUNT_LOG) this.events.push("log");
        plane.packetRelease(0, memory.getU32(at + i * abi.PUNT_SIZE + abi.PUNT_ID));
      }
    }
  }

  /** What the flow's mark is in the tracking table. */
  flowMark(id: number): number {
    return this.engine.memory.getU32(this.hot + id * abi.FLOW_SIZE + abi.FLOW_MARK);
  }
}

const natText = ({ kind, family, flags, ports, addresses }: NatRequest): string =>
  `nat ${kind} ${family} ${flags} ${ports} ${addresses.map(hexOf)}`;

const SYN = 2;
const ACK = 16;

function isSumRight({ bytes, family, l3, l4, openChecksum }: Packet): boolean {
  if (openChecksum) return true;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = l3 + (family === 4 ? view.getUint16(l3 + 2) : 40 + view.getUint16(l3 + 4));
  if (end < l4 + 20 || end > bytes.length) return false;
  const addresses = bytes.subarray(family === 4 ? l3 + 12 : l3 + 8);
  const size = family === 4 ? 4 : 16;
  return checksum(bytes.subarray(l4, end), pseudoSum(addresses.subarray(0, size), addresses.subarray(size, 2 * size), 6, end - l4)) === 0;
}

/** FIN, SYN, RST and ACK of a segment whose header is whole; -1 without one. No ACK of the rig shows a cookie. */
function handshakeFlags({ bytes, l4, protocol, family, laterFragment }: Packet): number {
  if (protocol !== 6 || family === 0 || laterFragment || bytes.length < l4 + 20) return -1;
  const length = (bytes[l4 + 12] >>> 4) * 4;
  return length >= 20 && bytes.length >= l4 + length ? bytes[l4 + 13] & 0x17 : -1;
}

function flagsOf(packet: Packet): number {
  const family = packet.family === 4 ? abi.FLAG_IP4 : packet.family === 6 ? abi.FLAG_IP6 : 0;
  return (
    family |
    (packet.laterFragment ? abi.FLAG_FRAGMENT : 0) |
    (packet.openChecksum ? abi.FLAG_CSUM_PARTIAL : 0) |
    (packet.group ? abi.FLAG_L2_GROUP : 0)
  );
}

/** What a flow says of itself: bytes that differ by field and direction, so that mixing them up shows. */
function fieldOf(flow: Flow | undefined, field: number, direction: number): Uint8Array | undefined {
  if (!flow || (field === abi.CTFIELD_HELPER && flow.id % 2 === 0)) return undefined;
  if (field === abi.CTFIELD_HELPER) return Uint8Array.of(1 + (flow.id % HELPER_NAMES.length), 0, 0, 0);
  return Uint8Array.from({ length: 16 }, (_, i) => (flow.id * 31 + field * 7 + direction * 3 + (i & 3)) & 255);
}

// ── Rulesets ────────────────────────────────────────────────────────────────────────────────────
export function chainOf(
  rules: readonly (readonly Expression[])[],
  options: { hook?: Hook; priority?: number; policy?: "accept" | "drop"; name?: string } = {},
) {
  const { hook = "forward", priority = 0, policy = "accept", name = "c" } = options;
  return {
    name,
    base: { type: "filter" as const, hook, priority, policy },
    rules: rules.map((expressions, i): RuleSpec => ({ handle: i + 1, expressions })),
  };
}

export function tableOf(rules: readonly (readonly Expression[])[], more: Partial<TableSpec> = {}): TableSpec {
  return { family: "inet", name: "t", dormant: false, sets: [], objects: [], chains: [chainOf(rules)], ...more };
}

export const rulesetOf = (...tables: TableSpec[]): RulesetSpec => ({ tables });

export function setOf(name: string, more: Partial<SetSpec> = {}): SetSpec {
  return {
    name,
    anonymous: false,
    keyLength: 4,
    fields: [more.keyLength ?? 4],
    interval: false,
    constant: false,
    dynamic: false,
    timeouts: false,
    elements: [],
    ...more,
  };
}
