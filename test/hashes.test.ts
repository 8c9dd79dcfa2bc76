/** Checksums against the codecs, RSS against Microsoft's verification suite. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as abi from "../assembly/abi.ts";
import { bytes6, parse4, parse6 } from "../src/index.ts";
import { addressBytes4, checksum, concat, pseudoSum } from "../src/wire/index.ts";
import { BUILDS, engineOf, SEED } from "./support.ts";

/** [destination, destination port, source, source port, hash with ports, hash of addresses]: the published suite. */
const RSS4: [string, number, string, number, number, number][] = [
  ["161.142.100.80", 1766, "66.9.149.187", 2794, 0x51ccc178, 0x323e8fc2],
  ["65.69.140.83", 4739, "199.92.111.2", 14230, 0xc626b0ea, 0xd718262a],
  ["12.22.207.184", 38024, "24.19.198.95", 12898, 0x5c2b394a, 0xd2d0a5de],
  ["209.142.163.6", 2217, "38.27.205.30", 48228, 0xafc7327f, 0x82989176],
  ["202.188.127.2", 1303, "153.39.163.191", 44251, 0x10e828a2, 0x5d1809c5],
];
const RSS6: [string, number, string, number, number, number][] = [
  ["3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x40207d3d, 0x2cc18cd5],
  ["ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0xdde51bbf, 0x0f0c461c],
  ["fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x02d1feef, 0x4b61e985],
];

const ports = (source: number, destination: number) => Uint8Array.of(source >> 8, source & 255, destination >> 8, destination & 255);
const six = (text: string) => {
  const { high, low } = parse6(text);
  return bytes6(high, low);
};

for (const build of BUILDS) {
  describe(`hashes and sums, ${build} build`, () => {
    it("hashes Microsoft's RSS verification suite, with and without ports", async () => {
      const engine = await engineOf(build, { appBytes: 64 });
      const at = engine.memory.base(abi.REGION_APP);
      const hash = (bytes: Uint8Array) => {
        engine.memory.u8.set(bytes, at);
        return engine.plane.toeplitz(at, bytes.length) >>> 0;
      };
      for (const [to, toPort, from, fromPort, withPorts, without] of RSS4) {
        const addresses = concat(addressBytes4(parse4(from)), addressBytes4(parse4(to)));
        assert.equal(hash(addresses), without, from);
        assert.equal(hash(concat(addresses, ports(fromPort, toPort))), withPorts, from);
      }
      for (const [to, toPort, from, fromPort, withPorts, without] of RSS6) {
        const addresses = concat(six(from), six(to));
        assert.equal(hash(addresses), without, from);
        assert.equal(hash(concat(addresses, ports(fromPort, toPort))), withPorts, from);
      }
    });

    it("hashes both directions of a flow alike with the symmetric key", async () => {
      const engine = await engineOf(build, { appBytes: 64, rssKey: "symmetric" });
      const at = engine.memory.base(abi.REGION_APP);
      const hash = (bytes: Uint8Array) => {
        engine.memory.u8.set(bytes, at);
        return engine.plane.toeplitz(at, bytes.length) >>> 0;
      };
      const [a, b] = [addressBytes4(0x01020304), addressBytes4(0xc0a80101)];
      assert.equal(hash(concat(a, b, ports(1, 2))), hash(concat(b, a, ports(2, 1))));
      assert.equal(
        hash(concat(six("2001:db8::1"), six("2001:db8::2"), ports(5, 6))),
        hash(concat(six("2001:db8::2"), six("2001:db8::1"), ports(6, 5))),
      );
    });

    it("sums what the codecs sum, at any alignment, and updates as if anew", async () => {
      const engine = await engineOf(build, { appBytes: 70_000 });
      const { plane, memory } = engine;
      const base = memory.base(abi.REGION_APP);
      const swap = (x: number) => ((x & 255) << 8) | (x >>> 8);
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 2000 }), fc.nat(15), fc.nat(0xffff), (bytes, offset, word) => {
          memory.u8.set(bytes, base + offset);
          assert.equal(swap(plane.checksum(base + offset, bytes.length)), checksum(bytes));
          if (bytes.length < 2) return;
          const before = (bytes[0] << 8) | bytes[1];
          const field = checksum(bytes);
          const changed = bytes.slice();
          changed.set([word >>> 8, word & 255]);
          const updated = plane.update16(field, before, word);
          // All-zero data is the only one whose sum is +0; both zeros verify.
          if (checksum(changed) !== 0xffff && field !== 0xffff) assert.equal(updated, checksum(changed));
        }),
        { seed: SEED, numRuns: 500 },
      );
      const [source, destination] = [addressBytes4(0xc0a80001), addressBytes4(0x0a000001)];
      memory.u8.set(concat(source, destination), base);
      let folded = pseudoSum(source, destination, 6, 1234);
      folded = (folded & 0xffff) + (folded >>> 16);
      assert.equal(swap(plane.pseudo4(base, 6, 1234)), folded);
    });
  });
}
