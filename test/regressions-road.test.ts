/** Faults of what stands between hosts that reviews found in scenarios, each by its shortest trigger. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Balancer } from "../src/balance/index.ts";
import { VirtualClock } from "../src/base/index.ts";
import { IpAddress, joinPorts, Lab } from "../src/index.ts";
import { Router } from "../src/router/index.ts";
import { checksum, pseudoSum, serializeEthernet, serializeIpv6, serializeUdp } from "../src/wire/index.ts";

import { engineOf } from "./support.ts";

const six = (text: string) => IpAddress.parse(text).bytes();
const TRACKED = `table inet f {
  chain c { type filter hook forward priority 0; ct state invalid drop; }
  chain d { type filter hook input priority 0; ct state invalid drop; }
}
`;

describe("IPv6 datagrams of more than 64 KiB with their headers (RFC 8200 allows 65,535 bytes behind 40)", () => {
  for (const [what, to] of [
    ["forwarded", "2001:db8::2"],
    ["for this host", "fd00::1"],
  ])
    it(`are put together where flows are tracked: ${what}`, async () => {
      const lab = await Lab.create({ interfaces: 4, hosts: 4, memory: { flows: 1024, filterBytes: 4 << 20 } });
      const interfaces = [
        { name: "lan", addresses: ["fd00::1/64"] },
        { name: "wan", addresses: ["2001:db8::1/64"] },
      ];
      const router = await lab.host({ forwarding: true, ruleset: TRACKED, interfaces });
      const far = await lab.host({ interfaces: [{ addresses: ["2001:db8::2/64"], gateway: "2001:db8::1" }] });
      lab.link(router, far, {}, ["wan", "eth0"]);
      await lab.run(3000);
      const { port } = router.ip.interface("lan");
      const inbox = (to === "fd00::1" ? router : far).datagram({ port: 2 });
      for (const size of [65_507, 65_527]) {
        const sent = new Uint8Array(size).map((_, i) => i * 7);
        const udp = serializeUdp({ sourcePort: 1, destinationPort: 2, payload: sent }, { source: six("fd00::9"), destination: six(to) });
        for (let at = 0; at < udp.length; at += 1448) {
          const bytes = new Uint8Array(8);
          new DataView(bytes.buffer).setUint16(2, at | Number(at + 1448 < udp.length));
          new DataView(bytes.buffer).setUint32(4, size);
          const fields = { source: six("fd00::9"), destination: six(to), protocol: 17, extensions: [{ type: 44, bytes }] };
          const payload = serializeIpv6({ ...fields, payload: udp.subarray(at, at + 1448) });
          const link = { destination: port.macBytes, source: Uint8Array.of(2, 0, 0, 0, 0, 9), type: 0x86dd };
          port.receive(serializeEthernet({ ...link, payload }));
          await lab.run(1);
        }
        const got = inbox.receive();
        await lab.run(100);
        assert.deepEqual((await got).data, sent);
      }
      await lab.engine.close();
    });
});

describe("runs of datagrams from a host that is joined to a router", () => {
  for (const [family, address] of [
    [4, "192.0.2.2"],
    [6, "2001:db8::2"],
  ] as const)
    it(`IPv${family}: are cut on their way, however long they are together`, async () => {
      const lab = await Lab.create({ interfaces: 6, hosts: 4 });
      const near = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: ["10.0.0.1", "fd00::1"] }] });
      const interfaces = [
        { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"] },
        { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
      ];
      const router = await lab.host({ forwarding: true, interfaces });
      const far = await lab.host({
        interfaces: [{ addresses: ["192.0.2.2/24", "2001:db8::2/64"], gateway: ["192.0.2.1", "2001:db8::1"] }],
      });
      joinPorts(lab.engine, near.ip.interface("eth0").port, router.ip.interface("lan").port);
      lab.link(router, far, { delay: 1 }, ["wan", "eth0"]);
      await lab.run(2000);
      const inbox = far.datagram({ port: 1500 });
      const sizes: number[] = [];
      void (async () => {
        for (;;) sizes.push((await inbox.receive()).data.length);
      })().catch(() => {});
      const out = near.datagram();
      const to = { address, port: 1500 };
      for (let i = 0; i < 5; i++) {
        out.send(new Uint8Array(9500), to, { segmentSize: 1000 });
        out.sendMany(
          Array.from({ length: 10 }, () => new Uint8Array(1000)),
          to,
        );
        await lab.run(50);
      }
      assert.equal(sizes.length, 100);
      assert.equal(sizes.filter((size) => size === 1000).length, 95);
      await lab.engine.close();
    });
});

describe("a datagram socket of one family", () => {
  it("does not send to the other", async () => {
    const lab = await Lab.create();
    const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "fd00::a:b/64"] }] });
    await lab.run(2000);
    for (const [hostname, address] of [
      ["fd00::a:b", "10.0.0.2"],
      ["10.0.0.1", "fd00::2"],
    ]) {
      const socket = host.datagram({ hostname });
      assert.throws(() => socket.send(new Uint8Array(8), { address, port: 9 }), { code: "EINVAL" });
      assert.throws(() => socket.send(new Uint8Array(3000), { address, port: 9 }), /of different families/);
      assert.throws(() => socket.connect({ address, port: 9 }), { code: "EINVAL" });
      socket.close();
    }
    const alone = host.datagram({ hostname: "::", v6Only: true });
    assert.throws(() => alone.send(new Uint8Array(8), { address: "10.0.0.2", port: 9 }), { code: "ENETUNREACH" });
    await lab.engine.close();
  });
});

describe("a port that gets another owner", () => {
  it("keeps nothing of what waited for its device, however much that was", async () => {
    const lab = await Lab.create({ interfaces: 2, hosts: 2 });
    const old = await lab.host({ interfaces: [{ port: lab.engine.port(0), addresses: ["10.0.0.1/24"] }] });
    old.ip.neighbours.setPermanent(old.ip.interface("eth0"), IpAddress.parse("10.0.0.2"), Uint8Array.of(2, 0, 0, 0, 0, 9));
    const socket = old.datagram();
    for (let i = 0; i < 1000; i++) socket.send(new Uint8Array(100), { address: "10.0.0.2", port: 9 });
    await lab.run(100);
    assert.ok(lab.engine.pool().inFlight >= 1000);
    await old.close();
    await lab.run(100);
    assert.equal(lab.engine.pool().inFlight, 0);
    await lab.engine.close();
  });
});

describe("TCP over small rings", () => {
  for (const ringCapacity of [16, 128, 256])
    it(`of ${ringCapacity}: everything arrives`, async () => {
      const lab = await Lab.create({ seed: 3, interfaces: 2, hosts: 2, memory: { ringCapacity } });
      const [a, b] = [
        await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
        await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
      ];
      lab.link(a, b, { delay: 1 });
      const listener = b.listen({ port: 80 });
      const accepting = listener.accept();
      const connecting = a.connect({ hostname: "10.0.0.2", port: 80 });
      await lab.run(1000);
      const [near, far] = [await connecting, await accepting];
      let got = 0;
      void (async () => {
        const space = new Uint8Array(65_536);
        for (let n = await far.read(space); n !== null; n = await far.read(space)) got += n;
      })();
      void near.write(new Uint8Array(100_000)).then(() => near.closeWrite());
      await lab.run(60_000);
      assert.equal(got, 100_000);
      await lab.engine.close();
    });
});

describe("hosts on an engine with room for rules", () => {
  it("give back their network, their rules' memory and their flows when they are closed", async () => {
    const lab = await Lab.create({ interfaces: 2, hosts: 4, memory: { flows: 1024, filterBytes: 1 << 20 } });
    const elements = Array.from({ length: 5000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`).join(", ");
    const ruleset = `table ip t {
  set s { type ipv4_addr; elements = { ${elements} }; }
  chain c { type filter hook input priority 0; ip saddr @s counter drop; ct state invalid drop; }
  chain n { type nat hook postrouting priority srcnat; masquerade; }
}
`;
    const stays = await lab.host({ interfaces: [{ port: lab.engine.port(1), addresses: ["10.0.0.2/24"] }] });
    for (let i = 0; i < 70; i++) {
      const host = await lab.host({ interfaces: [{ port: lab.engine.port(0), addresses: ["10.0.0.1/24"] }], ruleset });
      const link = lab.link(host, stays);
      await lab.run(20);
      const pinging = host.ping("10.0.0.2");
      await lab.run(50);
      await pinging;
      assert.equal(host.conntrack.count, 1, `host ${i}`);
      lab.unlink(link);
      await host.close();
      await lab.run(20);
    }
    assert.equal(stays.conntrack.count, 0);
    await lab.engine.close();
  });
});

describe("a balancer's configuration that there is no room for", () => {
  it("changes nothing", async () => {
    const engine = await engineOf("plain", { ports: 1, services: 2, backends: 4, clock: new VirtualClock() });
    const balancer = new Balancer({ engine });
    const service = (...hosts: readonly number[]) => [
      { address: "192.0.2.80", port: 80, backends: hosts.map((h) => ({ address: `10.0.0.${h}` })) },
    ];
    const names = () => [...balancer.service("tcp 192.0.2.80:80").backends.keys()];
    balancer.apply(service(1, 2, 3));
    assert.throws(() => balancer.apply(service(3, 4, 5, 6, 7)), /4 backends are new and there is room for 1/);
    assert.throws(() => balancer.apply(service(3, 4).map((each) => ({ ...each, slowStartMs: 5 }))), { code: "ENOMEM" });
    assert.deepEqual(names(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    balancer.apply(service(2, 4));
    assert.deepEqual(names(), ["10.0.0.2:80", "10.0.0.4:80"]);
    balancer.close();
  });

  it("comes from others that are closed: what their flows remember is free when those end", async () => {
    const lab = await Lab.create({ interfaces: 8, hosts: 4, memory: { flows: 1024, services: 2, backends: 8, clients: 16 } });
    const interfaces = [
      { name: "c", addresses: ["10.0.0.1/24"] },
      { name: "s", addresses: ["10.1.0.1/24", "203.0.113.80/32"] },
    ];
    const router = await lab.host({ forwarding: true, interfaces });
    router.network?.configure({ track: true, balance: true });
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] });
    const server = await lab.host({ interfaces: [{ addresses: ["10.1.0.2/24"], gateway: "10.1.0.1" }] });
    lab.link(client, router, {}, ["eth0", "c"]);
    lab.link(server, router, {}, ["eth0", "s"]);
    const backends = Array.from({ length: 4 }, (_, i) => ({ address: "10.1.0.2", port: 9000 + i }));
    for (let round = 0; round < 4; round++) {
      const balancer = new Balancer({ engine: lab.engine, clock: lab.clock });
      balancer.add({ address: "203.0.113.80", port: 80, protocol: "udp", scheduler: "round-robin", backends });
      for (let i = 0; i < 4; i++) {
        client.datagram().send(new Uint8Array(1), { address: "203.0.113.80", port: 80 });
        await lab.run(10);
      }
      balancer.close();
      await lab.run(1_000_000);
    }
    await lab.engine.close();
  });
});

describe("a router's queue that a reload changes", () => {
  it("hands over what waits", async () => {
    const lab = await Lab.create({ interfaces: 8, hosts: 4, memory: { queueBytes: 4 << 20, flows: 1024, filterBytes: 4 << 20 } });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] });
    const b = await lab.host({ interfaces: [{ addresses: ["192.0.2.2/24"], gateway: "192.0.2.1" }] });
    const config = (qdisc: string) => ({
      interfaces: [
        { name: "lan", addresses: ["10.0.0.1/24"] },
        { name: "wan", addresses: ["192.0.2.1/24"], qdisc },
      ],
    });
    const ports = { lan: lab.engine.port(2), wan: lab.engine.port(3) };
    const router = await Router.create(config("tbf rate 1mbit burst 3000 latency 10s"), { engine: lab.engine, ports });
    lab.link(a, router.host, {}, ["eth0", "lan"]);
    lab.link(router.host, b, {}, ["wan", "eth0"]);
    const inbox = b.datagram({ port: 9 });
    const out = a.datagram();
    let got = 0;
    void (async () => {
      for (;;) {
        await inbox.receive();
        got++;
      }
    })().catch(() => {});
    out.send(new Uint8Array(10), { address: "192.0.2.2", port: 9 });
    await lab.run(100);
    for (let i = 0; i < 100; i++) out.send(new Uint8Array(1000), { address: "192.0.2.2", port: 9 });
    await lab.run(50);
    await router.reload(config("tbf rate 2mbit burst 3000 latency 10s"));
    await lab.run(20_000);
    assert.equal(got, 101);
    await router.close();
    await lab.engine.close();
  });
});

describe("large packets in the hands of the host", () => {
  const between = async (ruleset: string) => {
    const lab = await Lab.create({ interfaces: 6, hosts: 4, memory: { flows: 1024, filterBytes: 4 << 20 } });
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] });
    const interfaces = [
      { name: "lan", addresses: ["10.0.0.1/24"] },
      { name: "wan", addresses: ["192.0.2.1/24"] },
    ];
    const router = await lab.host({ forwarding: true, interfaces, ruleset });
    const server = await lab.host({ interfaces: [{ addresses: ["192.0.2.2/24"], gateway: "192.0.2.1" }] });
    lab.link(client, router, { delay: 1 }, ["eth0", "lan"]);
    lab.link(router, server, { delay: 1 }, ["wan", "eth0"]);
    return { lab, client, router, server };
  };
  /** Milliseconds that so many bytes take from the server to the client. */
  const fetched = async ({ lab, client, server }: Awaited<ReturnType<typeof between>>, port: number, size: number) => {
    const sent = new Uint8Array(size).map((_, i) => i * 7);
    const listener = server.listen({ port });
    void (async () => {
      const socket = await listener.accept();
      await socket.write(sent);
      await socket.closeWrite();
    })();
    const start = lab.clock.now();
    let took: number | undefined;
    const reading = (async () => {
      const socket = await client.connect({ hostname: "192.0.2.2", port });
      const got = new Uint8Array(await new Response(socket.readable).arrayBuffer());
      took = lab.clock.now() - start;
      return got;
    })();
    await lab.run(20_000, () => took !== undefined);
    assert.deepEqual(await reading, sent);
    listener.close();
    return took as number;
  };

  it("a program that gives back the bytes it was given changes nothing", async () => {
    const rig = await between("table ip f { chain c { type filter hook forward priority 0; queue to 1; }; }");
    let large = 0;
    let broken = 0;
    rig.router.onQueue(1, ({ bytes }) => {
      if (bytes.length > 1500) large++;
      const segment = bytes.subarray(20);
      if (checksum(segment, pseudoSum(bytes.subarray(12, 16), bytes.subarray(16, 20), bytes[9], segment.length)) !== 0) broken++;
      return { bytes };
    });
    await fetched(rig, 80, 1_000_000);
    assert.ok(large > 10);
    assert.equal(broken, 0);
    assert.equal(rig.lab.engine.counters().drops.l4_bad_checksum, undefined);
    await rig.lab.engine.close();
  });

  it("flows with a helper are as fast as others", async () => {
    const helped = `table ip f {
  ct helper ftp-standard { type "ftp" protocol tcp; }
  chain p { type filter hook prerouting priority 0; tcp dport 21 ct helper set "ftp-standard"; }
}
`;
    const rig = await between(helped);
    const plain = await fetched(rig, 80, 100_000);
    assert.ok((await fetched(rig, 21, 100_000)) <= plain + 1);
    await rig.lab.engine.close();
  });
});
