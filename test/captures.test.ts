/** Capture files: what is written is read back; what is damaged is said; tcpdump's own collection runs through. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CaptureWriter, frameOf, Recorder, Replay, readCapture, VirtualClock } from "../src/index.ts";
import { plainFrame } from "./frames.ts";
import { BUILDS, engineOf, mac, SEED, through } from "./support.ts";

function u32(...values: number[]): number[] {
  return values.flatMap((value) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
}

describe("capture files", () => {
  for (const format of ["pcap", "pcapng"] as const) {
    it(`reads back what it wrote, ${format}`, () => {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.bigInt(0n, 4_000_000_000_000_000_000n)), { maxLength: 20 }),
          fc.integer({ min: 1, max: 300 }),
          (packets, snapLength) => {
            const writer = new CaptureWriter({ format, snapLength });
            for (const [bytes, stamp] of packets) writer.write(bytes, stamp);
            const capture = readCapture(writer.bytes(), "x");
            assert.equal(capture.problem, undefined);
            assert.deepEqual(
              capture.packets.map(({ bytes, timestamp, wireLength }) => [[...bytes], timestamp, wireLength]),
              packets.map(([bytes, stamp]) => [[...bytes.subarray(0, snapLength)], stamp, bytes.length]),
            );
          },
        ),
        { seed: SEED, numRuns: 100 },
      );
    });

    it(`reports the packet at which a cut file ends, ${format}`, () => {
      const writer = new CaptureWriter({ format });
      for (let i = 0; i < 3; i++) writer.write(new Uint8Array(60), BigInt(i));
      const whole = writer.bytes();
      const cut = readCapture(whole.subarray(0, whole.length - 30), "trace");
      assert.equal(cut.packets.length, 2);
      assert.match(
        cut.problem as string,
        format === "pcap" ? /trace, packet 3: the file ends 30 bytes short/ : /trace, block 5 \(after packet 2\)/,
      );
    });
  }

  it("reads both byte orders and both resolutions of pcap", () => {
    const big = Uint8Array.from([...u32(0xa1b2c3d4, 0x00020004, 0, 0, 65535, 1), ...u32(10, 500_000, 2, 2), 1, 2]);
    const { packets } = readCapture(big, "x");
    assert.deepEqual([packets[0].timestamp, [...packets[0].bytes]], [10_500_000_000n, [1, 2]]);
    const nano = big.slice();
    nano.set(u32(0xa1b23c4d));
    assert.equal(readCapture(nano, "x").packets[0].timestamp, 10_000_500_000n);
  });

  it("reads big-endian pcapng with a binary resolution, an offset, and simple packets", () => {
    // if_tsresol 0x80 | 10: 2^-10 seconds; if_tsoffset 100 seconds.
    const section = u32(0x0a0d0d0a, 28, 0x1a2b3c4d, 0x00010000, 0xffffffff, 0xffffffff, 28);
    const options = [...u32(0x00090001), 0x8a, 0, 0, 0, ...u32(0x000e0008, 0, 100), ...u32(0)];
    const description = [...u32(1, 20 + options.length, 0x00010000, 96), ...options, ...u32(20 + options.length)];
    const enhanced = [...u32(6, 36, 0, 0, 1536, 2, 99), 7, 8, 0, 0, ...u32(36)];
    const simple = [...u32(3, 20, 4), 1, 2, 3, 4, ...u32(20)];
    const { packets, problem } = readCapture(Uint8Array.from([...section, ...description, ...enhanced, ...simple]), "x");
    assert.equal(problem, undefined);
    assert.equal(packets[0].timestamp, 101_500_000_000n);
    assert.deepEqual([packets[0].wireLength, [...packets[0].bytes], [...packets[1].bytes]], [99, [7, 8], [1, 2, 3, 4]]);
  });

  it("refuses what is no capture with one sentence", () => {
    assert.throws(() => readCapture(new Uint8Array(100), "notes.txt"), /notes.txt is no capture; expected a pcap or pcapng file/);
    assert.throws(() => readCapture(new Uint8Array(0), "empty"), /empty is no capture/);
  });

  it("never throws anything but a sentence, whatever the bytes", () => {
    const heads = [0xa1b2c3d4, 0xd4c3b2a1, 0x0a0d0d0a].map((magic) => u32(magic));
    fc.assert(
      fc.property(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 300 }), (head, rest) => {
        try {
          readCapture(Uint8Array.from([...head, ...rest]), "x");
        } catch (error) {
          assert.equal((error as { code: string }).code, "EPROTO");
        }
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });
});

describe("replay and record", () => {
  it("keeps recorded distances by the clock, and frames raw IP", async () => {
    const clock = new VirtualClock();
    const engine = await engineOf("plain", { clock, tables: 1 });
    const table = engine.createTable(4);
    table.set("0.0.0.0/0", table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }));
    engine.port(0).configure({ table4: table });
    const frame = plainFrame(engine.port(0).macBytes);
    const packets = [0, 10, 25].map((ms, i) => ({
      number: i + 1,
      timestamp: BigInt(ms) * 1_000_000n,
      bytes: i === 1 ? frame.slice(14) : frame,
      wireLength: frame.length,
      linkType: i === 1 ? 101 : 1,
    }));
    const replay = new Replay(engine.port(0), packets, { speed: "recorded", clock });
    const writer = new CaptureWriter();
    const recorder = new Recorder(engine.port(1), writer, () => BigInt(clock.now()) * 1_000_000n);
    engine.attach(replay).attach(recorder);
    for (let ms = 0; ms <= 30; ms++) {
      engine.poll();
      await clock.advance(1);
    }
    assert.equal(replay.done, true);
    const { packets: out } = readCapture(writer.bytes(), "x");
    assert.deepEqual(
      out.map(({ timestamp }) => timestamp / 1_000_000n),
      [0n, 10n, 25n],
    );
    assert.deepEqual(out[1].bytes, out[0].bytes);
    assert.equal(frameOf({ ...packets[0], linkType: 105 }, mac(1)), undefined);
  });
});

const folder = process.env.PACKETLOOM_DATA ? join(process.env.PACKETLOOM_DATA, "captures") : "";
const skip = existsSync(folder) ? false : "PACKETLOOM_DATA names no folder with captures";

describe("tcpdump's captures", { skip }, () => {
  for (const build of BUILDS) {
    it(`run through a router and a bridge without a trap, a hang or a loss, ${build} build`, async (t) => {
      const engine = await engineOf(build, { ports: 4, bridges: 1, buffers: 1024 });
      const [table4, table6] = [engine.createTable(4), engine.createTable(6)];
      for (const table of [table4, table6]) {
        table.set(
          table.family === 4 ? "0.0.0.0/0" : "::/0",
          table.addNextHop({ kind: "forward", port: 1, destinationMac: mac(1), sourceMac: mac(2) }),
        );
      }
      engine.port(0).configure({ table4, table6, promiscuous: true, gro: true });
      const bridge = engine.createBridge({ vlanFiltering: true });
      bridge.add(engine.port(2)).add(engine.port(3));
      let [files, packets] = [0, 0];
      for (const name of readdirSync(folder)) {
        let capture: ReturnType<typeof readCapture>;
        try {
          capture = readCapture(new Uint8Array(readFileSync(join(folder, name))), name);
        } catch (error) {
          assert.equal((error as { code: string }).code, "EPROTO", name);
          continue;
        }
        files++;
        for (const packet of capture.packets) {
          const frame = frameOf(packet, engine.port(0).macBytes) ?? packet.bytes;
          if (frame.length > engine.port(0).frameLimit) continue;
          packets++;
          for (const port of [0, 2]) through(engine, [frame], port);
        }
      }
      const { stats, dropped, punted } = engine.counters();
      assert.equal(stats.received, 2 * packets);
      assert.equal(stats.transmitted + dropped + punted, 2 * packets + stats.clones);
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
      assert.ok(files > 250 && packets > 3000, `${files} files, ${packets} packets`);
      t.diagnostic(`${files} files, ${packets} packets`);
    });
  }
});
