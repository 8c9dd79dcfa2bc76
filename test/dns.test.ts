/** Resolver and name server of hosts, in virtual time: silence, lies, aliases, cuts, caches. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type DnsMessage, decodeMessage, encodeMessage, Zone, type ZoneRecord } from "../src/dns/index.ts";
import { DnsServer } from "../src/dns/server.ts";
import { type Host, type HostOptions, Lab, serveDns } from "../src/index.ts";

const SERVER = "10.0.0.2";

async function network(options: Partial<HostOptions> = {}) {
  const lab = await Lab.create({ seed: 5, hosts: 3 });
  const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }], dns: { servers: [SERVER] }, ...options });
  const server = await lab.host({ interfaces: [{ addresses: [`${SERVER}/24`, "10.0.0.3/24"] }] });
  lab.link(client, server, { delay: 10 });
  return { lab, client, server };
}

/** Lets virtual time run until a promise settles; its value, or its error. */
async function wait<T>(lab: Lab, promise: Promise<T>): Promise<T> {
  let done = false;
  promise.then(
    () => (done = true),
    () => (done = true),
  );
  await lab.run(100_000, () => done);
  assert.ok(done, "it did not settle");
  return promise;
}

/** A server that says what a test wants: messages for each query, or none. */
function scripted(host: Host, say: (query: DnsMessage, n: number) => (Partial<DnsMessage> | Uint8Array)[], address = SERVER): DnsMessage[] {
  const socket = host.datagram({ hostname: address, port: 53 });
  const seen: DnsMessage[] = [];
  void (async () => {
    for await (const { data, address: to, port } of socket) {
      const query = decodeMessage(data);
      seen.push(query);
      for (const each of say(query, seen.length)) {
        const bytes =
          each instanceof Uint8Array ? each : encodeMessage({ id: query.id, response: true, questions: query.questions, ...each });
        socket.send(bytes, { address: to, port });
      }
    }
  })();
  return seen;
}

const a = (name: string, address: string, ttl = 60) => ({ name, ttl, type: "A" as const, address });
const cname = (name: string, target: string, ttl = 60) => ({ name, ttl, type: "CNAME" as const, target });
const RECORDS: ZoneRecord[] = [
  { name: "example.test", type: "NS", target: "ns.example.test" },
  { name: "example.test", type: "MX", preference: 10, exchange: "mail.example.test" },
  { name: "ns.example.test", type: "A", address: SERVER },
  { name: "mail.example.test", type: "A", address: "10.0.0.25" },
  { name: "www.example.test", type: "CNAME", target: "web.example.test" },
  { name: "web.example.test", type: "A", address: "10.0.0.80" },
  { name: "web.example.test", type: "AAAA", address: "2001:db8::80" },
  { name: "out.example.test", type: "CNAME", target: "far.other.test" },
  { name: "*.wild.example.test", type: "A", address: "10.0.0.42" },
  { name: "deep.er.wild.example.test", type: "A", address: "10.0.0.43" },
  { name: "sub.example.test", type: "NS", target: "ns.sub.example.test" },
  { name: "ns.sub.example.test", type: "A", address: "10.0.0.99" },
  { name: "big.example.test", type: "TXT", entries: Array.from({ length: 20 }, (_, i) => new Uint8Array(200).fill(97 + i)) },
];
const zone = () => new Zone("example.test", RECORDS);

describe("a zone", () => {
  const ask = (name: string, type: "A" | "MX" | "NS" | "TXT" | "AAAA") => zone().answer({ name, type });

  it("follows aliases inside, and leaves those outside to who asks", () => {
    assert.deepEqual(
      ask("WWW.example.test", "A").answers.map(({ type }) => type),
      ["CNAME", "A"],
    );
    assert.deepEqual(
      ask("out.example.test", "A").answers.map(({ name }) => name),
      ["out.example.test"],
    );
  });

  it("tells no such name from no such record, with its SOA", () => {
    for (const [name, rcode] of [
      ["nobody.example.test", 3],
      ["mail.example.test", 0],
      ["er.wild.example.test", 0],
    ] as const) {
      const answer = ask(name, "AAAA");
      assert.deepEqual([answer.rcode, answer.answers.length, answer.authorities[0].type], [rcode, 0, "SOA"], name);
    }
  });

  it("expands wildcards of the closest name alone (RFC 4592 §3.3.1)", () => {
    assert.deepEqual(
      ask("x.wild.example.test", "A").answers.map(({ name }) => name),
      ["x.wild.example.test"],
    );
    assert.equal(ask("a.b.wild.example.test", "A").answers.length, 1);
    assert.equal(ask("x.er.wild.example.test", "A").rcode, 3);
  });

  it("refers to who holds what is below a cut, and adds addresses", () => {
    const referral = ask("host.sub.example.test", "A");
    assert.deepEqual([referral.authoritative, referral.answers.length, referral.authorities[0].type], [false, 0, "NS"]);
    assert.deepEqual(
      referral.additionals.map(({ name }) => name),
      ["ns.sub.example.test"],
    );
    assert.deepEqual(
      ask("example.test", "MX").additionals.map(({ name }) => name),
      ["mail.example.test"],
    );
  });

  it("refuses records that are not its own or not anybody's", () => {
    assert.throws(() => zone().add({ name: "www.other.test", type: "A", address: "10.0.0.1" }), { code: "EINVAL" });
    assert.throws(() => zone().add({ name: "x.example.test", type: "A", address: "::1" }), { code: "EINVAL" });
    assert.throws(() => zone().add({ name: `${"x".repeat(64)}.example.test`, type: "A", address: "10.0.0.1" }), { code: "EBADNAME" });
  });
});

describe("a host and its name server", () => {
  it("looks up, connects by name, reverses, and takes a large answer over TCP", async () => {
    const { lab, client, server } = await network();
    const { server: dns } = serveDns(server, {
      zones: [new Zone("example.test", [...RECORDS, { name: "here.example.test", type: "A", address: "10.0.0.3" }])],
    });
    dns.hosts.add("10.0.0.7", "printer.lan");
    assert.deepEqual(
      (await wait(lab, client.lookup("www.example.test"))).map(({ address }) => address),
      ["10.0.0.80", "2001:db8::80"],
    );
    server.listen({ port: 80 });
    assert.equal((await wait(lab, client.connect({ hostname: "here.example.test", port: 80 }))).remoteAddress.address, "10.0.0.3");
    assert.deepEqual(await wait(lab, client.resolver.reverse("10.0.0.7")), ["printer.lan"]);
    const [big] = await wait(lab, client.resolver.resolve("big.example.test", "TXT"));
    assert.ok(big.type === "TXT" && big.entries.length === 20);
    assert.equal(client.resolver.counters.truncated, 1);
    await assert.rejects(wait(lab, client.lookup("nobody.example.test")), { code: "ENOTFOUND" });
    await assert.rejects(wait(lab, client.resolver.resolve("mail.example.test", "MX")), { code: "ENODATA" });
    await assert.rejects(wait(lab, client.resolver.resolve("not.ours.test", "A")), { code: "EREFUSED" });
    await lab.engine.close();
  });

  it("forwards what is not known here, once for equal questions, and shares what it learnt", async () => {
    const lab = await Lab.create({ seed: 6, hosts: 3 });
    const middle = await lab.host({
      interfaces: [{ addresses: ["10.0.0.2/24"] }, { addresses: ["10.1.0.1/24"] }],
      dns: ["10.1.0.2"],
    });
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }], dns: { servers: [SERVER], cache: { entries: 0 } } });
    const far = await lab.host({ interfaces: [{ addresses: ["10.1.0.2/24"] }] });
    lab.link(client, middle, { delay: 1 });
    lab.link(middle, far, { delay: 1 }, ["eth1", "eth0"]);
    const seen = scripted(
      far,
      ({ questions: [{ name }] }) => [{ answers: [a(name, "192.0.2.9", 100)], recursionAvailable: true }],
      "10.1.0.2",
    );
    serveDns(middle, { forward: true, zones: [zone()] });
    const asks = Array.from({ length: 5 }, () => client.resolver.resolve("far.other.test", "A"));
    for (const [record] of await wait(lab, Promise.all(asks))) assert.equal(record.type === "A" && record.address, "192.0.2.9");
    assert.equal(seen.length, 1);
    await lab.run(50_000);
    // From the server's cache, half its time later, and behind an alias out of the server's own zone.
    const [, record] = (await wait(lab, client.resolver.query({ name: "out.example.test", type: "A" }))).records;
    assert.deepEqual([record.name, record.ttl, seen.length], ["far.other.test", 50, 1]);
    await lab.engine.close();
  });

  it("answers from the address that was asked; who asks what nobody answers waits for itself", async () => {
    const lab = await Lab.create({ seed: 6, hosts: 3 });
    const addresses = ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64"];
    const server = await lab.host({ interfaces: [{ addresses, gateway: "10.0.0.99" }, { addresses: ["10.1.0.1/24"] }], dns: ["10.9.9.9"] });
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "fd00::1/64"] }] });
    const other = await lab.host({ interfaces: [{ addresses: ["10.1.0.2/24"] }] });
    lab.link(client, server, { delay: 1 });
    lab.link(server, other, { delay: 1 }, ["eth1", "eth0"]);
    const running = serveDns(server, { forward: true, zones: [zone()], forwards: 8, forwardsPerClient: 4 });
    for (const to of ["10.0.0.3", "10.0.0.2", "fd00::3"]) {
      const resolver = client.names.newResolver({ servers: [to], timeout: 500, attempts: 1 });
      await wait(lab, resolver.resolve("www.example.test", "A"));
    }
    const asking = client.names.newResolver({ servers: ["10.0.0.2"], timeout: 20_000, attempts: 1 });
    for (let i = 0; i < 30; i++) asking.query({ name: `silent${i}.other.test`, type: "A" }).catch(() => {});
    await lab.run(100);
    assert.equal(running.server.counters.over_limit, 26);
    const neighbour = other.names.newResolver({ servers: ["10.1.0.1"], timeout: 300, attempts: 1 });
    neighbour.query({ name: "silent.other.test", type: "A" }).catch(() => {});
    await lab.run(100);
    assert.deepEqual([running.server.counters.over_limit, running.server.counters.forwarded], [26, 5]);
    await lab.engine.close();
  });
});

describe("the resolver", () => {
  it("takes no answer but the one to its question", async () => {
    const { lab, client, server } = await network();
    scripted(server, ({ id, questions }) => [
      { id: id ^ 1, answers: [a("x.test", "10.9.9.1")] },
      { questions: [{ name: "y.test", type: "A" }], answers: [a("x.test", "10.9.9.2")] },
      { questions: [{ ...questions[0], type: "AAAA" }], answers: [a("x.test", "10.9.9.3")] },
      { response: false, answers: [a("x.test", "10.9.9.4")] },
      Uint8Array.of(1, 2, 3),
      { answers: [a("evil.test", "10.9.9.5"), a("x.test", "10.9.9.6")] },
    ]);
    const [record, ...more] = await wait(lab, client.resolver.resolve("x.test", "A"));
    assert.deepEqual([record.type === "A" && record.address, more.length], ["10.9.9.6", 0]);
    const { mismatched, malformed } = client.resolver.counters;
    assert.deepEqual([mismatched, malformed], [4, 1]);
    // What came along was not believed.
    assert.equal(client.resolver.cache.get({ name: "evil.test", type: "A" }), undefined);
    await lab.engine.close();
  });

  it("asks over a stream when too many wrong answers come (RFC 5452 §9.2)", async () => {
    const { lab, client, server } = await network();
    const lie = [a("bank.test", "6.6.6.6")];
    // Whoever guesses has no luck in time: what comes later is not heard, not even with the right id.
    const seen = scripted(server, ({ id }) => [
      ...Array.from({ length: 40 }, (_, n) => ({ id: id ^ (n + 1), answers: lie })),
      { answers: lie },
    ]);
    const dns = new DnsServer({ zones: [new Zone("bank.test", [a("bank.test", "10.0.0.7")])], alarms: server.names.alarms });
    void (async () => {
      for await (const stream of server.listen({ port: 53 })) void dns.serveStream(stream, stream.remoteAddress.address);
    })();
    const [record] = await wait(lab, client.resolver.resolve("bank.test", "A"));
    assert.equal(record.type === "A" && record.address, "10.0.0.7");
    assert.equal(seen.length, 1);
    const { suspected, mismatched } = client.resolver.counters;
    assert.deepEqual([suspected, mismatched], [1, 17]);
    await lab.engine.close();
  });

  it("mixes cases, and wants them back", async () => {
    const { lab, client, server } = await network({ dns: { servers: [SERVER], mixCase: true } });
    const seen = scripted(server, ({ questions: [{ name, type }] }) => [
      {
        questions: [{ name: name.toLowerCase() === name ? name.toUpperCase() : name.toLowerCase(), type }],
        answers: [a(name, "10.9.9.1")],
      },
      { answers: [a(name, "10.9.9.2")] },
    ]);
    const [record] = await wait(lab, client.resolver.resolve("abcdefghijklmnop.test", "A"));
    assert.equal(record.type === "A" && record.address, "10.9.9.2");
    assert.match(seen[0].questions[0].name, /[a-z].*[A-Z]|[A-Z].*[a-z]/);
    await lab.engine.close();
  });

  it("goes to the next server when one is silent or broken, and stays there", async () => {
    const { lab, client, server } = await network({ dns: { servers: ["10.0.0.9", SERVER, "10.0.0.3"], timeout: 1000 } });
    scripted(server, () => [{ rcode: 2 }]);
    scripted(server, ({ questions: [{ name }] }) => [{ answers: [a(name, "10.9.9.9", 0)] }], "10.0.0.3");
    const start = lab.clock.now();
    await wait(lab, client.resolver.resolve("x.test", "A"));
    const first = lab.clock.now() - start;
    await wait(lab, client.resolver.resolve("x.test", "A"));
    assert.ok(first >= 1000 && lab.clock.now() - start - first < 100);
    await lab.engine.close();
  });

  it("tells silence from failure", async () => {
    const { lab, client, server } = await network({ dns: { servers: [SERVER], timeout: 500, attempts: 3 } });
    const start = lab.clock.now();
    let bound = scripted(server, () => []);
    await assert.rejects(wait(lab, client.resolver.resolve("x.test", "A")), { code: "ETIMEOUT" });
    assert.deepEqual([bound.length, Math.round((lab.clock.now() - start) / 100)], [3, 35]);
    await assert.rejects(wait(lab, client.lookup("x.test")), { code: "EAI_AGAIN" });
    const other = await network();
    // Nobody listens there: the port's error ends the waiting.
    await assert.rejects(wait(other.lab, other.client.resolver.resolve("x.test", "A")), { code: "ECONNREFUSED" });
    assert.ok(other.lab.clock.now() < 1000);
    bound = scripted(other.server, () => [{ rcode: 2 }]);
    await assert.rejects(wait(other.lab, other.client.resolver.resolve("x.test", "A")), { code: "ESERVFAIL" });
    await Promise.all([lab.engine.close(), other.lab.engine.close()]);
  });

  it("leaves EDNS away for servers that do not understand it", async () => {
    const { lab, client, server } = await network();
    const seen = scripted(server, ({ edns, questions: [{ name }] }) =>
      edns ? [{ rcode: 1, questions: [] }] : [{ answers: [a(name, "10.9.9.9")] }],
    );
    await wait(lab, client.resolver.resolve("x.test", "A"));
    await wait(lab, client.resolver.resolve("y.test", "A"));
    assert.deepEqual(
      seen.map(({ edns }) => edns?.udpSize),
      [1232, undefined, undefined],
    );
    await lab.engine.close();
  });

  it("follows aliases over several answers, and no loop", async () => {
    const { lab, client, server } = await network();
    scripted(server, ({ questions: [{ name }] }) => {
      if (name === "a.test") return [{ answers: [cname("a.test", "b.test")] }];
      if (name === "b.test") return [{ answers: [cname("b.test", "c.test"), a("c.test", "10.9.9.9")] }];
      if (name.startsWith("n")) return [{ answers: [cname(name, `n${Number(name.slice(1, -5)) + 1}.test`)] }];
      return [{ answers: [cname("x.test", "y.test"), cname("y.test", "x.test")] }];
    });
    const [record] = await wait(lab, client.resolver.resolve("a.test", "A"));
    assert.equal(record.name, "c.test");
    await assert.rejects(wait(lab, client.resolver.resolve("x.test", "A")), { code: "EBADRESP" });
    await assert.rejects(wait(lab, client.resolver.resolve("n0.test", "A")), { code: "EBADRESP" });
    await lab.engine.close();
  });

  it("keeps answers as long as they say, also those that say no, and nothing stale", async () => {
    const { lab, client, server } = await network();
    const soa = {
      name: "test",
      ttl: 30,
      type: "SOA" as const,
      primary: "p",
      mailbox: "m",
      serial: 1,
      refresh: 1,
      retry: 1,
      expire: 1,
      minimum: 20,
    };
    const foreign = { ...soa, name: "other" };
    const seen = scripted(server, ({ questions: [{ name }] }) => {
      if (name === "no.test") return [{ rcode: 3, authorities: [soa] }];
      if (name === "lie.test") return [{ rcode: 3, authorities: [foreign] }];
      return [{ answers: [cname(name, "end.test", 10), a("end.test", "10.9.9.9", 40)] }];
    });
    const ask = (name: string) =>
      wait(
        lab,
        client.resolver.resolve(name, "A").then(
          ([record]) => record.ttl,
          ({ code }) => code,
        ),
      );
    const asked = async (name: string) => {
      const before = seen.length;
      const answer = await ask(name);
      return [answer, seen.length - before];
    };
    assert.deepEqual(
      [await asked("x.test"), await asked("X.test")],
      [
        [40, 1],
        [40, 0],
      ],
    );
    assert.deepEqual(
      [await asked("no.test"), await asked("no.test")],
      [
        ["ENOTFOUND", 1],
        ["ENOTFOUND", 0],
      ],
    );
    assert.deepEqual(
      [await asked("lie.test"), await asked("lie.test")],
      [
        ["ENOTFOUND", 1],
        ["ENOTFOUND", 1],
      ],
    );
    await lab.run(7000);
    assert.deepEqual(await asked("x.test"), [33, 0]);
    await lab.run(4000);
    assert.deepEqual(
      [await asked("x.test"), await asked("no.test")],
      [
        [40, 1],
        ["ENOTFOUND", 0],
      ],
    );
    await lab.run(11_000);
    assert.deepEqual(await asked("no.test"), ["ENOTFOUND", 1]);
    await lab.engine.close();
  });

  it("holds no more answers than it may, and drops the one unused for longest", async () => {
    const { lab, client, server } = await network({ dns: { servers: [SERVER], cache: { entries: 3 } } });
    scripted(server, ({ questions: [{ name }] }) => [{ answers: [a(name, "10.9.9.9")] }]);
    const { cache } = client.resolver;
    for (const name of ["a.test", "b.test", "c.test", "a.test", "d.test"]) await wait(lab, client.resolver.resolve(name, "A"));
    const kept = ["a.test", "b.test", "c.test", "d.test"].filter((name) => cache.get({ name, type: "A" }));
    assert.deepEqual([kept, cache.size], [["a.test", "c.test", "d.test"], 3]);
    await lab.engine.close();
  });

  it("tries suffixes for short names, both families with each", async () => {
    const { lab, client, server } = await network({ dns: { servers: [SERVER], search: ["a.test", "b.test"] } });
    const seen = scripted(server, ({ questions: [{ name, type }] }) =>
      name === "db.b.test" && type === "A" ? [{ answers: [a(name, "10.9.9.9")] }] : [{ rcode: name === "db.b.test" ? 0 : 3 }],
    );
    assert.deepEqual(await wait(lab, client.lookup("db")), [{ address: "10.9.9.9", family: 4 }]);
    assert.deepEqual(seen.map(({ questions: [{ name, type }] }) => `${name} ${type}`).sort(), [
      "db.a.test A",
      "db.a.test AAAA",
      "db.b.test A",
      "db.b.test AAAA",
    ]);
    await assert.rejects(wait(lab, client.lookup("db.")), { code: "ENOTFOUND" });
    assert.equal(seen.length, 6);
    await lab.engine.close();
  });

  it("connects without waiting for a server that keeps silent about IPv6", async () => {
    const { lab, client, server } = await network();
    scripted(server, ({ questions: [{ name, type }] }) => (type === "A" ? [{ answers: [a(name, SERVER)] }] : []));
    server.listen({ port: 80 });
    const start = lab.clock.now();
    await wait(lab, client.connect({ hostname: "x.test", port: 80 }));
    assert.ok(lab.clock.now() - start < 200, `${lab.clock.now() - start} ms`);
    await lab.engine.close();
  });

  it("asks over one stream, many at once, and again when the server closed it", async () => {
    const { lab, client, server } = await network({ dns: { servers: [SERVER], streams: true } });
    const { server: dns } = serveDns(server, { zones: [zone()] });
    const names = Array.from({ length: 30 }, (_, i) => `h${i}.wild.example.test`);
    const answers = await wait(lab, Promise.all(names.map((name) => client.resolver.resolve(name, "A"))));
    assert.deepEqual(
      answers.map(([{ name }]) => name),
      names,
    );
    assert.equal(server.tcp.size, 1);
    await lab.run(30_000);
    assert.equal(server.tcp.size + client.tcp.size, 0);
    await wait(lab, client.resolver.resolve("web.example.test", "A"));
    assert.equal(dns.counters.queries, 31);
    await lab.engine.close();
  });
});

describe("name servers from routers (RFC 8106)", () => {
  it("are asked, and forgotten when the router's word is old", async () => {
    const lab = await Lab.create({ seed: 9 });
    const advertise = { nameServers: ["2001:db8::1"], searchList: ["example.test"] };
    const router = await lab.host({ forwarding: true, interfaces: [{ addresses: ["2001:db8::1/64"], advertise }] });
    const client = await lab.host({ interfaces: [{ autoconf: true }] });
    const link = lab.link(client, router, { delay: 1 });
    serveDns(router, { zones: [zone()] });
    await lab.run(20_000);
    assert.deepEqual([client.resolver.servers.map(({ address }) => address), client.resolver.search], [["2001:db8::1"], ["example.test"]]);
    assert.deepEqual(await wait(lab, client.lookup("web", { family: 4 })), [{ address: "10.0.0.80", family: 4 }]);
    link.set({ cut: true });
    await lab.run(24 * 3_600_000);
    assert.deepEqual(client.resolver.servers, []);
    await lab.engine.close();
  });
});

describe("the name server", () => {
  it("answers what it cannot understand as RFC 1035 and 6891 say, and nothing to answers", async () => {
    const { lab, client, server } = await network();
    const { server: dns } = serveDns(server, { zones: [zone()] });
    const rcode = async (query: Uint8Array) => {
      const answer = await dns.answer(query, false);
      return answer && decodeMessage(answer).rcode;
    };
    const question = { name: "web.example.test", type: "A" as const };
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [question] })), 0);
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [question], opcode: 2 })), 4);
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [question, question] })), 1);
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [question], edns: { udpSize: 512, version: 1 } })), 16);
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [{ ...question, type: "AXFR" }] })), 5);
    assert.equal(await rcode(encodeMessage({ id: 7, questions: [{ name: "a.invalid", type: "A" }] })), 3);
    assert.equal(await rcode(encodeMessage({ id: 7, response: true, questions: [question] })), undefined);
    assert.equal(await rcode(new Uint8Array(5)), undefined);
    assert.equal(await rcode(Uint8Array.of(0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0)), 1);
    assert.equal(client.tcp.size, 0);
    await lab.engine.close();
  });
});
