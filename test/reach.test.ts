/** Which addresses are spoken from and to: foreign ones, those of loopback, "any"; who is too far away. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { forHost as forDeno } from "../src/deno/index.ts";
import { Host, Lab } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";
import { type InetName, Process, type Slot, type SocketName } from "../src/posix/index.ts";

/** A host whose only link is looked at: what it sends under an address that is not `own` is returned. */
async function watched(t: TestContext): Promise<{ host: Host; strange(): string[] }> {
  const host = await Host.create({ interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24", "fd00::1/64"] }] });
  t.after(() => host.close());
  const { port } = host.ip.interface("eth0");
  const strange = () => {
    const out: string[] = [];
    host.engine.poll();
    port.transmitted((bytes) => {
      if (bytes[12] === 8 && bytes[13] === 0) out.push([...bytes.subarray(26, 30)].join("."));
      if (bytes[12] === 0x86 && bytes[20] !== 58 && bytes[22] !== 0xfe) out.push(Buffer.from(bytes.subarray(22, 38)).toString("hex"));
    }, 1000);
    return out;
  };
  return { host, strange };
}

const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;

describe("addresses that a host speaks from", () => {
  it("are its own, of the peer's family, and beyond the host none of loopback", async (t) => {
    const { host, strange } = await watched(t);
    const to = { hostname: "10.0.0.2", port: 9 };
    await assert.rejects(host.connect({ ...to, localAddress: "10.0.0.77" }), code("EADDRNOTAVAIL"));
    await assert.rejects(host.connect({ ...to, localAddress: "224.0.0.1" }), code("EADDRNOTAVAIL"));
    await assert.rejects(host.connect({ ...to, localAddress: "fd00::1" }), code("EINVAL"));
    for (const [own, other] of [
      ["127.0.0.1", "10.0.0.2"],
      ["::1", "fd00::2"],
    ]) {
      await assert.rejects(host.connect({ hostname: other, port: 9, localAddress: own }), code("EINVAL"));
      const socket = host.datagram({ hostname: own });
      assert.throws(() => socket.send(new Uint8Array(1), { address: other, port: 9 }), code("EINVAL"));
      assert.throws(() => socket.connect({ address: other, port: 9 }), code("EINVAL"));
      // This host is reached all the same, under any of its addresses.
      const inbox = host.datagram({ hostname: other.replace("2", "1"), port: 7000 });
      socket.send(Uint8Array.of(5), { address: other.replace("2", "1"), port: 7000 });
      assert.deepEqual([...(await inbox.receive()).data], [5]);
      inbox.close();
    }
    assert.deepEqual(strange(), []);
  });

  it("are refused alike by Node's net and by system calls", async (t) => {
    const { host, strange } = await watched(t);
    const { net } = forHost(host);
    const [error] = await once(net.connect({ port: 9, host: "10.0.0.2", localAddress: "fd00::1" }), "error").catch((each) => [each]);
    assert.equal(error.message, "bind EINVAL fd00::1");
    const process = new Process(host);
    const stream = process.socket(2, 1, 0);
    assert.equal(process.bind(stream, { family: 2, address: "127.0.0.1", port: 0 }), 0);
    assert.equal(process.connect(stream, { family: 2, address: "10.0.0.2", port: 9 }), -22);
    assert.deepEqual(strange(), []);
  });
});

describe('"any" address to connect to', () => {
  it("is this host: streams, Node, Deno, datagrams", async (t) => {
    const { host, strange } = await watched(t);
    const { net, dgram } = forHost(host);
    for (const any of ["0.0.0.0", "::"]) {
      const listener = host.listen({ hostname: any, port: 8000 });
      const [socket, served] = await Promise.all([host.connect({ hostname: any, port: 8000 }), listener.accept()]);
      assert.equal(socket.remoteAddress.address, any === "::" ? "::1" : "127.0.0.1");
      socket.abort();
      served.abort();
      listener.close();
      const server = net.createServer((each) => each.end("hello")).listen(0, any);
      await once(server, "listening");
      const { port, address } = server.address() as AddressInfo;
      const client = net.connect(port, address);
      assert.equal(String((await once(client, "data"))[0]), "hello");
      server.close();
      const inbox = host.datagram({ hostname: any, port: 8001 });
      host.datagram({ hostname: any }).send(Uint8Array.of(1), { address: any, port: 8001 });
      assert.deepEqual([...(await inbox.receive()).data], [1]);
      inbox.close();
      const waiting = dgram.createSocket(any === "::" ? "udp6" : "udp4");
      waiting.bind(8002, any);
      await once(waiting, "listening");
      dgram.createSocket(any === "::" ? "udp6" : "udp4").send("x", 8002, any);
      assert.equal(String((await once(waiting, "message"))[0]), "x");
      waiting.close();
    }
    const Deno = forDeno(host);
    const listener = Deno.listen({ port: 8003 });
    const [conn] = await Promise.all([
      Deno.connect({ port: 8003, hostname: (listener.addr as { hostname: string }).hostname }),
      listener.accept(),
    ]);
    conn.close();
    assert.deepEqual(strange(), []);
  });
});

describe("segments with few hops left (RFC 5082)", () => {
  it("are not taken where only the link's are", async () => {
    const lab = await Lab.create({ interfaces: 4, hosts: 3 });
    const [far, router, near] = [
      await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] }),
      await lab.host({
        forwarding: true,
        interfaces: [
          { name: "a", addresses: ["10.0.0.1/24"] },
          { name: "b", addresses: ["10.1.0.1/24"] },
        ],
      }),
      await lab.host({ interfaces: [{ addresses: ["10.1.0.2/24"], gateway: "10.1.0.1" }] }),
    ];
    lab.link(far, router, {}, ["eth0", "a"]);
    lab.link(router, near, {}, ["b", "eth0"]);
    near.listen({ port: 179, minHopLimit: 255, hopLimit: 255 });
    const open = async (from: Host, hopLimit: number) => {
      const signal = from.timeout(5000);
      const opening = from.connect({ hostname: "10.1.0.2", port: 179, hopLimit, signal }).then(
        () => "open",
        (error) => error.code,
      );
      await lab.run(10_000);
      return opening;
    };
    assert.equal(await open(router, 255), "open");
    assert.equal(near.tcp.counters.min_hop_limit_drops, 0);
    assert.equal(await open(router, 254), "ETIMEDOUT");
    assert.equal(await open(far, 255), "ETIMEDOUT");
    assert.ok(near.tcp.counters.min_hop_limit_drops >= 4);
    await lab.engine.close();
  });

  it("is an option of system calls", async () => {
    const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const process = new Process(host);
    const [IP, IP_MINTTL, IPV6, IPV6_MINHOPCOUNT, SOL_SOCKET, SO_COOKIE, SO_INCOMING_CPU] = [0, 21, 41, 73, 1, 57, 49];
    const stream = process.socket(2, 1, 0);
    const place = new Uint8Array(4);
    assert.equal(process.setsockopt(stream, IP, IP_MINTTL, 255), 0);
    assert.equal(process.setsockopt(stream, IP, IP_MINTTL, 256), -22);
    assert.equal(process.getsockopt(stream, IP, IP_MINTTL, place), 4);
    assert.equal(place[0], 255);
    assert.equal(process.setsockopt(process.socket(10, 1, 0), IPV6, IPV6_MINHOPCOUNT, 64), 0);
    const cookies = [process.socket(2, 1, 0), process.socket(2, 2, 0), stream, stream].map((fd) => {
      const cookie = new Uint8Array(8);
      assert.equal(process.getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie), 8);
      return new DataView(cookie.buffer).getBigUint64(0, true);
    });
    assert.equal(new Set(cookies).size, 3);
    assert.equal(process.getsockopt(stream, SOL_SOCKET, SO_INCOMING_CPU, place), 4);
    assert.deepEqual([...place], [0, 0, 0, 0]);
    await host.close();
  });

  it("a port is chosen by connect alone (IP_BIND_ADDRESS_NO_PORT)", async () => {
    const host = await Host.create({ interfaces: [{ addresses: ["10.0.0.1/24"] }] });
    const process = new Process(host);
    const stream = process.socket(2, 1 | 0o4000, 0);
    assert.equal(process.setsockopt(stream, 0, 24, 1), 0);
    assert.equal(process.bind(stream, { family: 2, address: "10.0.0.1", port: 0 }), 0);
    const nameOf = () => {
      const slot: Slot<SocketName> = { value: undefined };
      assert.equal(process.getsockname(stream, slot), 0);
      return slot.value as InetName;
    };
    assert.deepEqual(nameOf(), { family: 2, address: "10.0.0.1", port: 0 });
    assert.equal(process.connect(stream, { family: 2, address: "10.0.0.2", port: 9 }), -115);
    assert.ok(nameOf().port > 1024);
    await host.close();
  });
});
