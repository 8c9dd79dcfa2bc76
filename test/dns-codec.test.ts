/** The DNS message codec against npm's dns-packet, and against bytes that nobody meant well. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as oracle from "dns-packet";
import fc from "fast-check";
import {
  type DnsMessage,
  type DnsRecord,
  decodeMessage,
  encodeMessage,
  parseResolvConf,
  parseServer,
  serviceParameters,
} from "../src/dns/index.ts";
import { ancestors, labelsOf } from "../src/dns/name.ts";
import { SEED } from "./support.ts";

const runs = { seed: SEED, numRuns: 300 };
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0x7fffffff });
const label = fc.stringMatching(/^[a-z0-9_][a-z0-9-]{0,14}$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));
const four = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 }).map((parts) => parts.join("."));
const bytes = fc.uint8Array({ maxLength: 40 });
const text = fc.stringMatching(/^[ -~]{0,20}$/);

/** A record of ours and what the oracle calls it. */
type Pair = [DnsRecord, oracle.Answer];
const head = fc.record({ name, ttl: u32 });
const both = <T>(values: fc.Arbitrary<T>, make: (value: T) => [object, object]): fc.Arbitrary<Pair> =>
  fc.tuple(head, values).map(([common, value]) => {
    const [ours, theirs] = make(value);
    return [{ ...common, class: 1, ...ours } as DnsRecord, { ...common, class: "IN", ...theirs } as oracle.Answer];
  });

const pairs: fc.Arbitrary<Pair> = fc.oneof(
  both(four, (address) => [
    { type: "A", address },
    { type: "A", data: address },
  ]),
  both(fc.constantFrom("2001:db8::1", "fe80::aa:1", "::"), (address) => [
    { type: "AAAA", address },
    { type: "AAAA", data: address },
  ]),
  both(fc.tuple(fc.constantFrom("NS", "CNAME", "PTR", "DNAME"), name), ([type, target]) => [
    { type, target },
    { type, data: target },
  ]),
  both(fc.tuple(u16, name), ([preference, exchange]) => [
    { type: "MX", preference, exchange },
    { type: "MX", data: { preference, exchange } },
  ]),
  both(fc.array(bytes, { minLength: 1, maxLength: 4 }), (entries) => [
    { type: "TXT", entries },
    { type: "TXT", data: entries.map((each) => Buffer.from(each)) },
  ]),
  both(fc.tuple(u16, u16, u16, name), ([priority, weight, port, target]) => [
    { type: "SRV", priority, weight, port, target },
    { type: "SRV", data: { priority, weight, port, target } },
  ]),
  both(fc.tuple(name, name, u32), ([primary, mailbox, n]) => [
    { type: "SOA", primary, mailbox, serial: n, refresh: 2, retry: 3, expire: 4, minimum: n },
    { type: "SOA", data: { mname: primary, rname: mailbox, serial: n, refresh: 2, retry: 3, expire: 4, minimum: n } },
  ]),
  both(fc.tuple(u16, text, text, name), ([order, services, regexp, replacement]) => [
    { type: "NAPTR", order, preference: 7, flags: "U", services, regexp, replacement },
    { type: "NAPTR", data: { order, preference: 7, flags: "U", services, regexp, replacement } },
  ]),
  both(fc.tuple(fc.boolean(), fc.constantFrom("issue", "iodef"), text), ([critical, tag, value]) => [
    { type: "CAA", critical, tag, value },
    { type: "CAA", data: { issuerCritical: critical, flags: critical ? 128 : 0, tag, value } },
  ]),
  both(bytes, (data) => [
    { type: "TYPE65280", data },
    { type: "UNKNOWN_65280", data: Buffer.from(data) },
  ]),
);

/** What the oracle's reading has and its input did not. */
function plain(answer: oracle.Answer): unknown {
  const { flush: _, ...rest } = answer as unknown as Record<string, unknown>;
  const data = rest.data as Record<string, unknown>;
  return JSON.parse(JSON.stringify({ ...rest, data: rest.type === "CAA" ? { ...data, flags: data.flags ?? 0 } : data }));
}

describe("the DNS codec", () => {
  it("writes what dns-packet reads", () => {
    fc.assert(
      fc.property(fc.array(pairs, { maxLength: 8 }), u16, name, (records, id, asked) => {
        const message: DnsMessage = {
          id,
          response: true,
          recursionDesired: true,
          rcode: 3,
          questions: [{ name: asked, type: "SRV" }],
          answers: records.map(([ours]) => ours),
          edns: { udpSize: 1232, dnssecOk: true, options: [{ code: 65_001, data: Uint8Array.of(1, 2) }] },
        };
        const theirs = oracle.decode(Buffer.from(encodeMessage(message)));
        assert.equal(theirs.id, id);
        assert.deepEqual(theirs.questions?.[0], { name: asked, type: "SRV", class: "IN" });
        assert.equal((theirs as unknown as { rcode: string }).rcode, "NXDOMAIN");
        assert.deepEqual(
          (theirs.answers ?? []).map(plain),
          records.map(([, each]) => plain(each)),
        );
        const opt = theirs.additionals?.[0] as oracle.OptAnswer;
        assert.deepEqual([opt.type, opt.udpPayloadSize, opt.flag_do], ["OPT", 1232, true]);
      }),
      runs,
    );
  });

  it("reads what dns-packet writes", () => {
    fc.assert(
      fc.property(fc.array(pairs, { maxLength: 8 }), u16, name, (records, id, asked) => {
        const encoded = oracle.encode({
          id,
          type: "response",
          flags: oracle.AUTHORITATIVE_ANSWER | oracle.RECURSION_AVAILABLE,
          questions: [{ name: asked, type: "AAAA", class: "IN" }],
          authorities: records.map(([, theirs]) => theirs),
        });
        const message = decodeMessage(encoded);
        assert.deepEqual([message.id, message.response, message.authoritative, message.recursionAvailable], [id, true, true, true]);
        assert.deepEqual(message.questions, [{ name: asked, type: "AAAA", class: 1 }]);
        const bare = (record: DnsRecord) => JSON.parse(JSON.stringify(record));
        assert.deepEqual(
          message.authorities.map(bare),
          records.map(([ours]) => bare(ours)),
        );
      }),
      runs,
    );
  });

  it("reads its own compressed names back, whatever bytes are in the labels", () => {
    const wild = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(wild, { minLength: 1, maxLength: 6 }), (names) => {
        const escaped = names.map((labels) =>
          labels.map((each) => Array.from(each, (b) => `\\${String(b).padStart(3, "0")}`).join("")).join("."),
        );
        const message = {
          id: 1,
          questions: [],
          answers: escaped.map((each) => ({ name: each, ttl: 1, type: "NS" as const, target: each })),
        };
        const back = decodeMessage(encodeMessage(message));
        back.answers.forEach((record, i) => {
          // Compression joins names that differ in case only.
          const lower = (labels: readonly Uint8Array[]) => labels.map((each) => Array.from(each, (b) => (b > 64 && b < 91 ? b + 32 : b)));
          assert.deepEqual(lower(labelsOf(record.name)), lower(names[i]));
        });
      }),
      runs,
    );
  });

  it("compresses: each name of a zone stands once", () => {
    const answers = Array.from({ length: 20 }, (_, i) => ({
      name: "a.long.name.example.test",
      ttl: 1,
      type: "A" as const,
      address: `10.0.0.${i}`,
    }));
    assert.equal(
      encodeMessage({ id: 1, questions: [{ name: "a.long.name.example.test", type: "A" }], answers }).length,
      12 + 26 + 4 + 20 * 16,
    );
  });

  it("leaves out what does not fit and says so, and never more than the limit", () => {
    const answers = Array.from({ length: 100 }, (_, i) => ({ name: `n${i}.test`, ttl: 1, type: "A" as const, address: "10.0.0.1" }));
    const cut = encodeMessage({ id: 1, questions: [{ name: "x.test", type: "A" }], answers, edns: { udpSize: 1232 } }, 512);
    assert.ok(cut.length <= 512 && cut.length > 480);
    const message = decodeMessage(cut);
    assert.ok(message.truncated && message.answers.length > 10 && message.edns);
    const extra = decodeMessage(encodeMessage({ id: 1, questions: [], additionals: answers }, 512));
    assert.ok(!extra.truncated && extra.additionals.length > 10);
  });

  it("refuses pointers that lead forwards, in circles or through too much, and lengths that lie", () => {
    const header = [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const bad = [
      [...header, 0xc0, 12, 0, 1, 0, 1],
      [...header, 1, 97, 0xc0, 12, 0, 1, 0, 1],
      [...header, 0xc0, 40, 0, 1, 0, 1],
      [...header, 0x80, 1, 0, 1, 0, 1],
      [...header, 63, 97],
      header.slice(0, 11),
      [],
    ];
    for (const each of bad) assert.throws(() => decodeMessage(Uint8Array.from(each)), { code: "EPROTO" });
  });

  it("takes any bytes without any error but its own, in bounded time", () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc
        .tuple(u16, fc.uint8Array({ maxLength: 300 }))
        .map(([n, rest]) => Uint8Array.of(0, 1, 0x81, 0x80, 0, 1, 0, n & 7, 0, 1, 0, 1, ...rest)),
    );
    fc.assert(
      fc.property(anything, (input) => {
        try {
          decodeMessage(input);
        } catch (error) {
          assert.equal((error as { code: string }).code, "EPROTO", String((error as Error).stack));
        }
      }),
      { ...runs, numRuns: 3000 },
    );
    // 65,535 bytes of pointers to pointers, one record each.
    const worst = new Uint8Array(65_535);
    worst.set([0, 1, 0x80, 0, 0, 0, 0xff, 0xff]);
    for (let at = 12; at + 12 < worst.length; at += 12)
      worst.set([0xc0 | (((at - 12) >>> 8) & 0x3f), (at - 12) & 255, 0, 99, 0, 1, 0, 0, 0, 0, 0, 0], at);
    const start = performance.now();
    assert.throws(() => decodeMessage(worst), { code: "EPROTO" });
    assert.ok(performance.now() - start < 2000);
  });

  it("refuses names that no name can be", () => {
    for (const each of ["a..b", ".a", "a".repeat(64), `${"abcdefg.".repeat(32)}a`, "ü.test", "a\\999"]) {
      assert.throws(() => encodeMessage({ id: 1, questions: [{ name: each, type: "A" }] }), { code: "EBADNAME" }, each);
    }
    assert.deepEqual(ancestors("a\\.b.c.d"), ["a\\.b.c.d", "c.d", "d", "."]);
  });

  it("explains service parameters (RFC 9460 appendix D.2)", () => {
    // Figure 5: 1 foo.example.com. port=53; Figure 8: mandatory and hints; figure 9 likewise.
    const rdata = "0010 03666f6f076578616d706c65036f726700 0000 0004 0001 0004 0001 0009 02683205 68332d3139 0004 0004 c0000201";
    const data = Uint8Array.from(rdata.replaceAll(" ", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const whole = encodeMessage({ id: 1, questions: [], answers: [{ name: "x.test", ttl: 1, type: "TYPE65280", data }] });
    const at = whole.indexOf(0xff, 12);
    whole[at] = 0;
    whole[at + 1] = 64;
    const [record] = decodeMessage(whole).answers;
    assert.ok(record.type === "SVCB");
    assert.deepEqual([record.priority, record.target], [16, "foo.example.org"]);
    assert.deepEqual(serviceParameters(record.parameters), { mandatory: [1, 4], alpn: ["h2", "h3-19"], ipv4hint: ["192.0.2.1"] });
  });
});

describe("configuration", () => {
  it("reads /etc/resolv.conf", () => {
    const text =
      "# made by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1 ; two\nnameserver x\nsearch a.test b.test\noptions ndots:2 timeout:3 rotate no-edns0\n";
    assert.deepEqual(parseResolvConf(text), {
      servers: ["192.0.2.1", "2001:db8::1"],
      search: ["a.test", "b.test"],
      ndots: 2,
      timeout: 3000,
      attempts: undefined,
      rotate: true,
      edns: false,
    });
  });

  it("reads servers with and without ports", () => {
    const parsed = ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5353"].map(parseServer);
    assert.deepEqual(
      parsed.map(({ address, port }) => `${address} ${port}`),
      ["192.0.2.1 53", "192.0.2.1 5353", "2001:db8::1 53", "2001:db8::1 53", "2001:db8::1 5353"],
    );
    for (const each of ["x", "192.0.2.1:0", "192.0.2.1:99999", ""]) assert.throws(() => parseServer(each), { code: "EINVAL" });
  });
});
