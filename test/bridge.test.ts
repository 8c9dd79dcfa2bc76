/** Switching: learning, floods by reference, ageing, VLANs. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VirtualClock } from "../src/index.ts";
import { parseEthernet, serializeEthernet } from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, random, through } from "./support.ts";

const BROADCAST = new Uint8Array(6).fill(255);
const payload = new Uint8Array(200).map((_, i) => i);
const frame = (destination: Uint8Array, source: Uint8Array, vlan?: number) =>
  serializeEthernet({
    destination,
    source,
    type: 0x88b5,
    payload,
    tags: vlan === undefined ? [] : [{ protocol: 0x8100, vlan, priority: 5, dropEligible: false }],
  });
const out = (sent: { port: number; bytes: Uint8Array }[]) => sent.map(({ port }) => port).sort();

for (const build of BUILDS) {
  describe(`bridge, ${build} build`, () => {
    const make = async (vlanFiltering = false) => {
      const clock = new VirtualClock();
      const engine = await engineOf(build, { ports: 4, bridges: 1, stations: 256, clock, tables: 0 });
      const bridge = engine.createBridge({ vlanFiltering, ageingSeconds: 300 });
      for (let p = 0; p < 4; p++) bridge.add(engine.port(p));
      return { engine, bridge, clock };
    };

    it("floods the unknown by reference and then forwards to where it learned", async () => {
      const { engine, bridge } = await make();
      const first = through(engine, [frame(mac(2), mac(1))], 0);
      assert.deepEqual(out(first.sent), [1, 2, 3]);
      for (const { bytes } of first.sent) assert.deepEqual(bytes, frame(mac(2), mac(1)));
      assert.deepEqual(out(through(engine, [frame(mac(1), mac(2))], 3).sent), [0]);
      assert.deepEqual(out(through(engine, [frame(mac(2), mac(1))], 0).sent), [3]);
      assert.equal(bridge.find("02:00:00:00:01:02"), engine.port(3));
      const { stats, drops } = engine.counters();
      assert.equal(stats.copied_bytes, 0);
      assert.equal(stats.clones, 2);
      assert.deepEqual(drops, {});
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
    });

    it("filters a frame whose target sits on the port it came from, and names every other end", async () => {
      const { engine } = await make();
      through(engine, [frame(BROADCAST, mac(1)), frame(BROADCAST, mac(2))], 0);
      assert.equal(through(engine, [frame(mac(2), mac(1))], 0).sent.length, 0);
      through(engine, [frame(mac(2), BROADCAST), frame(mac(2), new Uint8Array(6)), new Uint8Array(10)], 0);
      const { punted } = through(engine, [frame(Uint8Array.of(1, 0x80, 0xc2, 0, 0, 0), mac(1))], 0);
      assert.equal(punted[0].reason, "link_control");
      assert.deepEqual(engine.counters().drops, { bridge_same_port: 1, bridge_source_invalid: 2, ether_too_short: 1 });
    });

    it("follows a station that moves and forgets one that is silent", async () => {
      const { engine, clock } = await make();
      through(engine, [frame(BROADCAST, mac(1))], 0);
      through(engine, [frame(BROADCAST, mac(1))], 2);
      assert.deepEqual(out(through(engine, [frame(mac(1), mac(9))], 3).sent), [2]);
      await clock.advance(301_000);
      assert.deepEqual(out(through(engine, [frame(mac(1), mac(9))], 3).sent), [0, 1, 2]);
    });

    it("keeps pinned stations where they are", async () => {
      const { engine, bridge, clock } = await make();
      bridge.pin("02:00:00:00:01:01", engine.port(1));
      through(engine, [frame(BROADCAST, mac(1))], 3);
      await clock.advance(1_000_000);
      assert.deepEqual(out(through(engine, [frame(mac(1), mac(9))], 0).sent), [1]);
      bridge.forget("02:00:00:00:01:01");
      assert.equal(bridge.find("02:00:00:00:01:01"), undefined);
    });

    it("keeps VLANs apart and gives each port the tag it wants", async () => {
      const { engine, bridge } = await make(true);
      bridge.allow(engine.port(0), 10, { tagged: true });
      bridge.allow(engine.port(1), 10, { tagged: false });
      bridge.allow(engine.port(2), 10, { tagged: true });
      const flood = through(engine, [frame(BROADCAST, mac(1), 10)], 0).sent;
      assert.deepEqual(out(flood), [1, 2]);
      for (const { port, bytes } of flood) {
        const parsed = parseEthernet(bytes);
        assert.deepEqual(
          parsed.tags.map((tag) => tag.vlan),
          port === 2 ? [10] : [],
        );
        assert.deepEqual(parsed.payload, payload);
        assert.deepEqual(parsed.source, mac(1));
      }
      // Untagged frames belong to the port's VLAN, 1.
      assert.deepEqual(out(through(engine, [frame(BROADCAST, mac(5))], 0).sent), [1, 2, 3]);
      assert.equal(through(engine, [frame(BROADCAST, mac(6), 99)], 0).sent.length, 0);
      assert.equal(engine.counters().drops.vlan_not_member, 1);
      // Untagged into a tagged port of the same VLAN.
      const { engine: other, bridge: joined } = await make(true);
      joined.allow(other.port(2), 1, { tagged: true });
      const tagged = through(other, [frame(BROADCAST, mac(1))], 0).sent.find(({ port }) => port === 2);
      assert.deepEqual(
        parseEthernet(tagged?.bytes as Uint8Array).tags.map((tag) => tag.vlan),
        [1],
      );
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
    });

    it("does with random frames what a bridge on paper does", async (t) => {
      const r = random(t);
      const { engine } = await make();
      const known = new Map<number, number>();
      for (let i = 0; i < 4000; i++) {
        const [source, destination, ingress] = [r.below(40), r.below(48), r.below(4)];
        const { sent } = through(engine, [frame(mac(destination), mac(source))], ingress);
        known.set(source, ingress);
        const at = known.get(destination);
        const expected = at === undefined ? [0, 1, 2, 3].filter((p) => p !== ingress) : at === ingress ? [] : [at];
        assert.deepEqual(out(sent), expected, `frame ${i}`);
      }
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
    });
  });
}
