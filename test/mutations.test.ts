/**
 * Two hundred packets and more (every shape × every state), each with every one of its fields changed, and with every
 * two of them changed together: nothing throws, nothing leaks, and what is sent in answer is well formed.
 *
 * Every value of one field; for two fields one pair of values for each pair of fields, chosen by the seed; the shapes
 * take turns with the families. With MUTATIONS=all both families and every pair of values of every pair of fields: hours.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { abort } from "../src/tcp/end.ts";
import type { TcpListener } from "../src/tcp/listener.ts";
import { STATES } from "../src/tcp/states.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import * as user from "../src/tcp/user.ts";
import { checksum, l4Checksum } from "../src/wire/index.ts";
import { type Ends, type Field, fieldsOf, frameOf, mutate, type Numbers, SHAPES, valuesOf } from "./mutations.ts";
import { SEED } from "./support.ts";

type State = (typeof STATES)[number];
const PEER = { 4: IpAddress.parse("10.0.0.1"), 6: IpAddress.parse("2001:db8::1") } as const;
const OWN = { 4: IpAddress.parse("10.0.0.2"), 6: IpAddress.parse("2001:db8::2") } as const;
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 9);
const PORT = 80;
const ACK = 16;
const FIN = 1;

/** A host, and a peer that is this test: it plays each handshake by hand, so that any state is a few segments away. */
class Target {
  readonly lab: Lab;
  readonly host: Host;
  readonly listener: TcpListener;
  private peerPort = 1024;
  /** What is wrong with what the host sent. */
  readonly faults = new Set<string>();
  answers = 0;

  private constructor(lab: Lab, host: Host) {
    this.lab = lab;
    this.host = host;
    const iface = host.ip.interface("eth0");
    for (const family of [4, 6] as const) host.ip.neighbours.setPermanent(iface, PEER[family], PEER_MAC);
    this.listener = host.tcp.listen(undefined, PORT);
    lab.engine.attach({ name: "peer", poll: () => iface.port.transmitted((frame) => this.check(frame)) });
  }

  static async create(): Promise<Target> {
    const lab = await Lab.create({ seed: SEED });
    const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
    const target = new Target(lab, host);
    await lab.run(5000);
    return target;
  }

  private check(frame: Uint8Array): void {
    this.answers++;
    const type = (frame[12] << 8) | frame[13];
    if (type !== 0x0800 && type !== 0x86dd) return;
    const is4 = type === 0x0800;
    const start = 14 + (is4 ? (frame[14] & 15) * 4 : 40);
    if (is4 && checksum(frame.subarray(14, start)) !== 0) this.faults.add("an IPv4 header checksum");
    if (frame[is4 ? 23 : 20] !== 6) return;
    const [source, destination] = is4 ? [frame.subarray(26, 30), frame.subarray(30, 34)] : [frame.subarray(22, 38), frame.subarray(38, 54)];
    if (l4Checksum(source, destination, 6, frame.subarray(start)) !== 0) this.faults.add("a TCP checksum");
  }

  inject(frame: Uint8Array): void {
    this.host.ip.interface("eth0").port.receive(frame);
    this.lab.settle();
  }

  /** A connection in a state, or what stands for none. */
  open(state: State, family: 4 | 6): { tcb: Tcb | undefined; ends: Ends } {
    this.peerPort = this.peerPort === 65_535 ? 1024 : this.peerPort + 1;
    const ends: Ends = {
      family,
      source: PEER[family].bytes(),
      destination: OWN[family].bytes(),
      sourcePort: this.peerPort,
      destinationPort: state === "CLOSED" ? PORT + 1 : PORT,
      mac: this.host.ip.interface("eth0").mac,
    };
    if (state === "CLOSED" || state === "LISTEN") return { tcb: undefined, ends };
    if (state === "SYN-SENT") {
      const tcb = this.host.tcp.connect(PEER[family], this.peerPort, { port: PORT });
      this.lab.settle();
      return { tcb, ends };
    }
    const begin: Numbers = { received: 999, una: 0, nxt: 0, tsval: 1, tsecr: 0, timestamps: true };
    this.inject(frameOf(() => ({ flags: 2, ack: 0, options: [2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7] }), begin, ends));
    const [tcb] = this.host.tcp.list();
    assert.ok(tcb);
    this.last = tcb;
    if (state !== "SYN-RECEIVED") this.advance(tcb, ends, state);
    assert.equal(STATES[tcb.state], state);
    return { tcb, ends };
  }

  private last: Tcb | undefined;

  private advance(tcb: Tcb, ends: Ends, state: State): void {
    const say = (flags: number, ack = tcb.nxt) => this.inject(frameOf(() => ({ flags, ack: ack - tcb.una }), numbersOf(tcb), ends));
    say(ACK);
    assert.equal(this.listener.accept(), tcb);
    if (state === "CLOSE-WAIT" || state === "LAST-ACK") say(ACK | FIN);
    if (state === "ESTABLISHED" || state === "CLOSE-WAIT") user.write(tcb, new Uint8Array(20_000));
    if (["FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT", "LAST-ACK"].includes(state)) user.shutdown(tcb);
    this.lab.settle();
    if (state === "CLOSING") say(ACK | FIN, tcb.una);
    if (state === "FIN-WAIT-2" || state === "TIME-WAIT") say(ACK);
    if (state === "TIME-WAIT") say(ACK | FIN);
  }

  /** Ends everything that a mutation may have opened. */
  clear(): void {
    for (const tcb of this.host.tcp.list()) abort(tcb);
    // What is in TIME-WAIT is not in the list, but what it received is its owner's until that lets go.
    if (this.last) abort(this.last);
    for (let tcb = this.listener.accept(); tcb; tcb = this.listener.accept()) abort(tcb);
    this.lab.settle();
  }

  /** Time passes until all that waits has waited enough; then nothing is held. */
  async assertBaseline(what: string): Promise<void> {
    this.clear();
    await this.lab.run(200_000);
    const { engine } = this.lab;
    assert.deepEqual([...this.faults], [], what);
    assert.equal(engine.pool().inFlight, 0, `${what}: buffers`);
    assert.equal(engine.pool("bare").inFlight, 0, `${what}: bare descriptors`);
    assert.equal(engine.slabs.available, engine.slabs.total, `${what}: slabs`);
    assert.equal(engine.counters().stats.double_frees, 0, what);
    assert.equal(this.host.tcp.size, 0, `${what}: connections`);
    assert.equal(this.host.ip.reassembly.size, 0, `${what}: fragments`);
    assert.equal(this.listener.handshakes, 0, `${what}: handshakes`);
  }
}

function numbersOf(tcb: Tcb | undefined): Numbers {
  if (!tcb) return { received: 5000, una: 7000, nxt: 9000, tsval: 100, tsecr: 50, timestamps: true };
  const { received, una, nxt, tsRecent, tsval } = tcb;
  // A peer in SYN-SENT's place knows nothing of us yet but our SYN.
  return { received: received >>> 0, una: una >>> 0, nxt: nxt >>> 0, tsval: tsRecent >>> 0, tsecr: tsval >>> 0, timestamps: true };
}

/** What a segment may have changed; when it has, the next mutation gets a new connection. */
const mark = ({ state, received, una, nxt, tsRecent, window, flight, maxWindow }: Tcb) =>
  `${state} ${received} ${una} ${nxt} ${tsRecent} ${window} ${flight.early.length} ${maxWindow}`;

/** Every change of one field, then pairs of fields: all of their values, or one pair in turn. */
function* mutations(fields: readonly Field[], values: readonly number[][], turn: number, all: boolean) {
  for (let i = 0; i < fields.length; i++) for (const value of values[i]) yield [{ field: fields[i], value }];
  let n = turn;
  for (let i = 0; i < fields.length; i++) {
    for (let j = i + 1; j < fields.length; j++, n++) {
      const pairs = all ? values[i].flatMap((a) => values[j].map((b) => [a, b])) : [[pick(values[i], n), pick(values[j], n * 7 + 3)]];
      for (const [a, b] of pairs)
        yield [
          { field: fields[i], value: a },
          { field: fields[j], value: b },
        ];
    }
  }
}

const pick = (from: readonly number[], n: number) => from[n % from.length];

describe("mutated packets", () => {
  const all = process.env.MUTATIONS === "all";
  for (const state of STATES) {
    it(`in ${state}`, async (t) => {
      const target = await Target.create();
      let tried = 0;
      for (const [index, shape] of SHAPES.entries()) {
        for (const family of all ? ([4, 6] as const) : ([(index + SEED) % 2 ? 6 : 4] as const)) {
          let { tcb, ends } = target.open(state, family);
          let before = tcb && mark(tcb);
          const first = frameOf(shape, numbersOf(tcb), ends);
          const fields = fieldsOf(first);
          const values = fields.map((field) => valuesOf(first, field));
          for (const changes of mutations(fields, values, SEED + index, all)) {
            const frame = mutate(frameOf(shape, numbersOf(tcb), ends), changes);
            try {
              target.inject(frame);
            } catch (error) {
              const what = changes.map(({ field, value }) => `${field.name} = ${value}`).join(", ");
              throw new Error(`shape ${index}, IPv${family}, ${what}, SEED=${SEED}: ${Buffer.from(frame).toString("hex")}`, {
                cause: error,
              });
            }
            tried++;
            if (tcb ? mark(tcb) === before : target.host.tcp.size === 0) continue;
            target.clear();
            ({ tcb, ends } = target.open(state, family));
            before = tcb && mark(tcb);
          }
          target.clear();
        }
      }
      t.diagnostic(`${tried} packets, ${target.answers} answers, SEED=${SEED}`);
      await target.assertBaseline(state);
    });
  }
});
