/** What went wrong in other stacks and shall not here: each once, by name. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { IpAddress } from "../src/base/ip-address.ts";
import { Engine, Host, joinPorts, Random } from "../src/index.ts";
import { Lab } from "../src/lab/lab.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import {
  addressBytes4,
  ETHERTYPE,
  PROTOCOL,
  parseEthernet,
  parseIpv4,
  parseIpv6,
  serializeEthernet,
  serializeIpv4,
  serializeIpv6,
  serializeUdp,
} from "../src/wire/index.ts";
import { SEED } from "./support.ts";

/** Two hosts over joined ports, in real time. */
async function pair(): Promise<{ a: Host; b: Host; engine: Engine }> {
  const engine = await Engine.create({ ports: 2, tables: 4, appBytes: 32 << 20, bareDescriptors: 8192 });
  const make = (i: number) =>
    Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`, `2001:db8::${i + 1}/64`] }] });
  const [a, b] = [await make(0), await make(1)];
  joinPorts(engine, engine.port(0), engine.port(1));
  engine.start();
  return { a, b, engine };
}

async function connected(a: Host, b: Host): Promise<{ near: TcpSocket; far: TcpSocket }> {
  const listener = b.listen({ port: 80 });
  const [near, far] = await Promise.all([a.connect({ hostname: "10.0.0.2", port: 80 }), listener.accept()]);
  listener.close();
  return { near, far };
}

/** Writes `total` bytes on one side and reads them on the other; each byte is what its place says. */
async function move(near: TcpSocket, far: TcpSocket, total: number, each?: (bytes: number) => void): Promise<void> {
  const chunk = new Uint8Array(251 * 256).map((_, i) => i % 251);
  const writing = (async () => {
    for (let sent = 0; sent < total; sent += chunk.length) await near.write(chunk.subarray(0, Math.min(chunk.length, total - sent)));
  })();
  const space = new Uint8Array(65_536);
  for (let at = 0; at < total; ) {
    const n = (await far.read(space)) as number;
    for (let i = 0; i < n; i += 997) assert.equal(space[i], (at + i) % 251);
    at += n;
    each?.(at);
  }
  await writing;
}

function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

describe("what went wrong elsewhere", () => {
  it("a long transfer leaves memory where it was (one leaked allocation per write and per frame)", async (t) => {
    const gc = collector();
    const { a, b, engine } = await pair();
    const { near, far } = await connected(a, b);
    await move(near, far, 50 << 20);
    gc();
    const before = process.memoryUsage();
    await move(near, far, 300 << 20);
    gc();
    const after = process.memoryUsage();
    const grown = after.heapUsed + after.external - before.heapUsed - before.external;
    t.diagnostic(`${grown} bytes more after 300 MB, ${near.status().retransmissions} retransmissions`);
    assert.ok(grown < 2 << 20, `${grown} bytes more`);
    // The last bytes are held until their acknowledgement, which may be a delayed one.
    for (let i = 0; i < 100 && engine.slabs.available < engine.slabs.total; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(engine.slabs.total - engine.slabs.available, 0, "slabs");
    await engine.close();
  });

  it("a connect to a closed port is refused within one round trip (it never settled)", async () => {
    const lab = await Lab.create({ seed: SEED });
    const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] });
    const [a, b] = [await make(1), await make(2)];
    lab.link(a, b, { delay: 50 });
    await lab.run(5000);
    for (const hostname of ["10.0.0.2", "2001:db8::2"]) {
      // The neighbour is known; only the refusal is measured.
      a.ping(hostname).catch(() => {});
      await lab.run(500);
      const start = lab.clock.now();
      let settled: { code: string; after: number } | undefined;
      a.connect({ hostname, port: 81 }).catch((error) => {
        settled = { code: error.code, after: lab.clock.now() - start };
      });
      await lab.run(1000, () => settled !== undefined);
      assert.equal(settled?.code, "ECONNREFUSED");
      assert.ok(settled.after <= 101, `${settled.after} ms of a round trip of 100 ms`);
    }
  });

  it("a timer of 5 ms keeps ticking during a bulk transfer (microtasks starved it)", async (t) => {
    const { a, b, engine } = await pair();
    const { near, far } = await connected(a, b);
    let ticks = 0;
    const start = performance.now();
    const timer = setInterval(() => ticks++, 5);
    await move(near, far, 200 << 20);
    clearInterval(timer);
    const elapsed = performance.now() - start;
    t.diagnostic(`${ticks} ticks in ${elapsed.toFixed(0)} ms`);
    assert.ok(ticks >= elapsed / 5 / 10, `${ticks} ticks in ${elapsed.toFixed(0)} ms`);
    await engine.close();
  });

  it("a window is used: a long path carries window/RTT, not 5,840 bytes a round trip", async () => {
    const lab = await Lab.create({ seed: SEED });
    const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`] }] });
    const [a, b] = [await make(1), await make(2)];
    lab.link(a, b, { delay: 25 });
    const listener = b.listen({ port: 80 });
    let bytes = 0;
    void listener.accept().then(async (socket) => {
      const space = new Uint8Array(65_536);
      for (let n = await socket.read(space); n !== null; n = await socket.read(space)) bytes += n;
    });
    void a.connect({ hostname: "10.0.0.2", port: 80 }).then(async (socket) => {
      await socket.write(new Uint8Array(20_000_000));
      await socket.closeWrite();
    });
    await lab.run(3000, () => bytes === 20_000_000);
    assert.equal(bytes, 20_000_000, "20 MB within three seconds, 60 round trips");
  });

  for (const family of [4, 6] as const) {
    it(`a router forwards every 64-byte packet of IPv${family} (0 of 200,000 were delivered)`, async () => {
      const lab = await Lab.create({ seed: SEED, memory: { bareDescriptors: 1024, appBytes: 1 << 20 } });
      const host = await lab.host({
        forwarding: true,
        interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }, { addresses: ["10.0.1.1/24", "2001:db8:1::1/64"] }],
      });
      const verdicts = await forwardMany(lab, host, family, 200_000);
      // The same verdicts for both families: everything arrives, one hop less, and what may not go on ends under its name.
      assert.deepEqual(verdicts, { arrived: 200_000, hops: 63, expired: 1000, unroutable: 1000 });
    });
  }

  it("IPv6 gets the same verdicts as IPv4: sockets, refusals, errors", async () => {
    const { a, b, engine } = await pair();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const verdicts = async (own: string, other: string, nobody: string) => {
      const code = (promise: Promise<unknown>) =>
        promise.then(
          () => "fine",
          (error) => error.code ?? error.name,
        );
      const listener = b.listen({ port: 90, hostname: own });
      const inbox = b.datagram({ port: 91, hostname: own });
      const sender = a.datagram();
      sender.send(Uint8Array.of(1, 2, 3), { address: own, port: 91 });
      const deaf = a.datagram();
      deaf.connect({ address: own, port: 92 });
      deaf.send(Uint8Array.of(1));
      const outcome = [
        await code(a.connect({ hostname: own, port: 90 })),
        await code(a.connect({ hostname: own, port: 93 })),
        await code(a.connect({ hostname: other, port: 90 })),
        await code(a.connect({ hostname: nobody, port: 90, signal: AbortSignal.timeout(4000) })),
        (await inbox.receive()).data.length,
        await code(deaf.receive()),
        await code(a.ping(own, { size: 4000 })),
        await code(a.ping(other)),
      ];
      for (const each of [listener, inbox, sender, deaf]) each.close();
      return outcome;
    };
    const outcomes = await Promise.all([
      verdicts("10.0.0.2", "192.0.2.1", "10.0.0.9"),
      verdicts("2001:db8::2", "2001:db8:9::1", "2001:db8::9"),
    ]);
    assert.deepEqual(outcomes[0], outcomes[1]);
    assert.deepEqual(outcomes[0].slice(0, 3), ["fine", "ECONNREFUSED", "ENETUNREACH"]);
    await engine.close();
  });
});

/** Sends `count` packets of 64 bytes through a router, and some that must not go on; what became of them. */
async function forwardMany(lab: Lab, host: Host, family: 4 | 6, count: number) {
  const [near, far] = [host.ip.interface("eth0").port, host.ip.interface("eth1").port];
  const random = new Random(SEED);
  const station = Uint8Array.of(2, 0, 0, 0, 0, 9);
  const frame = (host4: number, ttl: number, away = false) => {
    const ports = { sourcePort: random.below(65_536), destinationPort: random.below(65_536) };
    if (family === 4) {
      const [source, destination] = [0x0a000002, away ? 0xc0000201 : 0x0a000100 + host4];
      const payload = serializeUdp(
        { ...ports, payload: new Uint8Array(18) },
        { source: addressBytes4(source), destination: addressBytes4(destination) },
      );
      return serializeEthernet({
        destination: near.macBytes,
        source: station,
        type: ETHERTYPE.ipv4,
        payload: serializeIpv4({ protocol: PROTOCOL.udp, source, destination, ttl, payload }),
      });
    }
    const source = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
    const destination = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, away ? 9 : 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, host4);
    const payload = serializeUdp({ ...ports, payload: new Uint8Array(2) }, { source, destination });
    return serializeEthernet({
      destination: near.macBytes,
      source: station,
      type: ETHERTYPE.ipv6,
      payload: serializeIpv6({ protocol: PROTOCOL.udp, source, destination, hopLimit: ttl, payload }),
    });
  };
  let arrived = 0;
  const hops = new Set<number>();
  lab.engine.attach({
    name: "far",
    poll: () =>
      far.transmitted((bytes) => {
        const { type, payload } = parseEthernet(bytes);
        if (type !== (family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6)) return;
        const packet = family === 4 ? parseIpv4(payload) : parseIpv6(payload);
        if (packet.protocol !== PROTOCOL.udp) return;
        arrived++;
        hops.add("ttl" in packet ? packet.ttl : packet.hopLimit);
      }) + near.transmitted(() => {}),
  });
  await lab.run(5000);
  const neighbours = host.ip.neighbours;
  for (let i = 2; i < 18; i++) {
    const address = IpAddress.parse(family === 4 ? `10.0.1.${i}` : `2001:db8:1::${i.toString(16)}`);
    neighbours.setPermanent(host.ip.interface("eth1"), address, station);
  }
  const frames = Array.from({ length: 16 }, (_, i) => frame(2 + i, 64));
  for (let i = 0; i < count; i++) {
    near.receive(frames[i & 15]);
    if ((i & 255) === 255) lab.settle();
  }
  lab.settle();
  const before = lab.engine.counters().punts;
  for (let i = 0; i < 1000; i++) {
    near.receive(frame(2, 1));
    near.receive(frame(2, 64, true));
    if ((i & 63) === 63) lab.settle();
  }
  lab.settle();
  const { punts } = lab.engine.counters();
  return {
    arrived,
    hops: [...hops][0],
    expired: (punts.ttl_exceeded ?? 0) - (before.ttl_exceeded ?? 0),
    unroutable: (punts.unreachable ?? 0) - (before.unreachable ?? 0),
  };
}
