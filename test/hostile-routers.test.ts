/** Routers that say too much, or what is not so: an honest one is still believed (RFC 4861 §6.3.4, RFC 4862 §5.5.3 e, RFC 8981 §3.4). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import type { Host } from "../src/host/host.ts";
import { advertisementData, advertisementWord, FOREVER, type RouterAdvertisement } from "../src/ip/router-messages.ts";
import { Lab } from "../src/lab/lab.ts";
import { ETHERTYPE, serializeEthernet, serializeIpv6 } from "../src/wire/index.ts";
import { serializeIcmp } from "../src/wire/l4.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const NODES = address("ff02::1").bytes();
const SILENT: RouterAdvertisement = {
  hopLimit: 64,
  managed: false,
  other: false,
  preference: "medium",
  lifetimeSeconds: 0,
  reachableMs: 0,
  retransMs: 0,
  prefixes: [],
  routes: [],
  nameServers: [],
  searchList: [],
};
const prefix = (text: string, validSeconds: number, preferredSeconds = validSeconds) => ({
  prefix: address(text),
  length: 64,
  onLink: true,
  autonomous: true,
  validSeconds,
  preferredSeconds,
});
const DAY = 86_400;

async function network() {
  const lab = await Lab.create({ seed: SEED });
  const router = await lab.host({ interfaces: [{}] });
  const host = await lab.host({ interfaces: [{ autoconf: true }] });
  lab.link(router, host, { delay: 1 });
  await lab.run(3000);
  const say = (from: string, what: Partial<RouterAdvertisement>) => {
    const said = { ...SILENT, ...what };
    const source = address(from).bytes();
    const payload = advertisementData(said);
    const message = serializeIcmp({ type: 134, code: 0, rest: advertisementWord(said), payload }, { source, destination: NODES });
    const packet = serializeIpv6({ source, destination: NODES, protocol: 58, hopLimit: 255, payload: message });
    const link = { destination: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), source: Uint8Array.of(2, 0, 0, 0, 0, 9), type: ETHERTYPE.ipv6 };
    host.ip.interfaces[0].port.receive(serializeEthernet({ ...link, payload: packet }));
    lab.settle();
  };
  return { lab, router, host, say };
}

const own = (host: Host, start: string) => host.addresses().filter((each) => each.address.startsWith(start));
const defaults = (host: Host) => host.ip.routes.list().filter((route) => route.prefix.length === 0);

describe("routers that say too much", () => {
  const names = (from: string, n: number) => ({
    seconds: FOREVER,
    addresses: Array.from({ length: n }, (_, i) => address(`${from}:53::${i + 1}`)),
  });
  const flood = (say: (from: string, what: Partial<RouterAdvertisement>) => void, from: string, tag: string) => {
    for (let i = 0; i < 4; i++) {
      const each = (n: number, type: string) =>
        Array.from({ length: n }, (_, k) => `2001:db8:${tag}:${type}${(16 * i + k).toString(16)}::`);
      say(from, {
        lifetimeSeconds: 65_535,
        routes: each(16, "a").map((text) => ({ prefix: address(text), length: 64, preference: "high" as const, seconds: FOREVER })),
        prefixes: each(16, "b").map((text) => prefix(text, FOREVER)),
        nameServers: [names(`2001:db8:${tag}`, 8)],
        searchList: [{ seconds: FOREVER, domains: [`x${i}.${tag}.test`, `y${i}.${tag}.test`, `z${i}.${tag}.test`] }],
      });
    }
  };

  for (const [what, count] of [
    ["one", 1],
    ["forty of them, made up", 40],
  ] as const) {
    it(`${what}: an honest one that comes later is believed`, async () => {
      const { lab, host, say } = await network();
      for (let i = 0; i < count; i++) flood(say, `fe80::bad:${i + 1}`, `b${i}`);
      assert.ok(defaults(host).length <= 16);
      assert.ok(host.ip.routes.list().length <= 16 + 64 + 64 + 80);
      await lab.run(3 * 3_600_000);
      say("fe80::1", {
        lifetimeSeconds: 1800,
        sourceMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
        prefixes: [prefix("2001:db8:1::", 30 * DAY)],
        routes: [{ prefix: address("2001:db8:2::"), length: 48, preference: "medium", seconds: 1800 }],
        nameServers: [{ seconds: 1800, addresses: [address("2001:db8:1::53")] }],
        searchList: [{ seconds: 1800, domains: ["honest.test"] }],
      });
      await lab.run(5000);
      const router = address("fe80::1");
      assert.ok(defaults(host).some(({ nextHops }) => nextHops[0].via?.equals(router)));
      assert.equal(own(host, "2001:db8:1:").length, 2);
      assert.ok(host.ip.interfaces[0].onLink.some((each) => String(each.address) === "2001:db8:1::"));
      assert.ok(host.names.resolver.servers.some((server) => server.address === "2001:db8:1::53"));
      assert.ok(host.names.resolver.search.includes("honest.test"));
      assert.ok(host.ip.routes.list().some((route) => route.prefix.length === 48));
    });
  }

  it("routers that are there are not forgotten for those that are made up", async () => {
    const { lab, router, host, say } = await network();
    const real = String(router.ip.interfaces[0].linkLocal);
    const honest = { lifetimeSeconds: 9000, sourceMac: router.ip.interfaces[0].mac, prefixes: [prefix("2001:db8:1::", DAY)] };
    say(real, honest);
    await lab.run(3000);
    const ping = host.ping(`${real}%eth0`);
    await lab.run(1000);
    await ping;
    for (let i = 0; i < 100; i++) flood(say, `fe80::bad:${i + 1}`, `b${i}`);
    assert.ok(defaults(host).some(({ nextHops }) => String(nextHops[0].via) === real));
    assert.ok(own(host, "2001:db8:1:").length >= 1);
  });
});

describe("lifetimes of prefixes", () => {
  it("nobody ends an address at once, whatever stands behind its prefix", async () => {
    const { lab, host, say } = await network();
    say("fe80::1", { lifetimeSeconds: 1800, prefixes: [prefix("2001:db8:1::", 30 * DAY)] });
    await lab.run(5000);
    for (let i = 1; i < 4; i++) say("fe80::bad", { prefixes: [prefix(`2001:db8:1::${i}`, 1)] });
    const left = own(host, "2001:db8:1:").map(({ validMs }) => validMs);
    assert.equal(left.length, 2);
    for (const ms of left) assert.ok(ms > 7_190_000, `${ms} ms`);
  });

  it("a prefix first heard deprecated gets its temporary address when it is preferred", async () => {
    const { lab, host, say } = await network();
    say("fe80::1", { lifetimeSeconds: 1800, prefixes: [prefix("2001:db8:1::", DAY, 0)] });
    await lab.run(5000);
    assert.deepEqual(
      own(host, "2001:db8:1:").map(({ origin }) => origin),
      ["ra"],
    );
    say("fe80::1", { lifetimeSeconds: 1800, prefixes: [prefix("2001:db8:1::", DAY)] });
    await lab.run(5000);
    say("fe80::1", { lifetimeSeconds: 1800, prefixes: [prefix("2001:db8:1::", DAY)] });
    await lab.run(5000);
    assert.deepEqual(
      own(host, "2001:db8:1:").map(({ origin, flags }) => `${origin} ${flags.includes("deprecated")}`),
      ["ra false", "temporary false"],
    );
  });
});
