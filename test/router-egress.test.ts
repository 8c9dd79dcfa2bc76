/** The egress policy: what it allows by name and address, and what its rules say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Zone } from "../src/dns/index.ts";
import type { DnsRecord } from "../src/dns/records.ts";
import { serveDns } from "../src/host/dns-server.ts";
import { Lab } from "../src/lab/index.ts";
import { egressPolicy, parseAllow, Router } from "../src/router/index.ts";
import type { TcpSocket } from "../src/socket/stream.ts";

const A = (address: string, ttl: number): DnsRecord =>
  ({ name: "x", type: address.includes(":") ? "AAAA" : "A", class: 1, ttl, address }) as DnsRecord;

describe("egress policy", () => {
  it("reads names, prefixes and ports", () => {
    assert.deepEqual(
      ["Example.COM", "*.github.com:443", "192.0.2.0/24:22", "192.0.2.7", "2001:db8::/32", "[2001:db8::1]:443", "localhost"].map(
        parseAllow,
      ),
      [
        { kind: "name", name: "example.com", isBelow: false, port: undefined },
        { kind: "name", name: "github.com", isBelow: true, port: 443 },
        { kind: "prefix", family: 4, prefix: "192.0.2.0/24", port: 22 },
        { kind: "prefix", family: 4, prefix: "192.0.2.7/32", port: undefined },
        { kind: "prefix", family: 6, prefix: "2001:db8::/32", port: undefined },
        { kind: "prefix", family: 6, prefix: "2001:db8::1/128", port: 443 },
        { kind: "name", name: "localhost", isBelow: false, port: undefined },
      ],
    );
    for (const wrong of ["", "a b", "*", "exa*mple.com", "example.com:0", "example.com:70000", "300.1.2.3", "http://x"]) {
      assert.throws(() => parseAllow(wrong), { code: "EINVAL" }, wrong);
    }
  });

  const policy = egressPolicy({
    interfaces: ["lan"],
    allow: ["example.com", "*.github.com:443", "*.github.com:22", "192.0.2.0/24:22", "2001:db8::/32"],
  });

  it("allows a name, or what is below one, and not what looks like it", () => {
    const asked = [
      "example.com",
      "EXAMPLE.com.",
      "api.github.com",
      "a.b.github.com",
      "github.com",
      "notgithub.com",
      "www.example.com",
      "example.com.evil.org",
    ];
    assert.deepEqual(
      asked.filter((name) => policy.allows(name)),
      ["example.com", "EXAMPLE.com.", "api.github.com", "a.b.github.com"],
    );
  });

  it("opens what an answer brought for as long as it says, in both families", () => {
    assert.deepEqual(policy.openings("example.com", [A("198.51.100.1", 300), A("2001:db8:1::1", 0), A("198.51.100.2", 10_000_000)]), [
      { set: "names4", address: IpAddress.parse("198.51.100.1"), timeoutSeconds: 300 },
      { set: "names6", address: IpAddress.parse("2001:db8:1::1"), timeoutSeconds: 10 },
      { set: "names4", address: IpAddress.parse("198.51.100.2"), timeoutSeconds: 86_400 },
    ]);
    assert.deepEqual(policy.openings("api.github.com", [A("198.51.100.3", 60)]), [
      { set: "ports4", address: IpAddress.parse("198.51.100.3"), port: 443, timeoutSeconds: 60 },
      { set: "ports4", address: IpAddress.parse("198.51.100.3"), port: 22, timeoutSeconds: 60 },
    ]);
    assert.deepEqual(policy.openings("evil.org", [A("198.51.100.4", 60)]), []);
  });

  it("a private address stays shut behind a prefix of translators, too", () => {
    const pref64 = { prefix: IpAddress.parse("2001:db8:64::"), length: 48 };
    const behind = egressPolicy({ interfaces: ["lan"], allow: ["example.com"] }, pref64);
    const opened = (which: typeof policy, address: string) => which.openings("example.com", [A(address, 60)]).length;
    for (const address of ["10.0.0.1", "fc00::1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:a00:1::1", "2002:c0a8:101::"])
      assert.equal(opened(policy, address), 0, address);
    for (const address of ["64:ff9b::198.51.100.1", "2002:c633:6401::1"]) assert.equal(opened(policy, address), 1, address);
    // RFC 6052 §2.4: 192.0.2.33 and 10.0.0.1 behind 48 bits.
    assert.deepEqual([opened(behind, "2001:db8:64:c000:2:2100::"), opened(behind, "2001:db8:64:a00:0:100::")], [1, 0]);
    const trusting = egressPolicy({ interfaces: ["lan"], allow: ["example.com"], privateAddresses: true });
    assert.deepEqual([opened(trusting, "64:ff9b::10.0.0.1"), opened(trusting, "64:ff9b::127.0.0.1")], [1, 0]);
  });
});

describe("egress policy, in a network", () => {
  it("lets out what it allows, and nothing past it", async () => {
    const lab = await Lab.create({ seed: 3, memory: { flows: 4096, filterBytes: 8 << 20 } });
    const OUT = { 4: "192.0.2.254", 6: "2001:db8::254" } as const;
    const outside = await lab.host({
      interfaces: [{ addresses: [`${OUT[4]}/24`, `${OUT[6]}/64`], gateway: ["192.0.2.1", "2001:db8::1"] }],
    });
    const inside = await lab.host({
      interfaces: [{ addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: ["10.0.0.1", "fd00::1"] }],
      dns: ["10.0.0.1"],
    });
    const router = await Router.create(
      {
        interfaces: [
          { name: "wan", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
          { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"] },
        ],
        dns: { listen: ["lan"], upstreams: [OUT[4]] },
        egress: { interfaces: ["lan"], allow: ["allowed.test", "*.port.test:443"] },
      },
      { engine: lab.engine, ports: { wan: lab.engine.port(6), lan: lab.engine.port(7) } },
    );
    lab.link(outside, router.host, {}, ["eth0", "wan"]);
    lab.link(inside, router.host, {}, ["eth0", "lan"]);
    const logged: string[] = [];
    router.host.onLog(({ statement, in: from }) => logged.push(`${statement.prefix}${from}`));
    const addresses = (name: string) => [
      { name, type: "A", address: OUT[4], ttl: 30 } as const,
      { name, type: "AAAA", address: OUT[6], ttl: 30 } as const,
    ];
    const zone = new Zone("test", ["allowed.test", "denied.test", "a.port.test"].flatMap(addresses));
    serveDns(outside, { zones: [zone] });
    outside.listen({ port: 443 });
    const accepted: TcpSocket[] = [];
    void (async () => {
      for await (const socket of outside.listen({ port: 8443 })) accepted.push(socket);
    })();
    const over = async <T>(work: Promise<T>, ms = 4000): Promise<T | string> => {
      const told = work.catch((error: { code?: string }) => error.code ?? "?");
      await lab.run(ms);
      return told;
    };
    const tries = async (hostname: string, port: number) => {
      const found = await over(inside.connect({ hostname, port }));
      return typeof found === "string" ? found : "open";
    };

    for (const family of [4, 6] as const) assert.equal(await tries(OUT[family], 443), "ECONNREFUSED", `IPv${family} before any answer`);
    assert.ok(logged.length > 0 && logged.every((line) => line === "egress refused: lan"), logged.join());
    assert.equal(typeof (await over(inside.resolver.resolve("denied.test", "A"))), "string", "a name that is not allowed");
    assert.equal(await tries(OUT[4], 443), "ECONNREFUSED", "its address stays shut");

    // A port of a name: that port alone, of the family that was asked for alone.
    assert.notEqual(typeof (await over(inside.resolver.resolve("a.port.test", "A"))), "string");
    assert.deepEqual(
      [await tries(OUT[4], 443), await tries(OUT[4], 8443), await tries(OUT[6], 443)],
      ["open", "ECONNREFUSED", "ECONNREFUSED"],
    );

    for (const type of ["A", "AAAA"] as const)
      assert.notEqual(typeof (await over(inside.resolver.resolve("allowed.test", type))), "string");
    for (const family of [4, 6] as const) assert.equal(await tries(OUT[family], 8443), "open", `IPv${family}`);

    // Other name servers are out of reach, at an allowed address too.
    const other = inside.names.newResolver({ servers: [OUT[4]], timeout: 500, attempts: 1 });
    assert.equal(typeof (await over(other.resolve("denied.test", "A"))), "string", "by UDP");
    for (const port of [53, 853]) assert.equal(await tries(OUT[4], port), "ECONNREFUSED", `port ${port}`);

    const kept = await over(inside.connect({ hostname: OUT[4], port: 8443 }));
    assert.notEqual(typeof kept, "string");
    await lab.run(40_000);
    assert.equal(await tries(OUT[4], 8443), "ECONNREFUSED", "the answer's time is over");
    void (kept as TcpSocket).writable.getWriter().write(new TextEncoder().encode("still open"));
    await lab.run(1000);
    const { value } = await (accepted.at(-1) as TcpSocket).readable.getReader().read();
    assert.equal(new TextDecoder().decode(value), "still open", "what was begun in time goes on");

    // Answers that come again begin the time again, within it and after it, and leave nothing behind.
    const open = () => (router.rules.engine?.list() ?? "").split(`${OUT[4]} timeout`).length - 1;
    assert.equal(open(), 0);
    for (let i = 0; i < 4; i++) {
      const asking = inside.names.newResolver({ servers: ["10.0.0.1"] });
      await over(asking.resolve("allowed.test", "A"), 100);
      assert.deepEqual([open(), await tries(OUT[4], 8443)], [1, "open"], `answer ${i}`);
      if (i % 2 === 1) {
        await lab.run(40_000);
        assert.equal(open(), 0);
      }
    }

    // Other rules leave open what was opened; another policy leaves what it allows.
    const again = () => over(inside.names.newResolver({ servers: ["10.0.0.1"] }).resolve("allowed.test", "A"), 100);
    await again();
    const { config } = router;
    const reload = (more: object) => over(router.reload({ ...config, ...more } as typeof config), 100);
    await reload({ ruleset: "table ip other {\n}\n" });
    assert.deepEqual([open(), await tries(OUT[4], 8443)], [1, "open"], "behind other rules");
    await reload({
      egress: { interfaces: ["lan"], allow: ["allowed.test:8443", "box.test"] },
      dns: { ...config.dns, records: { "box.test": OUT[6] } },
    });
    assert.deepEqual([await tries(OUT[4], 8443), await tries(OUT[4], 443)], ["open", "ECONNREFUSED"], "a port of it alone");
    assert.equal(await tries(OUT[6], 443), "ECONNREFUSED");
    assert.notEqual(typeof (await over(inside.names.newResolver({ servers: ["10.0.0.1"] }).resolve("box.test", "AAAA"), 100)), "string");
    assert.equal(await tries(OUT[6], 443), "open", "a record of the router's own");
    await reload({ egress: { interfaces: ["lan"], allow: ["*.port.test:443"] } });
    assert.deepEqual([open(), await tries(OUT[4], 8443)], [0, "ECONNREFUSED"], "taken back");
    await router.close();
    await lab.engine.close();
  });
});
