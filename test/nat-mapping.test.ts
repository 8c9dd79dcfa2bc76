/**
 * Endpoint-independent mapping and the three kinds of filtering, tested as RFC 5780 has a client find them out: from one inner
 * port to several far ends, and from far ends that it has not talked to.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as abi from "../assembly/abi.ts";
import type { Host } from "../src/host/index.ts";
import { IpAddress } from "../src/index.ts";
import { mappingText } from "../src/track/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { lanAndServer, until } from "./nat-rig.ts";
import { SEED } from "./support.ts";

const rules = (how: string, more = "") => `table inet nat {
  chain out { type nat hook postrouting priority srcnat
    ${more}
    oifname "wan" masquerade ${how}
  }
  chain through { type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "lan" accept
    ct status dnat accept
  }
}`;
const bytes = (words: string) => new TextEncoder().encode(words);
const sources = (socket: ReturnType<Host["datagram"]>) => {
  const seen: string[] = [];
  socket.tryReceiveMany((_data, { address, port }) => seen.push(`${address}:${port}`));
  return seen;
};

async function world(how: string, more = "") {
  const made = await lanAndServer(rules(how, more));
  made.server.addAddress("eth0", "192.0.2.3/24");
  made.server.addAddress("eth0", "2001:db8::3/64");
  await made.lab.run(3000);
  return made;
}

/** What far ends see of one inner port, and which of them reach it unasked. */
async function behaviour(how: string, [one, other]: readonly [string, string]) {
  const { lab, client, router, server } = await world(how);
  const inner = client.datagram({ port: 5000 });
  const far = {
    asked: server.datagram({ hostname: one, port: 7 }),
    otherPort: server.datagram({ hostname: one, port: 8 }),
    otherHost: server.datagram({ hostname: other, port: 7 }),
  };
  inner.send(bytes("a"), { address: one, port: 7 });
  await lab.run(50);
  const [seen] = sources(far.asked);
  const port = Number(seen.slice(seen.lastIndexOf(":") + 1));
  const outer = { address: one.includes(":") ? "2001:db8::1" : "192.0.2.1", port };
  const reaches: string[] = [];
  for (const [name, socket] of Object.entries(far)) {
    socket.send(bytes(name), outer);
    await lab.run(50);
    inner.tryReceiveMany((data) => reaches.push(new TextDecoder().decode(data)));
  }
  inner.send(bytes("b"), { address: other, port: 7 });
  await lab.run(50);
  const [again] = sources(far.otherHost);
  return { isSame: again.endsWith(`:${port}`), reaches, router, lab, client, server };
}

describe("NAT's mapping and filtering (RFC 4787)", () => {
  const families = [
    ["IPv4", ["192.0.2.2", "192.0.2.3"]],
    ["IPv6", ["2001:db8::2", "2001:db8::3"]],
  ] as const;
  for (const [family, far] of families) {
    for (const [how, reaches] of [
      ["full-cone", ["asked", "otherPort", "otherHost"]],
      ["restricted-cone", ["asked", "otherPort"]],
      ["port-restricted-cone", ["asked"]],
      ["", ["asked"]],
    ] as const)
      it(`${family}: ${how || "endpoint-dependent"} lets in ${reaches.join(", ")}`, async () => {
        const found = await behaviour(how, far);
        assert.deepEqual(found.reaches, reaches);
        // What a cone keeps out is nobody else's either.
        const kept = found.router.engine.counters().drops.nat_filtered ?? 0;
        assert.equal(kept, how ? 3 - reaches.length : 0);
        if (how) assert.ok(found.isSame, "the second far end sees another port");
      });
  }

  it("gives one inner port one outer port when another client has the one it would keep", async () => {
    const { lab, client, router, server } = await world("fully-random,port-restricted-cone");
    const inbox = [server.datagram({ hostname: "192.0.2.2", port: 7 }), server.datagram({ hostname: "192.0.2.3", port: 7 })];
    const socket = client.datagram({ port: 5000 });
    for (const address of ["192.0.2.2", "192.0.2.3"]) socket.send(bytes("x"), { address, port: 7 });
    await lab.run(50);
    const [[one], [two]] = inbox.map(sources);
    assert.equal(one, two);
    assert.notEqual(one, "192.0.2.1:5000");
    const [mapping] = [...router.conntrack.mappings.list()];
    assert.equal(mapping.flows, 2);
    assert.equal(String(mapping.inner.address), "10.0.0.2");
    assert.equal(`192.0.2.1:${mapping.outer.port}`, one);
    assert.match(mappingText(mapping), /^udp {6}17 \d+ src=10\.0\.0\.2 sport=5000 dst=192\.0\.2\.1 dport=\d+ port-restricted-cone use=2$/);
    assert.equal([...router.conntrack.list()].length, 2);
    assert.equal(router.conntrack.count, 2);
  });

  it("takes no port of the router's own sockets, which would hear nothing any more", async () => {
    const { lab, client, router, server } = await world("full-cone");
    const inbox = server.datagram({ port: 7 });
    const service = router.datagram({ port: 5353 });
    const listener = router.listen({ port: 2222 });
    const socket = client.datagram({ port: 5353 });
    socket.send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    const [mapping] = [...router.conntrack.mappings.list()];
    assert.notEqual(mapping.outer.port, 5353);
    assert.equal(inbox.tryReceive()?.port, mapping.outer.port);
    server.datagram({ port: 8 }).send(bytes("to the router"), { address: "192.0.2.1", port: 5353 });
    await lab.run(50);
    assert.ok(service.tryReceive());
    assert.equal(socket.tryReceive(), undefined);
    const far = server.listen({ port: 80 });
    const [accepted] = await until(lab, Promise.all([far.accept(), client.connect({ hostname: "192.0.2.2", port: 80, localPort: 2222 })]));
    assert.notEqual(accepted.remoteAddress.port, 2222);
    const [own] = await until(lab, Promise.all([listener.accept(), server.connect({ hostname: "192.0.2.1", port: 2222 })]));
    assert.equal(own.localAddress.port, 2222);
    // What the service sends itself leaves by its own port.
    service.send(bytes("y"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    assert.equal(inbox.tryReceive()?.port, 5353);
    // And when it is gone the port is anybody's.
    router.datagram({ port: 5500 }).close();
    client.datagram({ port: 5500 }).send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    assert.equal(inbox.tryReceive()?.port, 5500);
  });

  it("leaves nothing of a restricted cone whose mapping was ended by name, or became another's kind", async () => {
    for (const change of ["end", "mark"]) {
      const { lab, client, router, server } = await world("restricted-cone");
      const inbox = server.datagram({ hostname: "192.0.2.2", port: 7 });
      client.datagram({ port: 5000 }).send(bytes("x"), { address: "192.0.2.2", port: 7 });
      await lab.run(50);
      assert.ok(inbox.tryReceive());
      const [{ id, protocol, inner, outer }] = [...router.conntrack.mappings.list()];
      if (change === "end") router.conntrack.mappings.remove(id);
      else assert.ok(router.conntrack.mappings.add({ protocol, inner, outer, lifetimeMs: 1000 }));
      // What a flow held lives on for two minutes from when its end is noticed.
      for (let i = 0; i < 3; i++) await lab.run(200_000);
      const { memory } = router.engine;
      assert.equal(router.conntrack.count, 0);
      assert.equal(memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_MAPPINGS), 0, change);
    }
  });

  it("keeps a mapping two minutes beyond its last flow, and no longer", async () => {
    const { lab, client, router, server } = await world("full-cone");
    const inbox = server.datagram({ hostname: "192.0.2.2", port: 7 });
    client.datagram({ port: 5000 }).send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    assert.equal(sources(inbox).length, 1);
    const live = () => [...router.conntrack.mappings.list()].length;
    await lab.run(40_000);
    assert.equal(router.conntrack.count, 0, "a flow of one datagram lives 30 seconds");
    await lab.run(100_000);
    assert.equal(live(), 1);
    await lab.run(30_000);
    assert.equal(live(), 0);
    auditFlows(router.engine);
  });

  it("lives as long as a connection that uses it", async () => {
    const { lab, client, router, server } = await world("full-cone");
    const listener = server.listen({ port: 7 });
    const [, socket] = await until(lab, Promise.all([listener.accept(), client.connect({ hostname: "192.0.2.2", port: 7 })]));
    await until(lab, socket.opened);
    await lab.run(600_000);
    const [mapping] = [...router.conntrack.mappings.list()];
    assert.equal(mapping.flows, 1);
    router.conntrack.flush();
    assert.equal([...router.conntrack.mappings.list()][0].flows, 0);
    await lab.run(130_000);
    assert.deepEqual([...router.conntrack.mappings.list()], []);
  });

  it("turns round what one client sends to another's outer end, under an outer end too (REQ-9)", async () => {
    const { lab, client, server } = await world(
      "full-cone",
      'ct status dnat ip saddr 10.0.0.0/24 oifname "lan" snat to 192.0.2.1 full-cone',
    );
    client.addAddress("eth0", "10.0.0.3/24");
    await lab.run(3000);
    const one = client.datagram({ hostname: "10.0.0.2", port: 5000 });
    const other = client.datagram({ hostname: "10.0.0.3", port: 6000 });
    const inbox = server.datagram({ hostname: "192.0.2.2", port: 7 });
    for (const each of [one, other]) each.send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    const [first, second] = sources(inbox);
    one.send(bytes("hello"), { address: "192.0.2.1", port: Number(second.split(":")[1]) });
    await lab.run(50);
    assert.deepEqual(sources(other), [first]);
    other.send(bytes("hello"), { address: "192.0.2.1", port: Number(first.split(":")[1]) });
    await lab.run(50);
    assert.deepEqual(sources(one), [second]);
  });

  it("gives way to rules that forward a port, and goes with its address", async () => {
    const { lab, client, router, server } = await lanAndServer(
      `${rules("full-cone")}\ntable ip inner { chain in { type nat hook prerouting priority dstnat\nudp dport 5000 dnat to 10.0.0.2:53\n}\n}`,
    );
    const [inner, service] = [client.datagram({ port: 5000 }), client.datagram({ port: 53 })];
    const far = server.datagram({ port: 9 });
    inner.send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    far.send(bytes("x"), { address: "192.0.2.1", port: 5000 });
    await lab.run(50);
    assert.deepEqual([sources(inner).length, sources(service).length], [0, 1]);
    router.removeAddress("wan", "192.0.2.1/24");
    assert.deepEqual([...router.conntrack.mappings.list()], []);
    auditFlows(router.engine);
  });

  it("is never taken for a flow: packets of nobody's address and port find none", async () => {
    const { lab, client, router, server } = await world("full-cone");
    client.datagram({ port: 5000 }).send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    const [{ id }] = [...router.conntrack.mappings.list()];
    assert.ok(![...router.conntrack.list()].some((flow) => flow.id === id));
    assert.equal(server.ip.counters.in_header_errors ?? 0, 0);
  });

  it("is made and ended by name", async () => {
    const { lab, client, router, server } = await world("");
    const { mappings } = router.conntrack;
    const inner = { address: IpAddress.parse("10.0.0.2"), port: 80 };
    const outer = { address: IpAddress.parse("192.0.2.1"), port: 8080 };
    const made = mappings.add({ protocol: 17, inner, outer, lifetimeMs: 10_000 });
    assert.ok(made?.isExplicit);
    assert.equal(mappings.add({ protocol: 17, inner: { ...inner, port: 81 }, outer, lifetimeMs: 10_000 }), undefined, "taken");
    const second = mappings.add({ protocol: 17, inner, outer: { ...outer, port: 81 }, lifetimeMs: 10_000 });
    assert.ok(second && second.id !== made.id, "another outer end for the same inner one");
    assert.equal(mappings.of(17, inner)?.id, made.id);
    assert.equal(mappings.behind(17, outer)?.id, made.id);
    assert.equal(mappings.of(6, inner), undefined);
    const socket = client.datagram({ port: 80 });
    const far = server.datagram({ hostname: "192.0.2.3", port: 9 });
    far.send(bytes("in"), { address: "192.0.2.1", port: 8080 });
    await lab.run(50);
    server.datagram({ hostname: "192.0.2.3", port: 10 }).send(bytes("in"), { address: "192.0.2.1", port: 81 });
    await lab.run(50);
    assert.deepEqual(sources(socket), ["192.0.2.3:9", "192.0.2.3:10"]);
    // And what the inner end begins leaves by it.
    const other = server.datagram({ hostname: "192.0.2.2", port: 9 });
    socket.send(bytes("out"), { address: "192.0.2.2", port: 9 });
    await lab.run(50);
    assert.deepEqual(sources(other), ["192.0.2.1:8080"]);
    // Renewed, it lives on; not renewed it ends, whatever uses it.
    await lab.run(8000);
    assert.ok(mappings.add({ protocol: 17, inner, outer, lifetimeMs: 10_000 }));
    await lab.run(8000);
    assert.ok(mappings.of(17, inner));
    await lab.run(3000);
    assert.equal(mappings.of(17, inner), undefined);
    const again = mappings.add({ protocol: 17, inner, outer, lifetimeMs: 10_000 });
    assert.ok(again && mappings.remove(again.id));
    assert.equal(mappings.of(17, inner), undefined);
    assert.throws(() => mappings.add({ protocol: 17, inner, outer, lifetimeMs: 0 }), /lifetime is 0/);
    auditFlows(router.engine);
  });

  it("makes room in a full table: mappings without flows go first", async () => {
    const { lab, client, router, server } = await world("full-cone");
    const inbox = server.datagram({ hostname: "192.0.2.2", port: 7 });
    router.conntrack.configure({ timeouts: { udp: 1 } });
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 900; i++) {
        const socket = client.datagram({ port: 10_000 + 900 * round + i });
        socket.send(bytes("x"), { address: "192.0.2.2", port: 7 });
        socket.close();
        if (i % 60 === 59) await lab.run(5);
      }
      await lab.run(1500);
      sources(inbox);
    }
    const probe = client.datagram({ port: 9999 });
    probe.send(bytes("x"), { address: "192.0.2.2", port: 7 });
    await lab.run(50);
    assert.equal(sources(inbox).length, 1, "a newcomer found no place");
    auditFlows(router.engine);
  });

  it("keeps its promise whatever is sent, in whatever order", async () => {
    const { lab, client, server } = await world("fully-random,full-cone");
    client.addAddress("eth0", "10.0.0.3/24");
    await lab.run(3000);
    const inners = ["10.0.0.2", "10.0.0.3"].flatMap((hostname) => [5000, 5001, 600].map((port) => client.datagram({ hostname, port })));
    const fars = ["192.0.2.2", "192.0.2.3"].flatMap((hostname) => [7, 8].map((port) => server.datagram({ hostname, port })));
    const known = new Map<number, string>();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(5), fc.nat(3)), { minLength: 1, maxLength: 12 }), async (sends) => {
        for (const [from, to] of sends) {
          const { address, port } = fars[to].address;
          inners[from].send(bytes(String(from)), { address, port });
          await lab.run(5);
          const seen: string[] = [];
          fars[to].tryReceiveMany((_data, source) => seen.push(`${source.address}:${source.port}`));
          assert.equal(seen.length, 1);
          assert.equal(known.get(from) ?? seen[0], seen[0], "an inner end is seen as two");
          known.set(from, seen[0]);
        }
        assert.equal(new Set(known.values()).size, known.size, "two inner ends are seen as one");
      }),
      { seed: SEED, numRuns: 30 },
    );
  });
});

describe("words for cones", () => {
  for (const [text, wrong] of [
    ["oifname wan masquerade full-cone,restricted-cone", /expected one kind of cone/],
    ["iifname wan redirect full-cone", /a cone is of sources: redirect has none/],
  ] as const)
    it(`refuses ${text}`, async () => {
      const { router } = await lanAndServer("");
      const hook = text.includes("redirect") ? "prerouting priority dstnat" : "postrouting priority srcnat";
      assert.throws(() => router.firewall.apply(`table ip t { chain c { type nat hook ${hook}; ${text}\n}\n}`), wrong);
    });

  it("lists what was said", async () => {
    const { router } = await lanAndServer(rules("random,restricted-cone"));
    assert.match(router.firewall.list(), /masquerade random,restricted-cone/);
  });
});
