/** Names without a server, the order of addresses, and connecting to one of several. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Hosts } from "../src/dns/index.ts";
import { interleave } from "../src/host/happy-eyeballs.ts";
import { IpAddress, Lab } from "../src/index.ts";

const ip = (text: string) => IpAddress.parse(text);

describe("the hosts file", () => {
  it("reads what hosts(5) describes and passes over the rest", () => {
    const hosts = Hosts.parse(
      "# head\n127.0.0.1 localhost\n192.0.2.7\tDB.test db  # the database\r\n2001:db8::7 db.test\nnonsense x\n10.0.0.1\n",
    );
    assert.deepEqual(hosts.lookup("db.TEST").map(String), ["192.0.2.7", "2001:db8::7"]);
    assert.deepEqual(hosts.lookup("db.test.").map(String), ["192.0.2.7", "2001:db8::7"]);
    assert.deepEqual(hosts.reverse(ip("192.0.2.7")), ["DB.test", "db"]);
    assert.deepEqual(hosts.lookup("x"), []);
    hosts.remove("db.test");
    assert.deepEqual([hosts.lookup("db.test"), hosts.reverse(ip("192.0.2.7"))], [[], ["db"]]);
  });
});

describe("the order of attempts", () => {
  it("families take turns (RFC 8305 §4)", () => {
    const given = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"].map(ip);
    assert.deepEqual(interleave(given).map(String), ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]);
    assert.deepEqual(interleave(["192.0.2.1", "2001:db8::1", "2001:db8::2"].map(ip)).map(String), [
      "192.0.2.1",
      "2001:db8::1",
      "2001:db8::2",
    ]);
  });
});

async function pair(hosts: Record<string, string[]>) {
  const lab = await Lab.create({ seed: 7 });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }], hosts });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
  lab.link(a, b, { delay: 5 });
  return { lab, a, b };
}

/** Lets virtual time run until a promise settles; how long that took, and what came of it. */
async function settled<T>(
  lab: Lab,
  promise: Promise<T>,
  most = 300_000,
): Promise<{ ms: number; value?: T; error?: Error & { code?: string } }> {
  const start = lab.clock.now();
  let outcome: { value?: T; error?: Error } | undefined;
  promise.then(
    (value) => (outcome = { value }),
    (error) => (outcome = { error }),
  );
  await lab.run(most, () => outcome !== undefined);
  assert.ok(outcome, "it did not settle");
  return { ms: lab.clock.now() - start, ...outcome };
}

describe("a host's names", () => {
  it("knows literals, localhost, its hosts file, and what cannot be", async () => {
    const { lab, a } = await pair({ "db.test": ["10.0.0.2", "2001:db8::2"] });
    assert.deepEqual(await a.lookup("192.0.2.1"), [{ address: "192.0.2.1", family: 4 }]);
    assert.deepEqual(await a.lookup("[2001:DB8::1]"), [{ address: "2001:db8::1", family: 6 }]);
    assert.deepEqual((await a.lookup("db.localhost", { family: 4 }))[0].address, "127.0.0.1");
    assert.deepEqual(
      (await a.lookup("DB.test")).map(({ address }) => address),
      ["2001:db8::2", "10.0.0.2"],
    );
    assert.deepEqual(await a.lookup("db.test", { order: "ipv4first", all: false }), [{ address: "10.0.0.2", family: 4 }]);
    await assert.rejects(a.lookup("192.0.2.1", { family: 6 }), { code: "ENOTFOUND" });
    await assert.rejects(a.lookup("x.invalid"), { code: "ENOTFOUND" });
    await assert.rejects(a.lookup("nobody.test"), { code: "EAI_AGAIN" });
    await assert.rejects(a.lookup("db.test", { signal: AbortSignal.abort() }), { name: "AbortError" });
    await lab.engine.close();
  });

  it("connects by name to the address that answers, 250 ms after the one that is silent", async () => {
    const { lab, a, b } = await pair({ "db.test": ["2001:db8::9", "10.0.0.2"] });
    b.listen({ port: 80 });
    // Somebody has the address and takes no connection: neither an answer nor an error comes.
    a.ip.neighbours.setPermanent(a.ip.interface("eth0"), ip("2001:db8::9"), Uint8Array.of(2, 9, 9, 9, 9, 9));
    const { ms, value } = await settled(lab, a.connect({ hostname: "db.test", port: 80 }));
    assert.equal(value?.remoteAddress.address, "10.0.0.2");
    assert.ok(ms >= 250 && ms < 300, `${ms} ms`);
    await lab.engine.close();
  });

  it("does not wait after a refusal, and says of all addresses why", async () => {
    const { lab, a } = await pair({ "db.test": ["2001:db8::2", "10.0.0.2"] });
    const { ms, error } = await settled(lab, a.connect({ hostname: "db.test", port: 81 }));
    assert.equal(error?.code, "ECONNREFUSED");
    assert.match(String(error?.message), /2001:db8::2.*10\.0\.0\.2/);
    assert.equal((error?.cause as AggregateError)?.errors?.length, 2);
    assert.ok(ms < 100, `${ms} ms`);
    await lab.engine.close();
  });

  it("gives up all attempts when it is told to", async () => {
    const { lab, a } = await pair({ "db.test": ["2001:db8::9", "10.0.0.9"] });
    const iface = a.ip.interface("eth0");
    for (const each of ["2001:db8::9", "10.0.0.9"]) a.ip.neighbours.setPermanent(iface, ip(each), Uint8Array.of(2, 9, 9, 9, 9, 9));
    const controller = new AbortController();
    const connecting = a.connect({ hostname: "db.test", port: 80, signal: controller.signal });
    connecting.catch(() => {});
    await lab.run(400);
    controller.abort();
    await assert.rejects(connecting, { name: "AbortError" });
    await lab.run(1);
    assert.equal(a.tcp.size, 0);
    await lab.engine.close();
  });
});
