/** One target for each parser: bytes in, nothing but a sentence out, and nothing broken behind. */
import assert from "node:assert/strict";
import * as abi from "../../assembly/abi.ts";
import { Dhcp4Server, Dhcp6Server, decodeDhcp4, decodeDhcp6, decodeRelay6, encodeDhcp4, isRelay } from "../../src/dhcp/index.ts";
import { readConfig } from "../../src/dhcp/options4.ts";
import { answerOf } from "../../src/dns/answer.ts";
import { decodeMessage, encodeMessage } from "../../src/dns/index.ts";
import { type Engine, joinPorts, loadRoutes, Random, readCapture } from "../../src/index.ts";
import { engineOf, mac } from "../support.ts";

export interface Target {
  /** Folder of the committed corpus that inputs start from. */
  readonly corpus: string;
  run(input: Uint8Array): Promise<void> | void;
}

const expected = ["EPROTO", "EINVAL", "ENOMEM", "EBADRESP"];

function refusal(error: unknown): void {
  assert.ok(expected.includes((error as { code: string }).code), (error as Error).stack);
  assert.ok((error as Error).message.length < 500, "a sentence, not the input");
}

/** A router with every port flag, and a bridge, that must neither trap nor lose a buffer. */
export async function frames(build: "shared" | "plain"): Promise<Target> {
  const engine = await engineOf(build, { ports: 6, bridges: 1, buffers: 64 });
  const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
  for (const table of [table4, table6]) {
    table.set(
      table.family === 4 ? "0.0.0.0/0" : "::/0",
      table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2), vlan: 7 }),
    );
  }
  engine.port(0).configure({ mac: mac(0), table4, table6, promiscuous: true, gro: true, rpf: "loose" });
  engine.port(2).configure({ mac: mac(0), table4, table6, promiscuous: true });
  joinPorts(engine, engine.port(1), engine.port(2));
  const bridge = engine.createBridge({ vlanFiltering: true });
  for (const p of [3, 4, 5]) bridge.add(engine.port(p));
  bridge.allow(engine.port(4), 7, { tagged: true });
  const { memory } = engine;
  const zones = redZones(engine);
  return {
    corpus: "frames",
    run(input) {
      // A line short of the slot's end, which is the red zone.
      const frame = input.subarray(0, Math.min(input.length, engine.port(0).frameLimit - 64));
      for (const port of [0, 3]) for (let twice = 0; twice < 2; twice++) engine.port(port).receive(frame);
      // Two routers joined in a ring: the hop limit ends it.
      for (let round = 0; round < 300 && engine.poll() > 0; round++) for (let p = 3; p < 6; p++) engine.port(p).transmitted(() => {});
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
      assert.equal(engine.counters().stats.double_frees, 0);
      assert.equal(memory.getU32(1024), 0x6d6f6f6c, "the header was written");
      zones.check();
    },
  };
}

/** Half the headroom in front of every frame and the last line of every slot: nothing may ever write there. */
function redZones({ memory }: Engine): { check(): void } {
  const { stride, sizes } = memory.layout;
  const base = memory.base(abi.REGION_BUFFERS);
  const zone = sizes.headroom / 2;
  const colour = 0xa5a5a5a5 | 0;
  const slots = Array.from({ length: sizes.buffers }, (_, i) => (base + i * stride) / 4);
  const last = (stride - 64) / 4;
  for (const at of slots) {
    memory.i32.fill(colour, at, at + zone / 4);
    memory.i32.fill(colour, at + last, at + stride / 4);
  }
  return {
    check() {
      for (const at of slots) {
        for (let i = 0; i < zone / 4; i++) if (memory.i32[at + i] !== colour) assert.fail("a write in front of a buffer");
        for (let i = last; i < stride / 4; i++) if (memory.i32[at + i] !== colour) assert.fail("a write behind a buffer");
      }
    },
  };
}

/** A codec: what it reads it can write, and read again. */
const codec = (corpus: string, again: (input: Uint8Array) => void) => async (): Promise<Target> => ({
  corpus,
  run(input) {
    try {
      again(input);
    } catch (error) {
      refusal(error);
    }
  },
});

/** One message to the codecs of both families, and to servers that must hold. */
function dhcp(input: Uint8Array): void {
  const alarms = { now: () => 0, after: () => () => {} };
  const pools = [{ subnet: "10.0.0.0/24", range: ["10.0.0.10", "10.0.0.12"] as const }];
  const server4 = new Dhcp4Server({ address: "10.0.0.1", pools, alarms, reply: (message) => void decodeDhcp4(message) });
  server4.receive(input);
  assert.ok(server4.export().length <= 3);
  const range = ["2001:db8::10", "2001:db8::12"] as const;
  const server6 = new Dhcp6Server({ duid: Uint8Array.of(0, 3, 0, 1, 1), alarms, random: new Random(1), range });
  const answer = server6.receive(input);
  if (answer) assert.ok(isRelay(answer) ? decodeRelay6(answer) : decodeDhcp6(answer));
  assert.ok(server6.export().length <= 3);
  if (input[0] <= 2) {
    const message = decodeDhcp4(input);
    readConfig(message);
    assert.deepEqual(decodeDhcp4(encodeDhcp4(message)).options, message.options);
  } else decodeDhcp6(input);
}

export const TARGETS: Record<string, () => Promise<Target>> = {
  dns: codec("dns", (input) => {
    const message = decodeMessage(input);
    const { questions, answers } = decodeMessage(encodeMessage(message));
    assert.deepEqual([questions.length, answers.length], [message.questions.length, message.answers.length]);
    for (const type of ["A", "ANY"] as const) answerOf(message, { name: message.questions[0]?.name ?? ".", type });
  }),
  dhcp: codec("dhcp", dhcp),
  frames: () => frames("shared"),
  "frames-plain": () => frames("plain"),
  capture: async () => ({
    corpus: "capture",
    run(input) {
      try {
        for (const packet of readCapture(input, "x").packets) assert.ok(packet.bytes.length <= input.length);
      } catch (error) {
        refusal(error);
      }
    },
  }),
  routes: async () => ({
    corpus: "routes",
    run: (input) => loadRoutes(input, "x").then(() => {}, refusal),
  }),
};
