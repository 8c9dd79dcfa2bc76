/** The live view: rates from two looks, and screens that fit. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/index.ts";
import type { RouterStatus } from "../src/router/index.ts";
import { look, short, topLine, topScreen } from "../src/router/top.ts";
import type { Flow } from "../src/track/index.ts";

const status = (bytes: number, dropped: number): RouterStatus =>
  ({
    uptimeMs: 3_723_000,
    interfaces: ["wan", "lan"].map((name) => ({
      name,
      up: true,
      carrier: name === "wan",
      stats: { rx: { bytes, packets: bytes / 100 }, tx: { bytes: 0, packets: 0 } },
    })),
    drops: { unreachable: dropped },
    conntrack: { entries: 2, max: 65_536 },
    buffers: { total: 100, free: 90 },
    problems: [],
  }) as unknown as RouterStatus;
const flow = (id: number, last: number, bytes: number): Flow =>
  ({
    id,
    protocol: 6,
    original: { src: IpAddress.parse("10.0.0.2"), dst: IpAddress.parse(`192.0.2.${last}`), sport: 4000, dport: 80, packets: 1, bytes },
    reply: { bytes: 0 },
  }) as unknown as Flow;
const before = look(1000, status(1000, 5), [flow(1, 1, 100), flow(2, 2, 100)]);
const now = look(3000, status(251_000, 25), [flow(1, 1, 100), flow(2, 2, 2100), flow(3, 3, 10_000)]);

describe("packetloom router --top", () => {
  it("a line, where there is no terminal", () => {
    assert.equal(
      topLine(now, before),
      "up 01:02:03; wan rx 1.00Mbit/s 1.25kp/s tx 0bit/s 0p/s; lan rx 1.00Mbit/s 1.25kp/s tx 0bit/s 0p/s; flows 2; drops 10p/s",
    );
  });

  it("a screen: interfaces, drops, who talks most", () => {
    const lines = topScreen(now, before, { columns: 80, rows: 24 });
    assert.match(lines[0], /^packetloom router {3}up 01:02:03 {3}flows 2 of 65\.5k/);
    assert.ok(lines.some((line) => /^wan +1\.00M +1\.25k +0 +0 +up$/.test(line)));
    assert.ok(lines.some((line) => /^lan .* ?no carrier$/.test(line)));
    assert.ok(lines.some((line) => /^unreachable +10 +25$/.test(line)));
    const talkers = lines.filter((line) => line.includes("→"));
    assert.deepEqual(
      talkers.map((line) => line.trim().replace(/ +/g, " ")),
      ["tcp 10.0.0.2:4000 → 192.0.2.3:80 40.0k", "tcp 10.0.0.2:4000 → 192.0.2.2:80 8.00k"],
    );
  });

  it("fits every terminal", () => {
    for (const columns of [1, 20, 79, 200]) {
      for (const rows of [1, 5, 50]) {
        const lines = topScreen(now, before, { columns, rows });
        assert.ok(lines.length <= rows && lines.every((line) => line.length <= columns), `${columns}×${rows}`);
      }
    }
  });

  it("numbers that fit their columns", () => {
    assert.deepEqual([0, 999, 1000, 1_234_567, 5e13].map(short), ["0", "999", "1.00k", "1.23M", "50.0T"]);
  });
});
