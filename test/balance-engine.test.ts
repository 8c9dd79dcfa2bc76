/** Load balancing in an engine: what packets are told equals what the host layer decided; tunnels are what tshark says they are. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { Balancer, enginePlane, SCHEDULERS, type ServiceOptions } from "../src/balance/index.ts";
import { IpAddress, Random, VirtualClock } from "../src/base/index.ts";
import type { Engine } from "../src/engine/index.ts";
import { serializeIpv4, serializeIpv6, serializeUdp } from "../src/wire/index.ts";
import { BUILDS, engineOf, random } from "./support.ts";

const CLIENT = IpAddress.parse("198.51.100.7");
const backends = (n: number, weight = (_: number) => 1) =>
  Array.from({ length: n }, (_, i) => ({ address: `10.0.${i >> 8}.${(i & 255) + 1}`, weight: weight(i) }));

for (const build of BUILDS) {
  describe(`load balancing in an engine (${build})`, () => {
    for (const scheduler of SCHEDULERS) {
      it(`picks by ${scheduler} as the host layer does, through changes`, async (t) => {
        const chance = random(t);
        const secret = chance.fill(new Uint8Array(8));
        const engine = await engineOf(build, { services: 2, backends: 64, secret });
        const clock = new VirtualClock();
        // The same members by the same numbers, in the data plane and in objects; at most eight, so that "least" is exact.
        const options: ServiceOptions = {
          address: "192.0.2.80",
          port: 80,
          scheduler,
          hash: "flow",
          backends: backends(8, (i) => 1 + (i % 3)),
        };
        const [plane, local] = [new Balancer({ engine, clock }).add(options), new Balancer({ clock, secret }).add(options)];
        const changes = [
          () => {},
          (service: typeof plane) => service.backend("10.0.0.3:80").disable(),
          (service: typeof plane) => (service.backend("10.0.0.5:80").weight = 7),
          (service: typeof plane) => service.remove("10.0.0.1:80"),
          (service: typeof plane) => service.backend("10.0.0.3:80").enable(),
        ];
        for (const change of changes) {
          change(plane);
          change(local);
          for (let i = 0; i < 300; i++) {
            const client = chance.below(2) === 0 ? IpAddress.v4(chance.u32()) : new IpAddress(0x20010db8, chance.u32(), 0, chance.u32());
            const port = chance.below(65_536);
            const [chosen, expected] = [plane.choose(client, port), local.choose(client, port)];
            assert.ok(chosen && expected);
            if (scheduler !== "least-connections") assert.equal(chosen.name, expected.name, `${client} ${port}`);
            else {
              // Ties may fall differently: the load of who was chosen may not.
              const load = ({ stats, weight }: { stats: number; weight: number }) => (stats + 1) / weight;
              const all = [...plane.backends.values()].filter(({ state }) => state === "up");
              const least = Math.min(...all.map((each) => load({ stats: each.stats().activeConns, weight: each.weight })));
              assert.equal(load({ stats: chosen.stats().activeConns, weight: chosen.weight }), least);
            }
            plane.opened(chosen);
            local.opened(expected);
          }
        }
        await engine.close();
      });
    }

    it("spreads clients that differ as little as clients do: chi-square of a hundred backends", async () => {
      const engine = await engineOf(build, { services: 1, backends: 100 });
      const service = new Balancer({ engine, clock: new VirtualClock() }).add({ address: "192.0.2.80", port: 80, backends: backends(100) });
      const patterns: Record<string, (i: number) => [number, number]> = {
        "one client's ports": (i) => [0xc6336407, 1024 + i],
        "neighbours, one port": (i) => [0x0a000000 + i, 40_000],
        "neighbours, few ports": (i) => [0x0a000000 + (i & 1023), 1024 + (i >> 10) * 4],
        "networks, few ports": (i) => [0x0a000000 + (i & 1023) * 65_536, 1024 + (i >> 10)],
      };
      for (const [name, of] of Object.entries(patterns)) {
        const counts = new Map<string, number>();
        const flows = 30_000;
        for (let i = 0; i < flows; i++) {
          const [address, port] = of(i);
          const chosen = service.choose(IpAddress.v4(address), port)?.name ?? "";
          counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
        }
        const expected = flows / 100;
        const chi = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
        // 99 degrees of freedom: beyond 180 once in a million.
        assert.ok(counts.size === 100 && chi < 180, `${name}: ${chi}`);
      }
      await engine.close();
    });

    it("finds services by address, protocol and port while they come and go", async (t) => {
      const chance = random(t);
      const engine = await engineOf(build, { services: 300, backends: 8, clients: 64 });
      const balancer = new Balancer({ engine, clock: new VirtualClock() });
      const addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "::ffff:0:0:1"];
      const model = new Map<string, number>();
      const protocols = { tcp: 6, udp: 17 } as const;
      for (let step = 0; step < 3000; step++) {
        const address = addresses[chance.below(addresses.length)];
        const protocol = chance.below(2) === 0 ? "tcp" : "udp";
        const port = chance.below(60);
        const name = `${protocol} ${address.includes(":") ? `[${address}]` : address}:${port}`;
        if (model.has(name)) {
          balancer.remove(name);
          model.delete(name);
        } else if (model.size < 290) model.set(name, balancer.add({ address, port, protocol, scheduler: "round-robin" }).number);
        const asked = `${protocol} ${address.includes(":") ? `[${address}]` : address}`;
        for (const other of [port, chance.below(60), 4000]) {
          const expected = model.get(`${asked}:${other}`) ?? model.get(`${asked}:0`);
          assert.equal(enginePlane(engine).find(IpAddress.parse(address), protocols[protocol], other), expected);
        }
      }
      await engine.close();
    });

    it("keeps clients with their backends for their time, and not with one that drains", async () => {
      const clock = new VirtualClock();
      const engine = await engineOf(build, { services: 1, backends: 4, clients: 64, clock });
      const service = new Balancer({ engine }).add({
        address: "2001:db8::80",
        port: 443,
        scheduler: "round-robin",
        affinityMs: 60_000,
        backends: [{ address: "2001:db8::1" }, { address: "2001:db8::2" }, { address: "2001:db8::3" }],
      });
      const client = IpAddress.parse("2001:db8:1::7");
      const first = service.choose(client, 1);
      assert.ok(first);
      for (let i = 0; i < 4; i++) {
        clock.skip(59_000);
        assert.equal(service.choose(client, i), first);
      }
      first.drain();
      const second = service.choose(client, 1);
      assert.notEqual(second, first);
      assert.equal(service.choose(client, 1), second);
      await engine.close();
    });

    it("sends no client to a backend whose number is another service's by now", async () => {
      const clock = new VirtualClock();
      for (const engine of [await engineOf(build, { services: 2, backends: 2, clock }), undefined]) {
        const balancer = new Balancer({ engine, clock });
        const first = balancer.add({ address: "192.0.2.1", port: 80, affinityMs: 600_000, backends: backends(1) });
        const { number } = first.choose(CLIENT, 1) ?? {};
        first.remove("10.0.0.1:80");
        await clock.advance(2100);
        const other = balancer.add({ address: "192.0.2.2", port: 80 });
        // Until somebody else has its number.
        for (let i = 0; i < 70_000 && other.backends.size === 0; i++)
          if (other.add({ address: "10.0.1.1" }).number !== number) {
            other.remove("10.0.1.1:80");
            await clock.advance(2100);
          }
        assert.equal(other.backends.size, 1);
        first.add({ address: "10.0.0.2" });
        assert.equal(first.choose(CLIENT, 1)?.name, "10.0.0.2:80");
        balancer.close();
        await engine?.close();
      }
    });

    it("counts per worker, and keeps what removed backends carried", async () => {
      const clock = new VirtualClock();
      const engine = await engineOf(build, { services: 1, backends: 2, clock });
      const service = new Balancer({ engine }).add({ address: "192.0.2.80", port: 80, protocol: "udp", backends: backends(2) });
      const [one, two] = [...service.backends.values()];
      const end = service.opened(one);
      service.count(one, "in", 10, 1000);
      service.count(two, "out", 3, 300);
      service.remove(one.name);
      assert.throws(() => service.add({ address: "10.9.9.9" }), /all 2 backends are in use; raise backends/);
      end();
      await clock.advance(2100);
      const { conns, activeConns, inPkts, inBytes, outPkts, outBytes } = service.stats();
      assert.deepEqual([conns, activeConns, inPkts, inBytes, outPkts, outBytes], [1, 0, 10, 1000, 3, 300]);
      assert.equal(service.add({ address: "10.9.9.9" }).stats().inPkts, 0);
      await engine.close();
    });
  });
}

describe("room for load balancing", () => {
  it("is none unless it is asked for, and said to be full when it is", async () => {
    const none = await engineOf("plain");
    assert.equal(none.memory.size(abi.REGION_BALANCE), 0);
    assert.equal(none.plane.serviceFind(none.memory.base(abi.REGION_HOST), 6, 80) >>> 0, abi.NONE);
    assert.throws(() => new Balancer({ engine: none }), /no room for services; create it with \{ services: 16 \}/);
    const one = await engineOf("plain", { services: 1 });
    const balancer = new Balancer({ engine: one, clock: new VirtualClock() });
    const service = balancer.add({ address: "192.0.2.1", port: 80, mode: "dsr" });
    // The next hop that leads to a backend may be known later than the backend.
    service.add({ address: "10.0.0.1" }).nextHop = 77;
    const record = one.memory.getU32(one.memory.base(abi.REGION_BALANCE) + abi.BALANCE_BACKENDS_AT);
    assert.equal(one.memory.getU32(record + abi.BACKEND_HOP), 77);
    assert.equal(one.memory.u8[record + abi.BACKEND_MODE], abi.BALANCE_DSR);
    assert.throws(() => balancer.add({ address: "192.0.2.2", port: 80 }), /all 1 services are in use/);
    balancer.remove("tcp 192.0.2.1:80");
    balancer.add({ address: "192.0.2.2", port: 80 });
    await Promise.all([none.close(), one.close()]);
  });

  it("is used again and again while a worker thread reads", async () => {
    const engine = await engineOf("shared", { services: 1, backends: 4, threads: 1 });
    engine.start();
    const service = new Balancer({ engine, clock: new VirtualClock() }).add({ address: "192.0.2.1", port: 80, backends: backends(3) });
    for (let i = 0; i < 200; i++) {
      service.backend("10.0.0.2:80").weight = 1 + (i % 5);
      assert.ok(service.choose(CLIENT, i));
    }
    await engine.close();
  });
});

// ── Tunnels ───────────────────────────────────────────────────────────────────────────────────────

const INNER4 = serializeIpv4({
  protocol: 17,
  source: 0xc6336407,
  destination: 0xc0000250,
  payload: serializeUdp(
    { sourcePort: 4000, destinationPort: 40001, payload: new TextEncoder().encode("inner four!") },
    { source: Uint8Array.of(198, 51, 100, 7), destination: Uint8Array.of(192, 0, 2, 80) },
  ),
});

function inner6(): Uint8Array {
  const source = new IpAddress(0x20010db8, 1, 0, 7);
  const destination = new IpAddress(0x20010db8, 0, 0, 80);
  const udp = serializeUdp(
    { sourcePort: 4000, destinationPort: 40001, payload: new TextEncoder().encode("inner six") },
    { source: source.bytes(), destination: destination.bytes() },
  );
  return serializeIpv6({ protocol: 17, source: source.bytes(), destination: destination.bytes(), payload: udp, trafficClass: 0xb9 });
}

/** The packet as it leaves for a backend, or undefined when it does not fit. */
function tunnelled(engine: Engine, backend: number, packet: Uint8Array): Uint8Array | undefined {
  const { memory, plane } = engine;
  const id = plane.bufferTake(0) >>> 0;
  const d = memory.descriptor(id);
  const data = memory.getU32(d + abi.DESC_DATA);
  memory.u8.set(packet, data);
  memory.setU32(d + abi.DESC_LENGTH, packet.length);
  memory.setU32(d + abi.DESC_PACKET_LENGTH, packet.length);
  memory.setU32(d + abi.DESC_HASH, 0xdeadbeef);
  memory.setU16(d + abi.DESC_L3, 0);
  const out = plane.packetTunnel(0, id, backend) >>> 0;
  const at = memory.getU32(d + abi.DESC_DATA);
  const bytes = out === abi.NONE ? undefined : memory.u8.slice(at, at + memory.getU32(d + abi.DESC_LENGTH));
  plane.packetRelease(0, id);
  return bytes;
}

/** A capture of raw IP packets. */
function pcap(packets: readonly Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(24);
  for (const [at, word] of [0xa1b2c3d4, 0x00040002, 0, 0, 65_535, 101].entries()) header.writeUInt32LE(word, 4 * at);
  const records = packets.map((packet, i) => {
    const record = Buffer.alloc(16);
    for (const [at, word] of [i, 0, packet.length, packet.length].entries()) record.writeUInt32LE(word, 4 * at);
    return Buffer.concat([record, packet]);
  });
  return Buffer.concat([header, ...records]);
}

describe("tunnels to backends", () => {
  const ENDS = { 4: { from: "10.0.0.254", to: "10.0.0.1" }, 6: { from: "2001:db8::fe", to: "2001:db8::1" } } as const;

  async function packets(mtu?: number): Promise<Map<string, Uint8Array | undefined>> {
    const engine = await engineOf("plain", { services: 4, backends: 4 });
    const balancer = new Balancer({ engine, clock: new VirtualClock(), random: new Random(1) });
    const made = new Map<string, Uint8Array | undefined>();
    for (const mode of ["ipip", "gue"] as const)
      for (const outer of [4, 6] as const) {
        const { from, to } = ENDS[outer];
        const port = made.size + 1;
        const service = balancer.add({ address: "192.0.2.80", port, mode, tunnelFrom: from, mtu, backends: [{ address: to }] });
        const { number } = [...service.backends.values()][0];
        for (const [inner, bytes] of [
          [4, INNER4],
          [6, inner6()],
        ] as const)
          made.set(`${mode} ${inner} in ${outer}`, tunnelled(engine, number, bytes));
      }
    assert.equal(engine.pool().inFlight, 0);
    await engine.close();
    return made;
  }

  it("carry the packet unchanged, behind headers of the right length", async () => {
    for (const [name, packet] of await packets()) {
      const [mode, inner, , outer] = name.split(" ");
      const bytes = inner === "4" ? INNER4 : inner6();
      const overhead = (outer === "4" ? 20 : 40) + (mode === "gue" ? 12 : 0);
      assert.deepEqual(packet?.subarray(overhead), bytes, name);
    }
  });

  it("refuse what would be longer than the way takes", async () => {
    for (const [name, packet] of await packets(576)) assert.ok(packet, name);
    const engine = await engineOf("plain", { services: 1, backends: 1 });
    const service = new Balancer({ engine, clock: new VirtualClock() }).add({
      address: "192.0.2.80",
      port: 80,
      mode: "gue",
      tunnelFrom: "10.0.0.254",
      mtu: 576,
      backends: [{ address: "10.0.0.1" }],
    });
    const { number } = [...service.backends.values()][0];
    const sized = (length: number) => serializeIpv4({ protocol: 253, source: 1, destination: 2, payload: new Uint8Array(length - 20) });
    assert.equal(tunnelled(engine, number, sized(544))?.length, 576);
    assert.equal(tunnelled(engine, number, sized(545)), undefined);
    await engine.close();
  });

  const hasTshark = spawnSync("tshark", ["--version"]).status === 0;
  it("are what tshark takes them for, checksums included", { skip: hasTshark ? false : "needs tshark" }, async () => {
    const made = await packets();
    const folder = mkdtempSync(join(tmpdir(), "balance-"));
    try {
      const file = join(folder, "tunnels.pcap");
      writeFileSync(file, pcap([...made.values()].filter((packet) => packet !== undefined)));
      const checks = ["ip.check_checksum", "udp.check_checksum"].flatMap((name) => ["-o", `${name}:TRUE`]);
      const tshark = (...args: string[]) =>
        execFileSync("tshark", ["-r", file, ...checks, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      const fields = [
        "frame.protocols",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "ip.dsfield",
        "ipv6.tclass",
        "ip.flags.df",
        "udp.dstport",
      ];
      const rows = tshark("-T", "fields", "-E", "separator=|", ...fields.flatMap((name) => ["-e", name]))
        .trimEnd()
        .split("\n");
      const dns = "192.0.2.80";
      const [four, six] = ["198.51.100.7", "2001:db8:0:1::7"];
      const shown = new Map([...made.keys()].map((name, i) => [name, rows[i].split("|")]));
      assert.match(shown.get("ipip 4 in 4")?.[0] ?? "", /^raw:ip:ip:udp/);
      assert.match(shown.get("ipip 6 in 4")?.[0] ?? "", /^raw:ip:ipv6:udp/);
      assert.match(shown.get("ipip 4 in 6")?.[0] ?? "", /^raw:ipv6:ip:udp/);
      assert.match(shown.get("ipip 6 in 6")?.[0] ?? "", /^raw:ipv6:ipv6:udp/);
      assert.deepEqual(shown.get("ipip 4 in 4")?.slice(1, 3), [`10.0.0.254,${four}`, `10.0.0.1,${dns}`]);
      assert.deepEqual(shown.get("ipip 6 in 6")?.slice(3, 5), [`2001:db8::fe,${six}`, "2001:db8::1,2001:db8::50"]);
      assert.deepEqual(shown.get("ipip 6 in 6")?.[6], "0x000000b9,0x000000b9");
      assert.equal(shown.get("ipip 6 in 4")?.[5], "0xb9");
      for (const name of ["gue 4 in 4", "gue 6 in 4"]) assert.match(shown.get(name)?.[0] ?? "", /^raw:ip:udp/);
      for (const [name, row] of shown) if (name.startsWith("gue")) assert.equal(row[8], "6080", name);
      assert.equal(tshark("-Y", "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0"), "");
      // Over IPv6 the outer checksum is there and right; over IPv4 it is left out.
      assert.equal(tshark("-Y", "udp.dstport == 6080 && udp.checksum.status == 1").trimEnd().split("\n").length, 2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
