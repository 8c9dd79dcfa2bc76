/** Prefix translation (RFC 6296): the RFC's own example, a slow reading of §3 beside it, and what passes through a router that does it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { networkOf } from "../src/base/ip-address.ts";
import { IpAddress, Lab } from "../src/index.ts";
import { Router, type RouterConfig } from "../src/router/index.ts";
import { until } from "./nat-rig.ts";
import { SEED } from "./support.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const wordsOf = (address: IpAddress) => Array.from({ length: 8 }, (_, i) => (address.bytes()[2 * i] << 8) | address.bytes()[2 * i + 1]);

/** §3.1 to §3.5 in words, with numbers that never overflow: undefined for what has no other address. */
function slow(address: IpAddress, from: IpAddress, to: IpAddress, length: number): IpAddress | undefined {
  const sum = (words: number[]) => words.reduce((a, b) => a + b, 0) % 0xffff;
  const adjustment = (((sum(wordsOf(from)) - sum(wordsOf(to))) % 0xffff) + 0xffff) % 0xffff;
  const words = wordsOf(address);
  const at = length <= 48 ? (words[3] === 0xffff ? -1 : 3) : words.findIndex((word, i) => i >= 4 && word !== 0xffff);
  if (at < 0) return undefined;
  const host = wordsOf(address).map((word, i) => {
    const bits = Math.min(Math.max(length - 16 * i, 0), 16);
    const mask = (0xffff << (16 - bits)) & 0xffff;
    return (word & ~mask & 0xffff) | (wordsOf(to)[i] & mask);
  });
  host[at] = (host[at] + adjustment) % 0xffff;
  return IpAddress.fromBytes(Uint8Array.from(host.flatMap((word) => [word >>> 8, word & 255])));
}

const CONFIG = (inside: string, outside: string, client: string, more: Partial<RouterConfig> = {}): RouterConfig => ({
  interfaces: [
    { name: "wan", addresses: ["2001:db8:ffff::1/64"] },
    { name: "lan", addresses: [client.replace(/[0-9a-f]+$/, "1")].map((each) => `${each}/64`) },
  ],
  nptv6: [{ inside, outside, interface: "wan" }],
  ...more,
});

async function world(inside: string, outside: string, clientAddress: string, more: Partial<RouterConfig> = {}) {
  const lab = await Lab.create({ seed: SEED, interfaces: 8, memory: { flows: 1024, filterBytes: 8 << 20 } });
  const config = CONFIG(inside, outside, clientAddress, more);
  const gateway = config.interfaces[1].addresses?.[0].split("/")[0] as string;
  const client = await lab.host({ interfaces: [{ addresses: [`${clientAddress}/64`], gateway }] });
  const server = await lab.host({ interfaces: [{ addresses: ["2001:db8:ffff::2/64"] }] });
  server.addRoute({ to: outside, via: "2001:db8:ffff::1" });
  const router = await Router.create(config, {
    engine: lab.engine,
    ports: { wan: lab.engine.port(6), lan: lab.engine.port(7) },
    seed: SEED,
  });
  lab.link(client, router.host, {}, ["eth0", "lan"]);
  lab.link(server, router.host, {}, ["eth0", "wan"]);
  await lab.run(3000);
  return { lab, client, server, router, config };
}
const INSIDE = "fd01:203:405::/48";
const OUTSIDE = "2001:db8:1::/48";
const CLIENT = "fd01:203:405:1::1234";

describe("prefix translation", () => {
  it("is that of the RFC's example (§3.4)", async () => {
    const { lab, client, server } = await world(INSIDE, OUTSIDE, CLIENT);
    const inbox = server.datagram({ port: 7 });
    client.datagram({ port: 5000 }).send(bytes("x"), { address: "2001:db8:ffff::2", port: 7 });
    await lab.run(50);
    assert.equal(inbox.tryReceive()?.address, "2001:db8:1:d550::1234");
  });

  it("lets both sides begin: TCP, UDP, large datagrams and pings, with right checksums", async () => {
    const { lab, client, server } = await world(INSIDE, OUTSIDE, CLIENT);
    const outer = "2001:db8:1:d550::1234";
    for (const [from, to, hostname] of [
      [client, server, "2001:db8:ffff::2"],
      [server, client, outer],
    ] as const) {
      const listener = to.listen({ port: 80 });
      const [accepted, socket] = await until(lab, Promise.all([listener.accept(), from.connect({ hostname, port: 80 })]));
      await socket.write(new Uint8Array(50_000).map((_, i) => i));
      await socket.closeWrite();
      let total = 0;
      const read = async () => {
        for await (const chunk of accepted.readable) total += chunk.length;
      };
      await until(lab, read());
      assert.equal(total, 50_000);
      listener.close();
      const inbox = to.datagram({ port: 9 });
      from.datagram().send(new Uint8Array(9000), { address: hostname, port: 9 });
      await lab.run(100);
      assert.equal(inbox.tryReceive()?.data.length, 9000, "in fragments");
      inbox.close();
      assert.equal((await until(lab, from.ping(hostname))).from, hostname);
    }
    for (const host of [client, server]) {
      assert.equal(host.ip.counters.in_header_errors ?? 0, 0);
      assert.equal(host.engine.counters().drops.l4_bad_checksum ?? 0, 0);
    }
  });

  it("translates what errors cite, both ways", async () => {
    const { lab, client, server } = await world(INSIDE, OUTSIDE, CLIENT);
    for (const [from, address] of [
      [client, "2001:db8:ffff::2"],
      [server, "2001:db8:1:d550::1234"],
    ] as const) {
      const socket = from.datagram();
      socket.connect({ address, port: 9 });
      socket.send(bytes("?"));
      await lab.run(100);
      assert.throws(() => socket.send(bytes("?")), { code: "ECONNREFUSED" });
    }
  });

  it("turns round what goes to an outer address from inside (§2.4)", async () => {
    const { lab, client, server } = await world(INSIDE, OUTSIDE, CLIENT);
    client.addAddress("eth0", "fd01:203:405:1::99/64");
    await lab.run(3000);
    const [one, other] = [CLIENT, "fd01:203:405:1::99"].map((hostname) => client.datagram({ hostname, port: 5000 }));
    one.send(bytes("hello"), { address: "2001:db8:1:d550::99", port: 5000 });
    await lab.run(50);
    const got = other.tryReceive();
    assert.equal(got?.address, "2001:db8:1:d550::1234");
    other.send(bytes("back"), { address: got?.address as string, port: 5000 });
    await lab.run(50);
    assert.equal(one.tryReceive()?.address, "2001:db8:1:d550::99");
    assert.equal(server.ip.counters.in_header_errors ?? 0, 0);
  });

  it("drops by name what has no address in the other prefix (§3.7)", async () => {
    const { lab, client, server, router } = await world(INSIDE, OUTSIDE, "fd01:203:405:ffff::1234");
    const inbox = server.datagram({ port: 7 });
    client.datagram().send(bytes("x"), { address: "2001:db8:ffff::2", port: 7 });
    await lab.run(50);
    assert.equal(inbox.tryReceive(), undefined);
    assert.equal(router.host.engine.counters().drops.npt_unmappable, 1);
  });

  it("goes along with tracking and rules, which see inner addresses alone", async () => {
    const ruleset = `table inet f {
      chain through { type filter hook forward priority filter; policy drop
        ct state established,related accept
        ip6 saddr ${CLIENT} accept
      }
    }`;
    const { lab, client, server, router } = await world(INSIDE, OUTSIDE, CLIENT, { ruleset });
    const inbox = server.datagram({ port: 7 });
    const socket = client.datagram({ port: 5000 });
    socket.send(bytes("x"), { address: "2001:db8:ffff::2", port: 7 });
    await lab.run(50);
    inbox.send(bytes("y"), { address: inbox.tryReceive()?.address as string, port: 5000 });
    await lab.run(50);
    assert.equal(socket.tryReceive()?.data.length, 1);
    const [flow] = [...router.host.conntrack.list({ protocol: "udp" })];
    assert.equal(String(flow.original.src), CLIENT);
    assert.ok(flow.isReplied);
  });

  it("is what a slow reading says, for prefixes of every length, and comes back to what it was", async () => {
    const { lab, client, server, router } = await world("fd00::/8", "2000::/8", "fd01:203:405:1::1234", { nptv6: [] });
    const inbox = server.datagram({ port: 7 });
    server.addRoute({ to: "::/1", via: "2001:db8:ffff::1" });
    const half = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    await fc.assert(
      fc.asyncProperty(half, half, fc.integer({ min: 8, max: 64 }), half, async (a, b, length, low) => {
        // Words of all ones now and then, where they matter.
        const ends = low % 3n === 0n ? low | 0xffff000000000000n : low;
        const address = IpAddress.v6((a & 0x00ffffffffffffffn) | 0xfd00000000000000n, ends || 1n);
        const inside = networkOf(address, length);
        const outside = networkOf(IpAddress.v6((b & 0x00ffffffffffffffn) | 0x2600000000000000n, 0n), length);
        router.host.network?.translatePrefixes([{ inside, outside, length, port: router.host.ip.interface("wan").port }]);
        client.addAddress("eth0", `${address}/128`);
        router.host.addRoute({ to: `${address}/128`, via: "fd01:203:405:1::1234", interface: "lan" });
        await lab.run(2);
        const socket = client.datagram({ hostname: String(address), port: 5000 });
        socket.send(bytes("x"), { address: "2001:db8:ffff::2", port: 7 });
        await lab.run(10);
        const got = inbox.tryReceive();
        const expected = slow(address, inside, outside, length);
        assert.equal(got?.address, expected && String(expected));
        if (got) {
          inbox.send(bytes("y"), { address: got.address, port: got.port });
          await lab.run(10);
          assert.equal(socket.tryReceive()?.data.length, 1, `${address}/${length} ${outside}`);
        }
        socket.close();
        router.host.removeRoute(`${address}/128`);
        client.removeAddress("eth0", `${address}/128`);
      }),
      { seed: SEED, numRuns: 100 },
    );
  });
});
