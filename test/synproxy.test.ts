/** Handshakes answered in a server's place: honest clients are served whatever floods, floods reach nobody, and numbers add up. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/index.ts";
import { checksum, pseudoSum } from "../src/wire/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { until } from "./nat-rig.ts";
import { SEED } from "./support.ts";

const RULES = (offer = "mss 1460 wscale 7 timestamp sack-perm", hook = "forward") => `table inet f {
  chain raw { type filter hook prerouting priority raw; policy accept
    iifname "wan" tcp dport 80 tcp flags syn notrack
  }
  chain through { type filter hook ${hook} priority filter; policy drop
    iifname "wan" tcp dport 80 ct state invalid,untracked synproxy ${offer}
    ct state invalid drop
    ct state established,related accept
    meta l4proto { icmp, ipv6-icmp } accept
    iifname "lan" accept
  }
}`;

async function world(offer?: string, options: { hook?: string; server?: object; client?: object } = {}) {
  const lab = await Lab.create({ seed: SEED, interfaces: 8, memory: { flows: 512, filterBytes: 8 << 20, appBytes: 64 << 20 } });
  const server = await lab.host({
    interfaces: [{ addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: ["10.0.0.1", "fd00::1"] }],
    ...options.server,
  });
  const router = await lab.host({
    forwarding: true,
    interfaces: [
      { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"] },
      { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
    ],
  });
  const client = await lab.host({
    interfaces: [{ addresses: ["192.0.2.2/24", "2001:db8::2/64"], gateway: ["192.0.2.1", "2001:db8::1"] }],
    ...options.client,
  });
  lab.link(server, router, { delay: 3 }, ["eth0", "lan"]);
  const wan = lab.link(client, router, { delay: 3 }, ["eth0", "wan"]);
  router.conntrack.configure({ tcpLoose: false });
  router.firewall.apply(RULES(offer, options.hook));
  await lab.run(3000);
  return { lab, server, router, client, wan };
}

async function transfer(made: Awaited<ReturnType<typeof world>>, hostname: string) {
  const { lab, server, client } = made;
  const listener = server.listen({ port: 80 });
  const sent = new Uint8Array(200_000).map((_, i) => i * 11);
  const accepting = listener.accept();
  const socket = await until(lab, client.connect({ hostname, port: 80 }));
  // A client whose acknowledgement of the cookie is lost must say something, or nobody knows of it.
  const asked = socket.write(sent);
  const accepted = await until(lab, accepting);
  for (const [from, to] of [
    [socket, accepted],
    [accepted, socket],
  ] as const) {
    void (from === socket ? asked : from.write(sent)).then(() => from.closeWrite());
    const got: number[] = [];
    const read = async () => {
      for await (const chunk of to.readable) got.push(...chunk);
    };
    await until(lab, read());
    assert.deepEqual(Uint8Array.from(got), sent);
  }
  const status = [socket.status(), accepted.status()];
  await until(lab, Promise.all([socket.close(), accepted.close()]));
  listener.close();
  return status;
}

describe("SYNPROXY", () => {
  for (const [family, hostname] of [
    ["IPv4", "10.0.0.2"],
    ["IPv6", "fd00::2"],
  ])
    for (const offer of ["mss 1460 wscale 7 timestamp sack-perm", "mss 1460"])
      it(`${family}, ${offer}: everything arrives, both ways`, async () => {
        const made = await world(offer);
        const [near, far] = await transfer(made, hostname);
        const isWhole = offer.includes("timestamp");
        for (const status of [near, far]) assert.deepEqual([status.timestamps, status.sack], [isWhole, isWhole]);
        const { drops } = made.router.engine.counters();
        assert.equal(drops.l4_bad_checksum ?? 0, 0);
        for (const host of [made.client, made.server]) assert.equal(host.tcp.counters.in_errs ?? 0, 0);
        auditFlows(made.router.engine);
      });

  it("survives loss, which SACK reports in the server's numbers", async () => {
    const made = await world();
    made.wan.set({ delay: 3, loss: 0.05 });
    const [near] = await transfer(made, "10.0.0.2");
    assert.ok(near.retransmissions > 0, "nothing was lost");
  });

  it("lets a server speak first", async () => {
    const { lab, server, client } = await world();
    const listener = server.listen({ port: 80 });
    const connecting = client.connect({ hostname: "10.0.0.2", port: 80 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), connecting]));
    await accepted.write(new TextEncoder().encode("220 hello"));
    const space = new Uint8Array(99);
    const n = await until(lab, socket.read(space));
    assert.equal(new TextDecoder().decode(space.subarray(0, n ?? 0)), "220 hello");
  });

  it("tells a client that the server refuses", async () => {
    const { lab, client } = await world();
    const socket = await until(lab, client.connect({ hostname: "10.0.0.2", port: 80 }));
    await assert.rejects(until(lab, socket.read(new Uint8Array(9))), { code: "ECONNRESET" });
  });

  /** A segment from somewhere of 198.51.0.0/16 to the server's port. */
  const segment = (macBytes: Uint8Array, i: number, flags: number, acknowledgement = 0) => {
    const frame = new Uint8Array(14 + 40);
    const view = new DataView(frame.buffer);
    frame.set(macBytes);
    frame.set([2, 0, 0, 0, 9, 9, 8, 0], 6);
    frame.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 51, i >>> 8, i & 255, 10, 0, 0, 2], 14);
    view.setUint16(24, checksum(frame.subarray(14, 34)));
    view.setUint16(34, 1024 + i);
    view.setUint16(36, 80);
    view.setUint32(38, i * 7919);
    view.setUint32(42, acknowledgement);
    view.setUint32(46, 0x50002000 | (flags << 16));
    view.setUint16(50, checksum(frame.subarray(34), pseudoSum(frame.subarray(26, 30), frame.subarray(30, 34), 6, 20)));
    return frame;
  };

  it("keeps no note of a flood, which reaches nobody, and serves meanwhile", async () => {
    const made = await world();
    const { lab, server, router, client } = made;
    await transfer(made, "10.0.0.2");
    router.addRoute({ to: "198.51.0.0/16", via: "192.0.2.2" });
    await lab.run(200_000);
    const before = server.tcp.counters.in_segs;
    const received = () => client.links()[0]?.stats.rx.packets ?? 0;
    const packets = received();
    const wan = router.ip.interface("wan").port;
    for (let i = 0; i < 5000; i++) {
      wan.receive(segment(wan.macBytes, i, 2));
      if (i % 50 === 49) await lab.run(1);
    }
    await lab.run(100);
    assert.ok(received() - packets >= 5000, "each SYN has its answer");
    assert.equal(router.conntrack.count, 0);
    assert.equal(server.tcp.counters.in_segs, before, "the server heard of it");
    await transfer(made, "10.0.0.2");
    auditFlows(router.engine);
  });

  it("drops ACKs that show no cookie of its own", async () => {
    const { lab, server, router } = await world();
    const before = server.tcp.counters.in_segs;
    const wan = router.ip.interface("wan").port;
    const dropped = router.engine.counters().drops.filter ?? 0;
    for (let i = 0; i < 3000; i++) {
      wan.receive(segment(wan.macBytes, i, 16, Math.imul(i, 0x9e3779b1) >>> 0));
      if (i % 50 === 49) await lab.run(1);
    }
    await lab.run(100);
    assert.equal((router.engine.counters().drops.filter ?? 0) - dropped, 3000);
    assert.equal(server.tcp.counters.in_segs, before);
    assert.equal(router.conntrack.count, 0);
  });

  it("guards the router's own services", async () => {
    const { lab, router, client } = await world(undefined, { hook: "input" });
    const listener = router.listen({ port: 80 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: "192.0.2.1", port: 80 })]));
    await socket.write(new Uint8Array(10_000));
    await socket.closeWrite();
    let total = 0;
    const read = async () => {
      for await (const chunk of accepted.readable) total += chunk.length;
    };
    await until(lab, read());
    assert.equal(total, 10_000);
  });
});
