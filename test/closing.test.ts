/** What is open when a host or an engine is closed learns of it, in every face; everything is given back; a second close does nothing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Engine, Host, joinPorts, Lab } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";
import * as c from "../src/posix/index.ts";
import { Process } from "../src/posix/index.ts";

const DOWN = { code: "ENETDOWN", message: /the host is closed/ };

describe("closing a host", { timeout: 30_000 }, () => {
  let engine: Engine;
  let client: Host;
  let server: Host;
  let slabs: number;

  const make = (i: number) => Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`] }] });

  beforeEach(async () => {
    engine = await Engine.create({ ports: 2, tables: 4, appBytes: 48 << 20, bareDescriptors: 8192 });
    slabs = engine.slabs.available;
    [client, server] = [await make(0), await make(1)];
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
  });

  afterEach(async () => {
    await engine.close();
    assert.equal(engine.pool().inFlight, 0, "buffers");
    assert.equal(engine.pool("bare").inFlight, 0, "descriptors");
    assert.equal(engine.slabs.available, slabs, "slabs");
  });

  const pair = async (port: number) => {
    const listener = server.listen({ port });
    const [near, far] = await Promise.all([client.connect({ hostname: "10.0.0.2", port }), listener.accept()]);
    return { listener, near, far };
  };

  it("breaks streams, and the peer is reset", async () => {
    const { near, far } = await pair(7);
    const reading = near.readable.getReader().read();
    const writer = near.writable.getWriter();
    const writing = writer.write(new Uint8Array(20 << 20));
    const peer = far.read(new Uint8Array(1));
    for (const each of [reading, writing, peer]) each.catch(() => {});
    const closed = near.closed;
    await peer;
    await client.close();
    await assert.rejects(reading, DOWN);
    await assert.rejects(writing, DOWN);
    await assert.rejects(closed, DOWN);
    await assert.rejects(far.closed, { code: "ECONNRESET" });
  });

  it("ends pending connects, lookups, pings, accepts, datagrams and Unix domain sockets", async () => {
    const lost = client.connect({ hostname: "10.0.0.77", port: 9 });
    const ping = client.ping("10.0.0.78", { timeout: 60_000 });
    client.resolver.servers = ["10.0.0.79"];
    const name = client.lookup("example.test");
    const inbox = client.datagram({ port: 53 });
    const datagram = inbox.receive();
    const listener = client.listen({ port: 80 });
    const accept = listener.accept();
    const seen: unknown[] = [];
    const iterating = (async () => {
      for await (const each of client.listen({ port: 81 })) seen.push(each);
    })();
    const unix = client.listen({ path: "/run/a" });
    const near = await client.connect({ path: "/run/a" });
    const far = await unix.accept();
    const bytes = far.read(new Uint8Array(1));
    const knocking = unix.accept();
    const leases = client.dhcp("eth0", { family: 4 });
    const all = [lost, ping, name, datagram, accept, bytes, knocking, leases];
    for (const each of all) each.catch(() => {});
    await engine.clock.sleep(5);
    await client.close();
    for (const each of [lost, ping, datagram, bytes, leases]) await assert.rejects(each, DOWN);
    await assert.rejects(name, /closed|EAI_AGAIN|no name server/i);
    await assert.rejects(accept, { code: "ECONNABORTED" });
    await assert.rejects(knocking, { code: "ECONNABORTED" });
    await iterating;
    await assert.rejects(near.closed, DOWN);
    await assert.rejects(near.write(Uint8Array.of(1)), DOWN);
    assert.deepEqual(seen, []);
  });

  it("says so in one sentence afterwards, and a second close does nothing", async () => {
    const first = client.close();
    assert.equal(client.close(), first);
    await first;
    await client.close();
    await assert.rejects(client.connect({ hostname: "10.0.0.2", port: 1 }), DOWN);
    await assert.rejects(client.connect({ path: "/x" }), DOWN);
    await assert.rejects(client.ping("10.0.0.2"), DOWN);
    await assert.rejects(client.lookup("localhost"), DOWN);
    await assert.rejects(client.dhcp("eth0"), DOWN);
    await assert.rejects(client.addInterface({}), DOWN);
    assert.throws(() => client.listen({ port: 1 }), DOWN);
    assert.throws(() => client.listen({ path: "/x" }), DOWN);
    assert.throws(() => client.datagram(), DOWN);
    assert.equal(client.ip.interfaces.length, 0);
  });

  it("is what closing the engine does to its hosts", async () => {
    const { near, far } = await pair(7);
    await Promise.all([engine.close(), engine.close()]);
    await assert.rejects(near.closed, DOWN);
    await assert.rejects(far.closed, { code: /ENETDOWN|ECONNRESET/ });
    await client.close();
  });

  it("gives tables and ports back: host after host on one engine", async () => {
    for (let i = 0; i < 5; i++) {
      client.addRoute({ to: "192.0.2.0/24", via: "10.0.0.2" });
      client.addRoute({ to: "198.51.100.0/24", kind: "blackhole" });
      const { near, listener } = await pair(100 + i);
      await client.close();
      await assert.rejects(near.closed, DOWN);
      listener.close();
      client = await make(0);
    }
    assert.equal((await client.ping("10.0.0.2")).from, "10.0.0.2");
  });

  it("destroys Node's sockets with an error, closes its servers and datagram sockets", async () => {
    const [{ net: near }, { net: far, dgram, http }] = [forHost(client), forHost(server)];
    const listening = far.createServer().listen(80, "10.0.0.2");
    const web = http.createServer().listen(81, "10.0.0.2");
    const bound = dgram.createSocket("udp4").bind(53);
    await Promise.all([once(listening, "listening"), once(web, "listening"), once(bound, "listening")]);
    const accepted = once(listening, "connection");
    const socket = near.connect(80, "10.0.0.2");
    const [peer] = await accepted;
    peer.pause();
    const late = near.connect(9, "10.0.0.99");
    const told = [once(peer, "error"), once(listening, "close"), once(web, "close"), once(bound, "close")];
    const reset = once(socket, "error");
    const closes = [peer, socket].map((each) => new Promise((resolve) => each.on("close", resolve)));
    await server.close();
    const [[error]] = await Promise.all(told);
    assert.deepEqual([error.code, error.syscall], ["ENETDOWN", "read"]);
    assert.equal((await reset)[0].code, "ECONNRESET");
    assert.deepEqual(await Promise.all(closes), [true, true]);
    const failed = once(late, "error");
    await client.close();
    const [{ code, syscall }] = await failed;
    assert.deepEqual([code, syscall], ["ENETDOWN", "connect"]);
    const never = near.connect(80, "10.0.0.2");
    assert.equal((await once(never, "error"))[0].code, "ENETDOWN");
  });

  it("gives descriptors errno", async () => {
    const process = new Process(client);
    const { near } = await pair(7);
    near.abort();
    const name = (port: number, address: string) => ({ family: c.AF_INET, address, port }) as const;
    const tcp = process.socket(c.AF_INET, c.SOCK_STREAM);
    const opening = process.socket(c.AF_INET, c.SOCK_STREAM);
    const listening = process.socket(c.AF_INET, c.SOCK_STREAM);
    const udp = process.socket(c.AF_INET, c.SOCK_DGRAM);
    const pipe: [number, number] = [0, 0];
    assert.equal(process.socketpair(c.AF_UNIX, c.SOCK_STREAM, 0, pipe), 0);
    process.connect(tcp, name(7, "10.0.0.2"));
    await process.wait(tcp, c.POLLOUT);
    process.connect(opening, name(7, "10.0.0.99"));
    process.bind(listening, name(99, "0.0.0.0"));
    process.listen(listening, 1);
    process.bind(udp, name(99, "0.0.0.0"));
    const waits = [tcp, opening, listening, udp, pipe[0]].map((fd) => process.wait(fd, c.POLLIN));
    await client.close();
    await Promise.all(waits);
    const into = new Uint8Array(10);
    assert.equal(process.read(tcp, into), -c.ENETDOWN);
    assert.equal(process.connect(opening, name(7, "10.0.0.99")), -c.ENETDOWN);
    assert.equal(process.accept(listening), -c.ENETDOWN);
    assert.equal(process.recv(udp, into), -c.ENETDOWN);
    assert.equal(process.read(pipe[0], into), -c.ENETDOWN);
    assert.equal(process.connect(process.socket(c.AF_INET, c.SOCK_STREAM), name(7, "10.0.0.2")), -c.ENETDOWN);
    process.exit();
  });
});

describe("closing a host of a lab", () => {
  it("leaves the others at work, and the time goes on", async () => {
    const lab = await Lab.create({ seed: 3 });
    const [a, b] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
      await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
    ];
    lab.link(a, b, { delay: 5 });
    const waiting = a.ping("10.0.0.3", { timeout: 500 });
    waiting.catch(() => {});
    await lab.run(10);
    await b.close();
    await assert.rejects(Promise.all([waiting, lab.run(5000)]), { code: "ETIMEDOUT" });
    await a.close();
    await lab.engine.close();
    assert.equal(lab.engine.pool().inFlight, 0);
  });
});
