/** DHCP with those who mean no good: messages that are too long, floods, servers whose word nobody can follow. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Dhcp4Server, Dhcp6Server, decodeDhcp4, decodeDhcp6, encodeDhcp4, encodeDhcp6, OPTION4, TYPE4, TYPE6 } from "../src/dhcp/index.ts";
import { Range6 } from "../src/dhcp/range6.ts";
import { EVERYBODY, LIMITED_BROADCAST, sendRaw } from "../src/host/dhcp-link.ts";
import { SERVERS6 } from "../src/host/dhcp6.ts";
import { IpAddress, Lab, Random, serveDhcp } from "../src/index.ts";
import { SEED } from "./support.ts";

const mac = (n: number) => Uint8Array.of(2, 0, n >> 24, n >> 16, n >> 8, n);
const discover = (n: number, options: [number, Uint8Array][] = [], fields = {}) =>
  encodeDhcp4({ op: 1, xid: n, chaddr: mac(n), options: new Map([[OPTION4.type, Uint8Array.of(TYPE4.DISCOVER)], ...options]), ...fields });

function server4(more: Partial<ConstructorParameters<typeof Dhcp4Server>[0]> = {}) {
  let now = 0;
  const sent: Uint8Array[] = [];
  const server = new Dhcp4Server({
    address: "10.0.0.1",
    pools: [{ subnet: "10.0.0.0/8", range: ["10.1.0.0", "10.1.255.255"], domain: "x".repeat(200), search: ["y".repeat(60)] }],
    alarms: { now: () => now, after: () => () => {} },
    reply: (bytes) => void sent.push(bytes),
    ...more,
  });
  const say = async (bytes: Uint8Array) => {
    server.receive(bytes);
    await new Promise((resolve) => setImmediate(resolve));
    return sent.splice(0).pop();
  };
  return { server, say, pass: (ms: number) => (now += ms) };
}

describe("a DHCPv4 server", () => {
  it("does not repeat what is longer than an option", async () => {
    const { say, server } = server4();
    for (const code of [OPTION4.clientId, OPTION4.relay]) {
      assert.equal(await say(discover(1, [[code, new Uint8Array(60_000)]])), undefined);
      assert.ok(await say(discover(1, [[code, new Uint8Array(255)]])));
    }
    assert.equal(server.counters.ignored, 2);
  });

  it("says what a client has room for, the most wanted first", async () => {
    const wanted: [number, Uint8Array] = [OPTION4.parameters, Uint8Array.of(OPTION4.search, OPTION4.domain)];
    const relay: [number, Uint8Array] = [OPTION4.relay, new Uint8Array(200)];
    const size = (n: number): [number, Uint8Array] => [OPTION4.maxSize, Uint8Array.of(n >> 8, n)];
    for (const [options, mtu, most, whole] of [
      [[], 1500, 576 - 28, false],
      [[size(68)], 1500, 576 - 28, false],
      [[size(1500)], 1500, 1500 - 28, true],
      [[size(65_535)], 600, 600 - 28, false],
    ] as [[number, Uint8Array][], number, number, boolean][]) {
      const reply = await server4({ mtu }).say(discover(1, [wanted, relay, ...options], { giaddr: "10.0.0.3" }));
      assert.ok(reply && reply.length <= most, `${reply?.length} bytes of ${most}`);
      const message = decodeDhcp4(reply);
      assert.deepEqual(
        [OPTION4.subnetMask, OPTION4.search, OPTION4.domain].map((code) => message.options.has(code)),
        [true, true, whole],
      );
    }
  });

  it("answers relays and clients of its own networks, and none elsewhere", async () => {
    const { say, server } = server4({ relays: ["192.0.2.7"] });
    const inform = (ciaddr: string) =>
      encodeDhcp4({ op: 1, xid: 1, chaddr: mac(1), ciaddr, options: new Map([[OPTION4.type, Uint8Array.of(TYPE4.INFORM)]]) });
    assert.equal(await say(discover(1, [[OPTION4.relay, Uint8Array.of(5, 4, 10, 0, 0, 0)]], { giaddr: "198.51.100.1" })), undefined);
    assert.equal(await say(inform("198.51.100.1")), undefined);
    assert.equal(server.counters.foreign, 2);
    assert.ok(await say(discover(1, [[OPTION4.relay, Uint8Array.of(5, 4, 10, 0, 0, 0)]], { giaddr: "192.0.2.7" })));
    assert.ok(await say(inform("10.3.3.3")));
  });

  it("knows at once that a pool is full, and who is the first to make room", async () => {
    const { say, pass, server } = server4({ pools: [{ subnet: "10.0.0.0/8", range: ["10.1.0.0", "10.1.31.255"] }] });
    for (let n = 0; n < 8191; n++) server.receive(discover(n));
    assert.ok(await say(discover(8191)));
    assert.equal(server.export().length, 8192);
    // Looking at every address for each of these would take minutes.
    for (let n = 0; n < 20_000; n++) server.receive(discover(100_000 + n));
    assert.equal(await say(discover(200_000)), undefined);
    assert.equal(server.counters.no_address, 20_001);
    pass(60_000);
    const offer = await say(discover(200_001));
    assert.equal(offer && decodeDhcp4(offer).yiaddr, "10.1.0.0");
    assert.equal(server.export().length, 8192);
  });

  it("gives an address to one client at a time, whatever comes", () => {
    const step = fc.tuple(fc.constantFrom("discover", "request", "release", "decline", "pass"), fc.nat(9), fc.nat(5));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { server, pass } = server4({ pools: [{ subnet: "10.0.0.0/24", range: ["10.0.0.10", "10.0.0.13"], leaseSeconds: 100 }] });
        for (const [what, client, last] of steps) {
          if (what === "pass") pass(last * 20_000);
          const address = Uint8Array.of(10, 0, 0, 10 + last);
          const type = { discover: 1, request: 3, release: 7, decline: 4, pass: 0 }[what];
          const options = new Map([
            [OPTION4.type, Uint8Array.of(type)],
            [OPTION4.requested, address],
            [OPTION4.serverId, Uint8Array.of(10, 0, 0, 1)],
          ]);
          const ciaddr = what === "release" ? address.join(".") : undefined;
          if (type) server.receive(encodeDhcp4({ op: 1, xid: 1, chaddr: mac(client), options, ciaddr }));
          const all = server.export();
          assert.equal(new Set(all.map((entry) => entry.address)).size, all.length);
          const clients = all.map((entry) => entry.client).filter(Boolean);
          assert.equal(new Set(clients).size, clients.length);
        }
        // When everything is over there is room for as many as there are addresses.
        pass(1e9);
        const before = server.counters.no_address;
        for (let n = 0; n < 5; n++) server.receive(discover(1000 + n));
        assert.equal(server.counters.no_address - before, 1);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("joins an option in many parts once", () => {
    const bytes = new Uint8Array(64_000).fill(0);
    bytes.set(discover(1).subarray(0, 240));
    for (let at = 240; at + 3 < bytes.length; at += 3) bytes.set([43, 1, at], at);
    bytes[bytes.length - 1] = 255;
    for (let i = 0; i < 100; i++) assert.equal(decodeDhcp4(bytes).options.get(43)?.length, Math.ceil((64_000 - 243) / 3));
  });

  it("survives a long identifier on a link, and answers the next client", async () => {
    const lab = await Lab.create({ seed: 1 });
    const server = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] });
    lab.link(client, server, { delay: 1 });
    const running = serveDhcp(server, { pools: [{ subnet: "10.0.0.0/24", range: ["10.0.0.100", "10.0.0.200"] }] });
    const socket = client.datagram({ port: 68 });
    // So that the fragments find the way.
    socket.send(new Uint8Array(1), { address: "10.0.0.1", port: 9 });
    await lab.run(100);
    socket.send(discover(1, [[OPTION4.clientId, new Uint8Array(60_000).fill(0x41)]], { giaddr: "10.0.0.2" }), {
      address: "10.0.0.1",
      port: 67,
    });
    await lab.run(100);
    assert.deepEqual([running.server.counters.ignored, running.server.counters.sent], [1, 0]);
    socket.send(discover(2, [], { giaddr: "10.0.0.2" }), { address: "10.0.0.1", port: 67 });
    await lab.run(100);
    assert.equal(running.server.counters.sent, 1);
    await lab.engine.close();
  });
});

describe("a DHCPv6 server", () => {
  const solicit = (n: number, count: number) =>
    encodeDhcp6({
      type: TYPE6.SOLICIT,
      xid: n & 0xffffff,
      clientId: Uint8Array.of(0, 3, 0, 1, ...mac(n)),
      rapidCommit: true,
      associations: Array.from({ length: count }, (_, iaid) => ({ kind: "na" as const, iaid, t1: 0, t2: 0, grants: [] })),
    });

  it("gives every address of a range, each once, and knows at once when none is left", () => {
    let now = 0;
    const alarms = { now: () => now, after: () => () => {} };
    const range = ["2001:db8::1000", "2001:db8::1f9f"] as const;
    const server = new Dhcp6Server({ duid: Uint8Array.of(0, 3, 0, 1, 1), alarms, random: new Random(1), range });
    for (let n = 0; n < 250; n++) server.receive(solicit(n, 16));
    assert.equal(new Set(server.export().map(({ address }) => address)).size, 4000);
    for (let n = 0; n < 500; n++) {
      const reply = decodeDhcp6(server.receive(solicit(1000 + n, 16)) as Uint8Array);
      assert.ok(reply.associations.every(({ grants }) => grants.length === 0));
    }
    now = 7_200_000;
    const reply = decodeDhcp6(server.receive(solicit(5000, 16)) as Uint8Array);
    assert.ok(reply.associations.every(({ grants }) => grants.length === 1));
  });

  it("marks pieces of a range taken and free again, in any order", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), fc.boolean()), { maxLength: 60 }), fc.nat(), (steps, seed) => {
        const range = Range6.of(["2001:db8::", "2001:db8::9"], 10);
        const random = new Random(seed);
        const taken = new Set<string>();
        for (const [n, isTaken] of steps) {
          const address = String(IpAddress.parse(`2001:db8::${n}`));
          range.mark(address, isTaken);
          if (isTaken) taken.add(address);
          else taken.delete(address);
          const chosen = range.choose(random, () => false);
          assert.equal(chosen === undefined, taken.size === 10);
          assert.ok(chosen === undefined || (!taken.has(chosen) && range.holds(chosen)));
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});

/** A host whose DHCPv4 server grants one address, whatever it is. */
async function grantedBy4(yiaddr: string, seconds = 3600) {
  const lab = await Lab.create({ seed: 1 });
  const server = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const client = await lab.host({ interfaces: [{ dhcp: "v4" }] });
  lab.link(server, client, { delay: 1 });
  const [iface] = server.ip.interfaces;
  const endpoint = server.udp.bind(undefined, 67);
  let heard = 0;
  endpoint.onEvent = () => {
    if (endpoint.closed) return;
    for (let each = endpoint.read(); each; each = endpoint.read()) {
      heard++;
      const { xid, chaddr, options } = decodeDhcp4(each.data);
      if (options.get(OPTION4.type)?.[0] === TYPE4.DECLINE) continue;
      const time = new Uint8Array(4);
      new DataView(time.buffer).setUint32(0, seconds);
      const answer = new Map([
        [OPTION4.type, Uint8Array.of(TYPE4.ACK)],
        [OPTION4.rapidCommit, new Uint8Array()],
        [OPTION4.serverId, Uint8Array.of(10, 0, 0, 1)],
        [OPTION4.leaseTime, time],
        [OPTION4.subnetMask, Uint8Array.of(255, 255, 255, 0)],
      ]);
      const bytes = encodeDhcp4({ op: 2, xid, chaddr, yiaddr, options: answer });
      sendRaw(server.ip, iface, EVERYBODY, IpAddress.parse("10.0.0.1"), LIMITED_BROADCAST, { from: 67, to: 68 }, bytes);
    }
  };
  const listeners = client.ip.addresses.listeners.size;
  return { lab, client, listeners, heard: () => heard };
}

/** A host whose DHCPv6 server grants one address with these lifetimes. */
async function grantedBy6(address: string, preferred = 3600, valid = 7200) {
  const lab = await Lab.create({ seed: 1 });
  const server = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
  const client = await lab.host({ interfaces: [{ dhcp: "v6" }] });
  lab.link(server, client, { delay: 1 });
  const [iface] = server.ip.interfaces;
  const endpoint = server.udp.bind(undefined, 547);
  endpoint.join(SERVERS6, { iface });
  let heard = 0;
  endpoint.onEvent = () => {
    if (endpoint.closed) return;
    for (let each = endpoint.read(); each; each = endpoint.read()) {
      heard++;
      const { type, xid, clientId, rapidCommit, associations } = decodeDhcp6(each.data);
      const reply = encodeDhcp6({
        type: type === TYPE6.SOLICIT && !rapidCommit ? TYPE6.ADVERTISE : TYPE6.REPLY,
        xid,
        clientId,
        serverId: Uint8Array.of(0, 3, 0, 1, 9, 9),
        rapidCommit,
        associations: associations.map((one) => ({ ...one, t1: 0, t2: 0, grants: [{ address, length: 128, preferred, valid }] })),
      });
      endpoint.send(reply, each.address, 546, { iface });
    }
  };
  const listeners = client.ip.addresses.listeners.size;
  return { lab, client, listeners, heard: () => heard };
}

const dynamic = (client: Awaited<ReturnType<typeof grantedBy4>>["client"]) =>
  client.ip.addresses
    .list()
    .filter(({ origin }) => origin === "dhcp")
    .map(({ address }) => String(address));

describe("a DHCP client", () => {
  it("takes no address that no interface can have, and leaves nothing behind", async () => {
    for (const bad of ["224.0.0.5", "127.0.0.1", "0.0.0.9", "255.255.255.255", "240.0.0.1", "10.0.0.0", "10.0.0.255"]) {
      const { lab, client, listeners } = await grantedBy4(bad);
      await lab.run(600_000);
      assert.deepEqual([dynamic(client), client.ip.addresses.listeners.size], [[], listeners], bad);
      await lab.engine.close();
    }
    for (const bad of ["ff02::5", "::1", "::", "fe80::5", "::ffff:10.0.0.5"]) {
      const { lab, client, listeners } = await grantedBy6(bad);
      await lab.run(600_000);
      assert.deepEqual([dynamic(client), client.ip.addresses.listeners.size], [[], listeners], bad);
      await lab.engine.close();
    }
    const good = await grantedBy4("10.0.0.77");
    await good.lab.run(10_000);
    assert.deepEqual(dynamic(good.client), ["10.0.0.77"]);
    await good.lab.engine.close();
  });

  it("rests between renewals, whatever a server says of times (RFC 8415 §14)", async () => {
    for (const [preferred, valid, most] of [
      [0, 3600, 30],
      [0xffffffff, 0xffffffff, 5],
      [1, 1, 620],
    ]) {
      const { lab, heard } = await grantedBy6("2001:db8::77", preferred, valid);
      await lab.run(600_000);
      assert.ok(heard() > 0 && heard() <= most, `${heard()} messages in ten minutes for ${preferred} and ${valid}`);
      await lab.engine.close();
    }
    const { lab, heard } = await grantedBy4("10.0.0.77", 1);
    await lab.run(600_000);
    assert.ok(heard() <= 620, `${heard()} messages in ten minutes`);
    await lab.engine.close();
  });
});
