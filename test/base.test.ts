/** The small things that everything rests on: timers, the keyed hash, addresses. */
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hmacMd5, md5 } from "../src/base/md5.ts";
import { Random, SecretRandom } from "../src/base/random.ts";
import { Engine } from "../src/engine/engine.ts";
import { Host } from "../src/host/host.ts";
import { IpAddress, networkOf, parseInterfaceAddress, SipHash, Timer, Timers } from "../src/index.ts";
import { SEED } from "./support.ts";

describe("timers", () => {
  it("fire in order of their deadlines whatever was armed, moved and cancelled before (slow oracle)", () => {
    const step = fc.tuple(fc.constantFrom("arm", "cancel", "run"), fc.nat(9), fc.nat(100));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const timers = new Timers();
        const fired: number[] = [];
        const all = Array.from({ length: 10 }, (_, i) => new Timer(() => fired.push(i)));
        const oracle = new Map<number, number>();
        let now = 0;
        for (const [what, which, by] of steps) {
          if (what === "arm") {
            timers.arm(all[which], now + by);
            oracle.set(which, now + by);
          } else if (what === "cancel") {
            timers.cancel(all[which]);
            oracle.delete(which);
          } else {
            now += by;
            fired.length = 0;
            timers.run(now);
            const due = [...oracle].filter(([, at]) => at <= now);
            for (const [i] of due) oracle.delete(i);
            assert.deepEqual([...fired].sort(), due.map(([i]) => i).sort());
            const deadlines = new Map(due);
            assert.deepEqual(
              fired.map((i) => deadlines.get(i)),
              due.map(([, at]) => at).sort((a, b) => a - b),
            );
          }
          assert.equal(timers.next(), Math.min(Number.POSITIVE_INFINITY, ...oracle.values()));
        }
      }),
      { seed: SEED },
    );
  });

  it("may arm themselves again while they fire", () => {
    const timers = new Timers();
    let count = 0;
    const timer = new Timer(() => {
      if (++count < 5) timers.arm(timer, count * 10);
    });
    timers.arm(timer, 0);
    timers.run(25);
    assert.equal(count, 3);
    timers.run(100);
    assert.equal(count, 5);
    assert.equal(timers.size, 0);
  });
});

describe("SipHash-2-4", () => {
  it("agrees with the authors' vectors", () => {
    const hash = new SipHash(Uint8Array.from({ length: 16 }, (_, i) => i));
    const words = new Int32Array(Uint8Array.from({ length: 64 }, (_, i) => i).buffer);
    // First four bytes of the outputs for 0, 8, 16, 24 and 32 bytes of input (Aumasson and Bernstein's vectors.h).
    const expected: [number, number][] = [
      [0, 0xdd0e0e31],
      [2, 0x9a932462],
      [4, 0x57c29bdb],
      [6, 0xf649af94],
      [8, 0x72f27cce],
    ];
    for (const [n, value] of expected) assert.equal(hash.hash(words, n) >>> 0, value);
  });
});

describe("addresses of either family", () => {
  it("read and write as people and packets have them", () => {
    for (const text of ["192.0.2.1", "255.255.255.255", "2001:db8::1", "fe80::1", "::1"]) {
      const address = IpAddress.parse(text);
      assert.equal(String(address), text);
      assert.equal(String(IpAddress.fromBytes(address.bytes())), text);
    }
    assert.equal(IpAddress.parse("::ffff:192.0.2.1").family, 4);
    assert.equal(IpAddress.parse("169.254.1.1").isLinkLocal, true);
    assert.equal(IpAddress.parse("febf::1").isLinkLocal, true);
    assert.equal(IpAddress.parse("fec0::1").isLinkLocal, false);
    assert.equal(IpAddress.parse("2001:db8::1").commonPrefix(IpAddress.parse("2001:db8:8000::")), 32);
    assert.equal(String(networkOf(IpAddress.parse("10.1.2.3"), 12)), "10.0.0.0");
    assert.equal(String(networkOf(IpAddress.parse("2001:db8:ffff::1"), 36)), "2001:db8:f000::");
  });

  it("refuse what is none, in one sentence", () => {
    for (const text of ["10.0.0", "10.0.0.256", "host", "1::2::3", "10.0.0.1/33", "2001:db8::/129", "10.0.0.1/8/9"]) {
      assert.throws(() => parseInterfaceAddress(text), { code: "EINVAL" });
    }
  });
});

describe("MD5", () => {
  it("is what Node's is, for every length around a block's, and with every key", () => {
    for (const length of [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000]) {
      const bytes = Uint8Array.from({ length }, (_, i) => i * 31);
      assert.deepEqual(md5(bytes), new Uint8Array(createHash("md5").update(bytes).digest()), `${length} bytes`);
      for (const size of [0, 16, 64, 65]) {
        const key = Uint8Array.from({ length: size }, (_, i) => 255 - i);
        assert.deepEqual(hmacMd5(key, bytes), new Uint8Array(createHmac("md5", key).update(bytes).digest()), `key of ${size}`);
      }
    }
  });

  it("has RFC 2202's values", () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    assert.equal(hex(hmacMd5(new Uint8Array(16).fill(0x0b), new TextEncoder().encode("Hi There"))), "9294727a3638bb1c13f48ef8158bfc9d");
    assert.equal(hex(hmacMd5(new Uint8Array(16).fill(0xaa), new Uint8Array(50).fill(0xdd))), "56be34521d144c88dbb8c733f0e8b3f6");
  });
});

describe("chance of a host", () => {
  const bytesOf = async (seed?: number) => {
    const engine = await Engine.create({ ports: 1, tables: 2, appBytes: 1 << 20 });
    const host = await Host.create({ engine, seed, interfaces: [{}] });
    const { random } = host.ip;
    const bytes = random.fill(new Uint8Array(16));
    const { mac } = host.ip.interfaces[0].port;
    await host.close();
    await engine.close();
    return { mac, bytes: Buffer.from(bytes).toString("hex"), random };
  };

  it("is the same for one seed, and the runtime's secrets without", async () => {
    const [a, b] = [await bytesOf(7), await bytesOf(7)];
    assert.deepEqual([a.mac, a.bytes], [b.mac, b.bytes]);
    const [c, d] = [await bytesOf(), await bytesOf()];
    assert.ok(c.random instanceof SecretRandom && !(a.random instanceof SecretRandom));
    assert.notEqual(c.mac, d.mac);
    assert.notEqual(c.bytes, d.bytes);
    // No generator of a 32-bit seed behind it.
    assert.notEqual(c.bytes, Buffer.from(new Random(c.random.seed).fill(new Uint8Array(16))).toString("hex"));
  });
});
