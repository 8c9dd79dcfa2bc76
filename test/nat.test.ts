/** A router with rules between two hosts: NAT of both families, port forwards, errors from behind it, fragments, what is rejected. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { Network } from "../src/engine/network.ts";
import type { Host } from "../src/host/index.ts";
import { Lab } from "../src/lab/index.ts";
import { expectationText, type FlowFilter, flowText } from "../src/track/index.ts";
import { helperRules, lanAndServer, until } from "./nat-rig.ts";

const NAT = `
table inet nat {
  chain in {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" tcp dport 8080 dnat ip to 10.0.0.2:80
    iifname "wan" udp dport 5353 dnat ip to 10.0.0.2:53
  }
  chain out {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" masquerade
  }
}`;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (words: string) => new TextEncoder().encode(words);

async function talk(lab: Lab, from: Host, to: { hostname: string; port: number }, at: Host, port: number) {
  const listener = at.listen({ port });
  const [accepted, socket] = await until(lab, Promise.all([listener.accept(), from.connect(to)]));
  const writer = socket.writable.getWriter();
  await until(lab, writer.write(bytes("over there")));
  await until(lab, writer.close());
  let got = "";
  const read = async () => {
    for await (const chunk of accepted.readable) got += text(chunk);
  };
  await until(lab, read());
  listener.close();
  return { got, remote: JSON.stringify((await accepted.opened).remoteAddress) };
}

describe("a router with NAT", () => {
  for (const [family, hostname, outside] of [
    ["IPv4", "192.0.2.2", "192.0.2.1"],
    ["IPv6", "2001:db8::2", "2001:db8::1"],
  ]) {
    it(`masquerades ${family}: the server sees the router`, async () => {
      const { lab, client, router, server } = await lanAndServer(NAT);
      const { got, remote } = await talk(lab, client, { hostname, port: 7 }, server, 7);
      assert.equal(got, "over there");
      assert.ok(remote.includes(outside), remote);
      const [flow] = [...router.conntrack.list({ protocol: "tcp" })];
      assert.ok(flow.isReplied, flowText(flow));
      assert.equal(String(flow.reply.dst), outside);
      const count = (filter: FlowFilter) => [...router.conntrack.list({ protocol: "tcp", ...filter })].length;
      assert.deepEqual(
        [{ srcNat: true }, { srcNat: outside }, { anyNat: true }, { srcNat: hostname }, { dstNat: true }].map((each) =>
          count(each as FlowFilter),
        ),
        [1, 1, 1, 0, 0],
      );
    });
  }

  it("forwards a port, and the client sees the router's address answer", async () => {
    const { lab, client, router, server } = await lanAndServer(NAT);
    const { got, remote } = await talk(lab, server, { hostname: "192.0.2.1", port: 8080 }, client, 80);
    assert.equal(got, "over there");
    assert.ok(remote.includes("192.0.2.2"), remote);
    assert.equal([...router.conntrack.list({ dport: 8080 })].length, 1);
  });

  it("forwards to addresses and ports of a range, which a map names", async () => {
    const rules = `table ip nat {
      map inside { type inet_service : interval ipv4_addr . inet_service; elements = { 8080 : 10.0.0.2-10.0.0.3 . 80-81 } }
      chain in { type nat hook prerouting priority dstnat; iifname "wan" dnat ip to tcp dport map @inside
      }
    }`;
    const { lab, router, server } = await lanAndServer(rules);
    for (let i = 0; i < 8; i++) server.connect({ hostname: "192.0.2.1", port: 8080 }).catch(() => {});
    await lab.run(20);
    const flows = [...router.conntrack.list({ dport: 8080 })];
    assert.equal(flows.length, 8);
    // By its source an address has one of the range, and the first of the ports, which are free (Linux's nf_nat_core.c).
    const [first] = flows.map(({ reply }) => `${reply.src}`);
    assert.match(first, /^10\.0\.0\.[23]$/);
    for (const { reply } of flows) assert.equal(`${reply.src}:${reply.sport}`, `${first}:80`);
  });

  it("opens a port to who knocks at others in their order", async () => {
    const rules = `table ip guard {
      set knocked { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 10s; }
      chain in {
        type filter hook input priority 0; policy accept;
        tcp dport 1111 add @knocked { ip saddr . 2222 } drop
        ip saddr . tcp dport @knocked tcp dport 2222 add @knocked { ip saddr . 22 } drop
        ip saddr . tcp dport @knocked tcp dport 22 accept
        tcp dport 22 drop
      }
    }`;
    const { lab, client, router } = await lanAndServer(rules);
    router.listen({ port: 22 });
    const opens = async (port: number) => {
      let isOpen = false;
      const stop = new AbortController();
      const attempt = client.connect({ hostname: "10.0.0.1", port, signal: stop.signal }).then(() => {
        isOpen = true;
      });
      attempt.catch(() => {});
      await lab.run(500);
      stop.abort();
      return isOpen;
    };
    assert.equal(await opens(22), false, "nobody knocked");
    await opens(2222);
    assert.equal(await opens(22), false, "the second knock alone opens nothing");
    await opens(1111);
    await opens(2222);
    assert.equal(await opens(22), true);
    await lab.run(11_000);
    assert.equal(await opens(22), false, "the door has closed");
  });

  it("translates pings and the errors that come back about a flow", async () => {
    const { lab, client, router, server } = await lanAndServer(NAT);
    const reply = await until(lab, client.ping("192.0.2.2"));
    assert.equal(String(reply.from), "192.0.2.2");
    // Nobody listens: the server's ICMP error must find its way to the socket.
    const socket = client.datagram();
    await socket.connect({ address: "192.0.2.2", port: 9 });
    socket.send(bytes("?"));
    await lab.run(100);
    assert.throws(() => socket.send(bytes("?")), { code: "ECONNREFUSED" });
    assert.ok(router.conntrack.count >= 2);
    assert.equal(server.ip.counters.out_requests > 0, true);
  });

  it("passes datagrams of many fragments, both ways", async () => {
    const { lab, client, router, server } = await lanAndServer(NAT);
    const inbox = server.datagram({ port: 4000 });
    const outbox = client.datagram({ port: 4001 });
    const large = new Uint8Array(5000).map((_, i) => i);
    outbox.send(large, { address: "192.0.2.2", port: 4000 });
    await lab.run(100);
    let from: { address: unknown; port: number } | undefined;
    inbox.tryReceiveMany((data, source) => {
      assert.deepEqual(data.slice(), large);
      from = { address: String(source.address), port: source.port };
    });
    assert.equal(from?.address, "192.0.2.1");
    inbox.send(large, { address: "192.0.2.1", port: from?.port as number });
    await lab.run(100);
    let back = 0;
    outbox.tryReceiveMany((data) => {
      back = data.length;
    });
    assert.equal(back, 5000);
    assert.equal(router.engine.counters().drops.nat_unwritable ?? 0, 0);
  });

  it("gives another port when the first is taken, and runs out by name", async () => {
    const { lab, client, router, server } = await lanAndServer(
      `table ip nat {
        chain out {
          type nat hook postrouting priority srcnat
          oifname "wan" ip protocol udp masquerade to :4000-4003
        }
      }`,
    );
    const inbox = server.datagram({ port: 7 });
    for (let i = 0; i < 6; i++) client.datagram({ port: 5000 + i }).send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(100);
    const ports: number[] = [];
    inbox.tryReceiveMany((_data, { port }) => ports.push(port));
    assert.deepEqual(ports.sort(), [4000, 4001, 4002, 4003]);
    assert.equal(router.engine.counters().drops.nat_exhausted, 2);
    assert.equal(router.conntrack.list({ protocol: "udp" }).next().done, false);
  });
});

describe("a router with rules", () => {
  it("rejects with a reset or an ICMP error, which the sender hears at once", async () => {
    const { lab, client, router } = await lanAndServer(`
      table inet f { chain through { type filter hook forward priority filter; policy accept;
        tcp dport 80 reject with tcp reset
        tcp dport 81 reject with icmpx admin-prohibited
      }
    }`);
    router.addRoute({ to: "0.0.0.0/0", via: "192.0.2.2" });
    for (const [port, code] of [
      [80, "ECONNREFUSED"],
      [81, "EHOSTUNREACH"],
    ] as const) {
      const began = lab.clock.now();
      await assert.rejects(until(lab, client.connect({ hostname: "192.0.2.2", port })), { code });
      assert.ok(lab.clock.now() - began < 500);
    }
  });

  it("lets in what answers and nothing else", async () => {
    const { lab, client, server } = await lanAndServer(`
      table inet f { chain through { type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan" ct state new accept
      }
    }`);
    server.addRoute({ to: "10.0.0.0/24", via: "192.0.2.1" });
    const { got } = await talk(lab, client, { hostname: "192.0.2.2", port: 7 }, server, 7);
    assert.equal(got, "over there");
    await assert.rejects(until(lab, server.ping("10.0.0.2", { timeout: 500 })));
  });

  it("guards the router itself, on its way in and out", async () => {
    const { lab, client, router } = await lanAndServer(`
      table inet f {
        chain in { type filter hook input priority filter; policy drop; ct state established accept; icmp type echo-request accept
          meta l4proto ipv6-icmp accept
        }
        chain out { type filter hook output priority filter; policy accept; ip daddr 10.0.0.2 udp dport 9 drop
        }
      }`);
    assert.equal(String((await until(lab, client.ping("10.0.0.1"))).from), "10.0.0.1");
    router.listen({ port: 22 });
    await assert.rejects(until(lab, client.connect({ hostname: "10.0.0.1", port: 22, signal: AbortSignal.timeout(50) })));
    const inbox = client.datagram({ port: 9 });
    router.datagram().send(bytes("no"), { address: "10.0.0.2", port: 9 });
    await lab.run(50);
    assert.equal(
      inbox.tryReceiveMany(() => {}),
      0,
    );
    assert.equal(router.ip.counters.out_filtered, 1);
  });

  it("keeps connections when rules are replaced under them, and refuses a faulty text as a whole", async () => {
    const { lab, client, router, server } = await lanAndServer(NAT);
    const listener = server.listen({ port: 7 });
    const [accepted, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: "192.0.2.2", port: 7 })]));
    const writer = socket.writable.getWriter();
    const reader = accepted.readable.getReader();
    for (let i = 0; i < 5; i++) {
      router.firewall.apply(`flush ruleset\n${NAT}`);
      assert.throws(() => router.firewall.apply("flush ruleset\ntable ip x { chain c { tcp dport nonsense drop } }"), { code: "EINVAL" });
      await until(lab, writer.write(bytes(`word ${i}`)));
      const { value } = await until(lab, reader.read());
      assert.equal(text(value as Uint8Array), `word ${i}`);
    }
  });

  it("logs what it is told to, with the words of the statement", async () => {
    const { lab, client, router } = await lanAndServer(
      `table ip f {
        chain through {
          type filter hook forward priority filter
          udp dport 9 log prefix "nine: " level warn drop
        }
      }`,
    );
    const seen: string[] = [];
    router.onLog(({ statement, in: from, out, packet }) => seen.push(`${statement.prefix}${from} ${out} ${packet.length}`));
    client.datagram().send(bytes("12345"), { address: "192.0.2.2", port: 9 });
    await lab.run(50);
    assert.deepEqual(seen, ["nine: lan wan 33"]);
  });

  it("expects TFTP's answers, which come from another port (RFC 1350)", async () => {
    const { lab, client, router, server } = await lanAndServer(helperRules("tftp", "udp", 69));
    const [asker, listener, transfer] = [client.datagram({ port: 2000 }), server.datagram({ port: 69 }), server.datagram({ port: 3000 })];
    asker.send(Uint8Array.of(0, 1, 97, 0, 111, 99, 116, 101, 116, 0), { address: "192.0.2.2", port: 69 });
    await lab.run(50);
    let port = 0;
    listener.tryReceiveMany((_data, from) => {
      port = from.port;
    });
    assert.notEqual(port, 0);
    assert.match(
      [...router.conntrack.expectations()].map(expectationText).join("\n"),
      /^\d+ proto=17 src=192\.0\.2\.2 dst=192\.0\.2\.1 sport=0 dport=\d+ mask-src=255\.255\.255\.255 mask-dst=255\.255\.255\.255 sport=0 dport=65535 master-src=10\.0\.0\.2 master-dst=192\.0\.2\.2 sport=2000 dport=69 class=0 helper=tftp$/,
    );
    transfer.send(Uint8Array.of(0, 3, 0, 1, 42), { address: "192.0.2.1", port });
    server.datagram({ port: 3001 }).send(bytes("nobody asked"), { address: "192.0.2.1", port: port + 1 });
    await lab.run(50);
    const heard: [number, number][] = [];
    asker.tryReceiveMany((data, from) => heard.push([from.port, data[4]]));
    assert.deepEqual(heard, [[3000, 42]]);
    assert.deepEqual([...router.conntrack.expectations()], [], "it has come");
    const related = [...router.conntrack.list({ sport: 3000 })];
    assert.deepEqual(
      related.map(({ status }) => status & abi.IPS_EXPECTED),
      [abi.IPS_EXPECTED],
    );
  });

  it("chains at ingress meet fragments as they came, not what is put together from them", async () => {
    const { lab, client, router, server } = await lanAndServer(`${NAT}
      table netdev n {
        chain in {
          type filter hook ingress device "lan" priority 0
          meta l4proto udp counter
          meta length > 1500 drop
        }
      }`);
    const heard = server.datagram({ port: 9 });
    client.datagram({ port: 2000 }).send(new Uint8Array(3000), { address: "192.0.2.2", port: 9 });
    await lab.run(100);
    let length = 0;
    heard.tryReceiveMany((data) => {
      length = data.length;
    });
    assert.equal(length, 3000);
    assert.match(router.firewall.list(), /meta l4proto udp counter packets 3 /);
  });

  it("ends flows that left under an address which is no longer there, and has room for every one of IPv6", async () => {
    const { lab, client, router } = await lanAndServer(NAT);
    router.addAddress("wan", "192.0.2.9/24");
    await until(lab, client.ping("192.0.2.2"));
    await until(lab, client.ping("2001:db8::2"));
    const outer = () => [...router.conntrack.list()].map(({ reply }) => `${reply.dst}`).filter((each) => !each.startsWith("fe80"));
    assert.deepEqual(outer().sort(), ["192.0.2.1", "2001:db8::1"]);
    router.removeAddress("wan", "192.0.2.1");
    assert.deepEqual(outer(), ["2001:db8::1"]);
    await until(lab, client.ping("192.0.2.2"));
    assert.ok(outer().includes("192.0.2.9"));
    assert.ok(router.engine.memory.layout.sizes.flowExtensions >= 4000);
  });

  it("keeps the connections of two routers on one engine apart", async () => {
    const { lab, client, router, server } = await lanAndServer(NAT);
    server.firewall.apply("table ip s {\n chain in {\n type filter hook input priority filter\n ct state new accept\n }\n}");
    await until(lab, client.ping("192.0.2.2"));
    const seen = (host: Host) => [...host.conntrack.list({ protocol: "icmp" })].map(({ original }) => String(original.src));
    assert.deepEqual([seen(router), seen(server)], [["10.0.0.2"], ["192.0.2.1"]]);
    server.conntrack.flush();
    assert.deepEqual([seen(router), seen(server)], [["10.0.0.2"], []]);
  });

  it("does not track on an engine without room for it, and says so", async () => {
    const lab = await Lab.create({ memory: { filterBytes: 8 << 20 } });
    const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const rule = (text: string) => `table ip t {\n chain c {\n type filter hook input priority 0\n ${text}\n }\n}`;
    host.firewall.apply(rule("tcp dport 22 drop"));
    assert.throws(() => host.firewall.apply(rule("ct state established accept")), { code: "ENOTSUP", message: /flows/ });
    assert.equal(host.firewall.spec.tables[0].chains[0].rules.length, 1);
    assert.throws(() => host.conntrack, { code: "ENOTSUP" });
  });

  it("tracks as long as anybody asks for it", async () => {
    const { router } = await lanAndServer("table ip nothing {\n}");
    const network = router.network as Network;
    const tracks = () =>
      (router.engine.memory.getU32(router.engine.memory.base(abi.REGION_NETNS) + network.index * abi.NETNS_SIZE) & abi.NETNS_TRACK) !== 0;
    assert.equal(tracks(), false);
    network.configure({ track: true });
    router.firewall.apply(`flush ruleset\n${NAT}`);
    router.firewall.apply("flush ruleset");
    assert.equal(tracks(), true, "a router that lists connections asked for it");
    network.configure({ track: false });
    assert.equal(tracks(), false);
  });
});
