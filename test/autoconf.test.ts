/** Addresses: lifetimes, duplicates, choice of source; routers' advertisements both ways, in virtual time and with the Linux kernel. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "../src/base/ip-address.ts";
import { Host, type InterfaceOptions } from "../src/host/host.ts";
import { Random } from "../src/index.ts";
import type { NetInterface, OwnAddress } from "../src/ip/interface.ts";
import { PolicyTable } from "../src/ip/policy-table.ts";
import { advertisementData, advertisementWord, parseAdvertisement, type RouterAdvertisement } from "../src/ip/router-messages.ts";
import { chooseSource, type Destination, orderDestinations } from "../src/ip/source-address.ts";
import { Lab } from "../src/lab/lab.ts";
import { tap } from "../src/link/tap.ts";
import { missing, Namespace, until, withFolder } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const HOUR = 3_600_000;

async function pair(first: InterfaceOptions, second: InterfaceOptions, forwarding = false) {
  const lab = await Lab.create({ seed: SEED });
  const a = await lab.host({ interfaces: [first] });
  const b = await lab.host({ forwarding, interfaces: [second] });
  const link = lab.link(a, b, { delay: 1 });
  return { lab, a, b, link };
}

const globals = (host: Host) => host.addresses().filter(({ scope, address: text }) => scope === "global" && text.includes(":"));

describe("addresses", () => {
  it("are deprecated, then gone, with their routes", async () => {
    const { lab, a } = await pair({ addresses: ["10.0.0.1/24"] }, { addresses: ["10.0.0.2/24"] });
    a.addAddress("eth0", "2001:db8::1/64");
    a.addAddress("eth0", "2001:db8::2/64", { preferredMs: 1000, validMs: 5000 });
    const flags = () => a.addresses().find((each) => each.address === "2001:db8::2")?.flags;
    assert.deepEqual(flags(), ["dynamic"]);
    await lab.run(2000);
    assert.deepEqual(flags(), ["dynamic", "deprecated"]);
    const path = a.ip.pathTo(address("2001:db8::99"));
    assert.equal(String(a.ip.sourceFor(address("2001:db8::2:99"), path)), "2001:db8::1");
    await lab.run(4000);
    assert.equal(flags(), undefined);
    assert.equal(a.ip.pathTo(address("2001:db8::2")).isLocal, false);
    assert.equal(a.ip.pathTo(address("2001:db8::1")).isLocal, true);
    assert.ok(a.ip.pathTo(address("2001:db8::99")).hop > 0, "the other address keeps the subnet");
    a.removeAddress("eth0", "2001:db8::1");
    assert.equal(a.ip.pathTo(address("2001:db8::99")).hop, 0);
    assert.throws(() => a.removeAddress("eth0", "2001:db8::1"), { code: "ENOENT" });
  });

  for (const [text, length] of [
    ["10.0.0.7", 24],
    ["2001:db8::7", 64],
  ] as const) {
    it(`${text} is not used when somebody has it, and is when nobody does`, async () => {
      const { lab, a, b } = await pair({ addresses: [`${text}/${length}`] }, { addresses: ["10.0.0.2/24", "2001:db8::2/64"] });
      b.addAddress("eth0", `${text}/${length}`, { probes: 3 });
      const state = (host: Host) => host.addresses().find((each) => each.address === text)?.flags;
      assert.deepEqual(state(b), ["permanent", "tentative"]);
      await lab.run(10_000);
      assert.deepEqual(state(b), ["permanent", "dadfailed"]);
      assert.deepEqual(state(a), ["permanent"]);
      assert.equal(b.ip.counters.duplicate_addresses, 1);
      a.removeAddress("eth0", text);
      b.removeAddress("eth0", text);
      b.addAddress("eth0", `${text}/${length}`, { probes: 3 });
      await lab.run(10_000);
      assert.deepEqual(state(b), ["permanent"]);
      assert.equal(lab.engine.pool().inFlight, 0);
    });

    it(`two that want ${text} at one time do not both get it`, async () => {
      const { lab, a, b } = await pair({}, {});
      for (const host of [a, b]) host.addAddress("eth0", `${text}/${length}`, { probes: 3 });
      await lab.run(15_000);
      const usable = [a, b].filter((host) => host.ip.interface("eth0").owns(address(text)));
      assert.ok(usable.length < 2, `SEED=${SEED}`);
    });

    it(`${text} is defended, but not without end`, async () => {
      const { lab, a, b } = await pair({ addresses: [`${text}/${length}`] }, {});
      await lab.run(5000);
      for (let i = 0; i < 50; i++) {
        b.addAddress("eth0", `${text}/${length}`);
        await lab.run(10);
        b.removeAddress("eth0", text);
      }
      assert.ok(a.ip.counters.address_conflicts >= 50);
      assert.ok(a.ip.counters.out_requests < 30, `${a.ip.counters.out_requests} packets`);
    });
  }

  it("a proxy answers for what is behind it (ARP and NDP)", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/8", "2001:db8::1/32"] }] });
    const proxy = await lab.host({
      forwarding: true,
      interfaces: [{ addresses: ["10.0.0.254/24", "2001:db8::fe/64"], proxy: true }, { addresses: ["10.9.0.254/24", "2001:db8:9::fe/64"] }],
    });
    const b = await lab.host({
      interfaces: [{ addresses: ["10.9.0.1/24", "2001:db8:9::1/64"], gateway: ["10.9.0.254", "2001:db8:9::fe"] }],
    });
    lab.link(a, proxy, {});
    lab.link(proxy, b, {}, ["eth1", "eth0"]);
    const replies: string[] = [];
    for (const to of ["10.9.0.1", "2001:db8:9::1"]) a.ping(to).then(({ from }) => replies.push(from));
    await lab.run(2000);
    assert.deepEqual(replies.sort(), ["10.9.0.1", "2001:db8:9::1"]);
    const iface = proxy.ip.interface("eth0");
    iface.proxy = false;
    for (const to of ["10.9.0.1", "2001:db8:9::1"]) {
      a.ip.neighbours.remove(a.ip.neighbours.find(a.ip.interface("eth0"), address(to)) as never);
      proxy.ip.addProxy(iface, address(to));
      a.ping(to).then(({ from }) => replies.push(`again ${from}`));
    }
    await lab.run(2000);
    assert.deepEqual(replies.slice(2).sort(), ["again 10.9.0.1", "again 2001:db8:9::1"], "for single addresses");
  });
});

describe("source and destination addresses (RFC 6724)", () => {
  const iface = { name: "a" } as NetInterface;
  const other = { name: "b" } as NetInterface;
  const policy = new PolicyTable();
  const own = (text: string, more: Partial<OwnAddress> = {}): OwnAddress => ({
    address: address(text),
    length: text.includes(":") ? 64 : 24,
    origin: "static",
    scope: "global",
    state: "usable",
    preferredUntil: Number.POSITIVE_INFINITY,
    validUntil: Number.POSITIVE_INFINITY,
    ...more,
  });
  const choose = (to: string, candidates: readonly (OwnAddress | readonly [OwnAddress, NetInterface])[], more = {}) =>
    String(
      chooseSource(
        candidates.map((each) => (Array.isArray(each) ? { own: each[0], iface: each[1] } : { own: each as OwnAddress, iface })),
        { to: address(to), iface, router: undefined, policy, now: 0, ...more },
      ),
    );

  // The examples of RFC 6724 §10.1, and one for each rule.
  for (const [rule, to, candidates, expected, more] of [
    ["2: scope", "2001:db8:1::1", [own("2001:db8:3::1"), own("fe80::1")], "2001:db8:3::1"],
    ["2: scope", "ff05::1", [own("2001:db8:3::1"), own("fe80::1")], "2001:db8:3::1"],
    ["2: scope", "fe80::9", [own("2001:db8:3::1"), own("fe80::1")], "fe80::1"],
    ["1: the same", "2001:db8:1::1", [own("2001:db8:1::1", { preferredUntil: 0 }), own("2001:db8:2::1")], "2001:db8:1::1"],
    ["8: longest match", "2001:db8:1::1", [own("2001:db8:1::2"), own("2001:db8:3::2")], "2001:db8:1::2"],
    [
      "6: label",
      "2002:c633:6401::1",
      [own("2002:c633:6401::d5e3:7953:13eb:22e8"), own("2001:db8:1::2")],
      "2002:c633:6401::d5e3:7953:13eb:22e8",
    ],
    [
      "7: temporary",
      "2001:db8:1::1",
      [own("2001:db8:1::2"), own("2001:db8:1::d5e3:0:0:1", { origin: "temporary" })],
      "2001:db8:1:0:d5e3::1",
    ],
    [
      "7: public when asked for",
      "2001:db8:1::1",
      [own("2001:db8:1::2"), own("2001:db8:1::3", { origin: "temporary" })],
      "2001:db8:1::2",
      { preferPublic: true },
    ],
    ["3: not deprecated", "2001:db8:1::1", [own("2001:db8:1::2", { preferredUntil: 0 }), own("2001:db8:3::2")], "2001:db8:3::2"],
    ["5: the interface", "2001:db8:1::1", [[own("2001:db8:1::2"), other], own("2001:db8:3::2")], "2001:db8:3::2"],
    [
      "5.5: the router's prefix",
      "2001:db8:1::1",
      [own("2001:db8:1::2"), own("2001:db8:3::2", { advertisedBy: new Set([address("fe80::5").key]) })],
      "2001:db8:3::2",
      { router: address("fe80::5") },
    ],
    ["tentative ones are none", "2001:db8:1::1", [own("2001:db8:1::2", { state: "tentative" }), own("2001:db8:3::2")], "2001:db8:3::2"],
    ["IPv4 likewise", "198.51.100.1", [own("169.254.13.78"), own("198.51.100.9"), own("10.0.0.1")], "198.51.100.9"],
  ] as const) {
    it(`rule ${rule}: ${to} from ${expected}`, () => {
      assert.equal(address(choose(to, candidates as never, more)).key, address(expected).key);
    });
  }

  // RFC 6724 §10.2: destinations, each with the source that would be chosen.
  for (const [pairs, first] of [
    [
      [
        ["2001:db8:1::1", "2001:db8:1::2"],
        ["198.51.100.121", "169.254.13.78"],
      ],
      "2001:db8:1::1",
    ],
    [
      [
        ["2001:db8:1::1", "fe80::1"],
        ["198.51.100.121", "198.51.100.117"],
      ],
      "198.51.100.121",
    ],
    [
      [
        ["2001:db8:1::1", "2001:db8:1::2"],
        ["10.1.2.3", "10.1.2.4"],
      ],
      "2001:db8:1::1",
    ],
    [
      [
        ["2001:db8:1::1", "2001:db8:1::2"],
        ["fe80::1", "fe80::2"],
      ],
      "fe80::1",
    ],
    [
      [
        ["2001:db8:1::1", undefined],
        ["198.51.100.121", "198.51.100.117"],
      ],
      "198.51.100.121",
    ],
    [
      [
        ["2001:db8:1::1", "2001:db8:3f44::2"],
        ["2001:db8:3ffe::1", "2001:db8:3f44::2"],
      ],
      "2001:db8:3ffe::1",
    ],
    [
      [
        ["2002:c633:6401::1", "2002:c633:6401::2"],
        ["2001:db8:1::1", "2002:c633:6401::2"],
      ],
      "2002:c633:6401::1",
    ],
    [
      [
        ["2002:c633:6401::1", "2002:c633:6401::2"],
        ["2001:db8:1::1", "2001:db8:1::2"],
      ],
      "2001:db8:1::1",
    ],
  ] as const) {
    it(`${first} is tried first of ${pairs.map(([to]) => to).join(" and ")}`, () => {
      for (const order of [pairs, [...pairs].reverse()]) {
        const destinations = order.map(
          ([to, from]): Destination => ({
            address: address(to),
            source: from === undefined ? undefined : address(from),
            isDeprecated: false,
          }),
        );
        assert.equal(String(orderDestinations(destinations, policy)[0].address), first);
      }
    });
  }
});

describe("routers' messages", () => {
  it("any bytes are an advertisement or nothing, and read back as written", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        bytes[0] = 134;
        bytes[1] = 0;
        const said = parseAdvertisement(bytes);
        if (!said) return;
        assert.ok(said.prefixes.length <= 16 && said.searchList.every(({ domains }) => domains.every((name) => name.length < 254)));
        // What was understood, written and read, is the same.
        const again = parseAdvertisement(frame(said));
        assert.deepEqual(again?.prefixes, said.prefixes);
        assert.deepEqual(again?.nameServers, said.nameServers);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });

  const frame = (said: RouterAdvertisement) => {
    const data = advertisementData(said);
    const out = new Uint8Array(8 + data.length);
    out[0] = 134;
    new DataView(out.buffer).setUint32(4, advertisementWord(said));
    out.set(data, 8);
    return out;
  };
});

describe("a host and its routers", () => {
  it("says what cannot be advertised when it is asked to", async () => {
    const lab = await Lab.create({ seed: SEED });
    for (const [advertise, message] of [
      [{ searchList: ["example.net."] }, undefined],
      [{ searchList: [`${"a".repeat(64)}.example`] }, /is no domain; expected labels of 1 to 63 characters/],
      [{ searchList: ["a..b"] }, /^"a\.\.b" is no domain/],
      [{ searchList: Array.from({ length: 200 }, (_, i) => `host-${i}.example`) }, /^a search list of \d+ bytes; expected 2032 at most/],
      [{ nameServers: ["192.0.2.53"] }, /^name server 192\.0\.2\.53 is of IPv4/],
      [{ nameServers: Array.from({ length: 128 }, () => "2001:db8::53") }, /^128 name servers; expected 127 at most/],
      [{ routes: [{ prefix: "10.0.0.0/8" }] }, /^10\.0\.0\.0\/8 is no IPv6 prefix/],
    ] as const) {
      const making = lab.host({ forwarding: true, interfaces: [{ addresses: ["2001:db8:5::1/64"], advertise }] } as never);
      if (message) await assert.rejects(making, { code: "EINVAL", message });
      else await making;
    }
    await lab.engine.close();
  });

  it("makes addresses and routes of what a router says, and forgets them when it says so", async () => {
    const { lab, a, b } = await pair(
      { autoconf: true },
      {
        addresses: ["2001:db8:5::1/64"],
        advertise: {
          interval: 30,
          mtu: 1400,
          hopLimit: 33,
          nameServers: ["2001:db8:5::53"],
          searchList: ["example.net", "lab.example"],
          routes: [{ prefix: "2001:db8:77::/48", preference: "high" }],
        },
      },
      true,
    );
    await lab.run(6000);
    const made = globals(a);
    assert.deepEqual(
      made.map(({ origin, flags }) => [origin, flags]),
      [
        ["ra", ["dynamic"]],
        ["temporary", ["dynamic", "temporary"]],
      ],
    );
    for (const each of made) assert.match(each.address, /^2001:db8:5:/);
    const path = a.ip.pathTo(address("2001:db8:99::1"));
    assert.equal(path.mtu, 1400);
    assert.equal(String(path.neighbour?.address), String(b.ip.interface("eth0").linkLocal));
    assert.equal(String(a.ip.sourceFor(address("2001:db8:99::1"), path)), made[1].address, "the temporary one");
    assert.deepEqual(
      a.ip.discovery.names.nameServers.map(({ address: server }) => String(server)),
      ["2001:db8:5::53"],
    );
    assert.deepEqual(a.ip.discovery.names.searchList, ["example.net", "lab.example"]);
    assert.equal(a.ip.interface("eth0").hopLimit, 33);
    assert.ok(a.ip.routes.list().some(({ protocol, prefix }) => protocol === "ra" && prefix.length === 48));
    const inbox = b.datagram({ port: 7 });
    a.datagram().send(new Uint8Array(3), { address: "2001:db8:5::1", port: 7 });
    await lab.run(100);
    assert.equal(inbox.tryReceive()?.hopLimit, 33);
    b.ip.advertiser.stop(b.ip.interface("eth0"));
    b.ip.flush();
    await lab.run(100);
    assert.equal(a.ip.pathTo(address("2001:db8:99::1")).hop, 0, "no default router any more");
    assert.equal(globals(a).length, 2, "addresses stay until they are over");
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("temporary addresses follow each other for a week; the stable one stays", async () => {
    const { lab, a } = await pair({ autoconf: true }, { addresses: ["2001:db8:5::1/64"], advertise: { interval: 1800 } }, true);
    await lab.run(6000);
    const [stable] = globals(a);
    const temporary = new Set<string>();
    for (let hour = 0; hour < 7 * 24; hour++) {
      await lab.run(HOUR);
      const now = globals(a);
      const usable = now.filter(({ origin, flags }) => origin === "temporary" && !flags.includes("deprecated"));
      assert.ok(usable.length >= 1, `hour ${hour}: ${JSON.stringify(now)}`);
      assert.ok(now.length <= 5, "old ones go");
      for (const each of now) if (each.origin === "temporary") temporary.add(each.address);
      assert.ok(now.some((each) => each.address === stable.address));
    }
    assert.ok(temporary.size >= 7 && temporary.size <= 16, `${temporary.size}`);
  });

  it("stable addresses are the same for one secret and network, and others elsewhere", async () => {
    const secret = new Uint8Array(16).fill(7);
    const make = async (prefix: string, name: string) => {
      const { lab, a } = await pair(
        { name: "eth0", mac: name, autoconf: { secret, temporary: false } },
        { addresses: [`${prefix}::1/64`], advertise: true },
        true,
      );
      await lab.run(6000);
      return globals(a)[0].address;
    };
    const first = await make("2001:db8:5", "02:00:00:00:00:01");
    assert.equal(await make("2001:db8:5", "02:00:00:00:00:99"), first, "another card, the same interface");
    const elsewhere = await make("2001:db8:6", "02:00:00:00:00:01");
    assert.notEqual(elsewhere.split(":").slice(-4).join(), first.split(":").slice(-4).join());
  });

  it("a router that does not answer makes place for another, and comes back", async () => {
    const lab = await Lab.create({ seed: SEED });
    const a = await lab.host({ interfaces: [{ autoconf: true }] });
    const routers = [];
    // Two routers, reached one after the other over the same link: who speaks is moved by hand.
    for (const n of [1, 2]) {
      routers.push(
        await lab.host({
          forwarding: true,
          interfaces: [{ addresses: [`2001:db8:5::${n}/64`], advertise: { interval: 10, preference: n === 1 ? "high" : "medium" } }],
        }),
      );
    }
    const first = lab.link(a, routers[0], {});
    await lab.run(8000);
    const via = () => String(a.ip.pathTo(address("2001:db8:99::1")).neighbour?.address);
    assert.equal(via(), String(routers[0].ip.interface("eth0").linkLocal));
    first.set({ cut: true });
    const ra = routers[1].ip.interface("eth0");
    const message = { ...parseAdvertisement(new Uint8Array([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])) } as RouterAdvertisement;
    const { icmpMessage } = await import("../src/ip/icmp.ts");
    const { serializeIpv6, serializeEthernet } = await import("../src/wire/index.ts");
    const from = ra.linkLocal as IpAddress;
    const all = address("ff02::1");
    const data = advertisementData({ ...message, sourceMac: ra.mac, prefixes: [], routes: [], nameServers: [], searchList: [] });
    const payload = icmpMessage(134, 0, advertisementWord(message), data, from, all);
    const packet = serializeIpv6({ source: from.bytes(), destination: all.bytes(), protocol: 58, hopLimit: 255, payload });
    a.ip
      .interface("eth0")
      .port.receive(
        serializeEthernet({ destination: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), source: ra.mac, type: 0x86dd, payload: packet }),
      );
    await lab.run(10);
    assert.equal(via(), String(routers[0].ip.interface("eth0").linkLocal), "the preferred one");
    const socket = a.datagram();
    for (let i = 0; i < 12; i++) {
      socket.send(new Uint8Array(1), { address: "2001:db8:99::1", port: 9 });
      await lab.run(5000);
    }
    assert.equal(via(), String(from), "the one that may answer");
    first.set({ cut: false });
    await lab.run(15_000);
    assert.equal(via(), String(routers[0].ip.interface("eth0").linkLocal), "heard again");
  });

  it("hostile advertisements leave memory bounded", async () => {
    const { lab, a } = await pair({ autoconf: true }, {});
    const iface = a.ip.interface("eth0");
    const { icmpMessage } = await import("../src/ip/icmp.ts");
    const { serializeIpv6, serializeEthernet } = await import("../src/wire/index.ts");
    const random = new Random(SEED);
    const all = address("ff02::1");
    for (let i = 0; i < 400; i++) {
      const from = new IpAddress(0xfe800000, 0, random.u32(), random.u32());
      const any = () => new IpAddress(0x20010db8, random.u32(), 0, 0);
      const said: RouterAdvertisement = {
        hopLimit: 64,
        managed: false,
        other: false,
        preference: "high",
        lifetimeSeconds: 9000,
        reachableMs: 0,
        retransMs: 0,
        prefixes: Array.from({ length: 8 }, () => ({
          prefix: any(),
          length: 64,
          onLink: true,
          autonomous: true,
          validSeconds: 9999,
          preferredSeconds: 999,
        })),
        routes: Array.from({ length: 4 }, () => ({ prefix: any(), length: 64, preference: "low" as const, seconds: 999 })),
        nameServers: [{ seconds: 99, addresses: [any(), any()] }],
        searchList: [{ seconds: 99, domains: [`d${i}.example`] }],
      };
      const payload = icmpMessage(134, 0, advertisementWord(said), advertisementData(said), from, all);
      const packet = serializeIpv6({ source: from.bytes(), destination: all.bytes(), protocol: 58, hopLimit: 255, payload });
      iface.port.receive(
        serializeEthernet({
          destination: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
          source: Uint8Array.of(2, 0, 0, 0, 9, 9),
          type: 0x86dd,
          payload: packet,
        }),
      );
      if (i % 20 === 0) await lab.run(1);
    }
    await lab.run(2000);
    assert.ok(a.ip.routes.list().length < 64 + 64 + 64, `${a.ip.routes.list().length} routes`);
    assert.ok(a.addresses().length <= 2 + 2 * 16);
    assert.ok(a.ip.discovery.names.nameServers.length <= 8 && a.ip.discovery.names.searchList.length <= 8);
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});

describe("the Linux kernel as the host of our router", { skip: missing("tcpdump", "tshark") }, () => {
  let kernel: Namespace;
  let router: Host;

  before(async () => {
    kernel = new Namespace();
    router = await Host.create({
      forwarding: true,
      interfaces: [
        {
          device: tap({ name: "t0", namespace: kernel.name, offload: false }),
          addresses: ["fd90::1/64"],
        },
      ],
    });
    await kernel.run(
      "sysctl -qw net.ipv6.conf.t0.accept_ra=2 net.ipv6.conf.t0.accept_ra_rt_info_max_plen=64 net.ipv6.conf.t0.use_tempaddr=2",
    );
  });

  after(async () => {
    await router?.close();
    await kernel?.remove();
  });

  it("makes addresses, routes, MTU and hop limit of our advertisements, which a dissector finds sound", async () => {
    await withFolder(async (folder) => {
      const file = join(folder, "trace.pcap");
      kernel.up("t0");
      const capture = await kernel.start("tcpdump", ["-U", "-i", "t0", "-w", file], /listening/);
      router.ip.advertiser.start(router.ip.interface("eth0"), {
        interval: 4,
        mtu: 1380,
        hopLimit: 44,
        nameServers: ["fd90::53"],
        searchList: ["loom.example"],
        routes: [{ prefix: "fd99::/48", preference: "high" }],
      });
      await until(() =>
        /inet6 fd90::[0-9a-f:]+\/64 scope global (?!.*tentative)/.test(kernel.ip("-6", "addr", "show", "dev", "t0").replaceAll("\n", " ")),
      );
      const addresses = kernel.ip("-6", "addr", "show", "dev", "t0");
      assert.match(addresses, /fd90::.* temporary (tentative )?dynamic/);
      const routes = kernel.ip("-6", "route", "show", "dev", "t0");
      assert.match(routes, /default via fe80::[0-9a-f:]+ proto ra .*mtu 1380 .*hoplimit 44/);
      assert.match(routes, /fd99::\/48 via fe80::[0-9a-f:]+ proto ra .*pref high/);
      const [text] = /fd90::[0-9a-f:]+/.exec(addresses) ?? [""];
      await until(() => !/tentative/.test(kernel.ip("-6", "addr", "show", "dev", "t0")));
      const reply = await router.ping(text);
      assert.equal(reply.hopLimit, 44);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await capture.stop("SIGINT");
      const tshark = (filter: string) =>
        execFileSync("tshark", ["-r", file, "-Y", filter], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      assert.equal(tshark("_ws.malformed || icmpv6.checksum.status == 0"), "");
      assert.match(tshark("icmpv6.type == 134 && icmpv6.opt.rdnss && icmpv6.opt.type == 31"), /Router Advertisement/);
    });
  });
});

describe("a Linux router and our host", { skip: missing("radvd", "tcpdump", "tshark") }, () => {
  let kernel: Namespace;
  let host: Host;

  before(async () => {
    kernel = new Namespace();
    host = await Host.create({ interfaces: [{ device: tap({ name: "t0", namespace: kernel.name, offload: false }), autoconf: true }] });
    await kernel.run("sysctl -qw net.ipv6.conf.all.forwarding=1");
    kernel.up("t0", "fd91::1/64");
  });

  after(async () => {
    await host?.close();
    await kernel?.remove();
  });

  it("configures itself from radvd: addresses, default route, name servers", async () => {
    await withFolder(async (folder) => {
      const config = join(folder, "radvd.conf");
      writeFileSync(
        config,
        "interface t0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400; AdvCurHopLimit 50; prefix fd91::/64 { AdvOnLink on; AdvAutonomous on; }; route fd92::/48 { AdvRoutePreference high; }; RDNSS fd91::53 {}; DNSSL radvd.example {}; };",
      );
      const radvd = await kernel.start("radvd", ["-n", "-m", "stderr", "-d", "1", "-C", config, "-p", join(folder, "pid")]);
      await until(() => globals(host).some(({ flags }) => !flags.includes("tentative")));
      await until(() => globals(host).every(({ flags }) => !flags.includes("tentative")));
      assert.equal(globals(host).length, 2);
      assert.deepEqual(
        host.ip.discovery.names.nameServers.map(({ address: server }) => String(server)),
        ["fd91::53"],
      );
      assert.deepEqual(host.ip.discovery.names.searchList, ["radvd.example"]);
      assert.equal(host.ip.pathTo(address("fd92::1")).mtu, 1400);
      const reply = await host.ping("fd91::1");
      assert.equal(reply.from, "fd91::1");
      const { out } = await kernel.run(`ping -6 -c 1 -W 2 ${globals(host)[0].address}`);
      assert.match(out, /1 received/);
      await radvd.stop();
    });
  });

  it("does not take an address that the kernel has", async () => {
    host.addAddress("eth0", "fd91::1/64", { probes: 1 });
    await until(() => host.addresses().some(({ address: text, flags }) => text === "fd91::1" && flags.includes("dadfailed")));
    host.removeAddress("eth0", "fd91::1");
  });

  it("the kernel does not take an address that we have", async () => {
    host.addAddress("eth0", "fd91::77/64");
    kernel.ip("addr", "add", "fd91::77/64", "dev", "t0");
    await until(() => /fd91::77.*dadfailed/.test(kernel.ip("-6", "addr", "show", "dev", "t0")));
  });
});
