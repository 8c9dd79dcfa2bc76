/** The egress policy: what it allows by name and address, and what its rules say. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DnsRecord } from "../src/dns/records.ts";
import { egressPolicy, parseAllow } from "../src/router/index.ts";

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
    assert.deepEqual(policy.elements("example.com", [A("198.51.100.1", 300), A("2001:db8:1::1", 0), A("198.51.100.2", 10_000_000)]), [
      { set: "names4", element: "198.51.100.1", timeoutSeconds: 300 },
      { set: "names6", element: "2001:db8:1::1", timeoutSeconds: 10 },
      { set: "names4", element: "198.51.100.2", timeoutSeconds: 86_400 },
    ]);
    assert.deepEqual(policy.elements("api.github.com", [A("198.51.100.3", 60)]), [
      { set: "ports4", element: "198.51.100.3 . 443", timeoutSeconds: 60 },
      { set: "ports4", element: "198.51.100.3 . 22", timeoutSeconds: 60 },
    ]);
    assert.deepEqual(policy.elements("evil.org", [A("198.51.100.4", 60)]), []);
  });
});
