/** System calls over a host: promises, worlds of more than one process. What they return is compared with a kernel in posix-kernel.test.ts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Engine, Host, joinPorts } from "../src/index.ts";
import * as c from "../src/posix/index.ts";
import { Process, type Slot, type SocketName } from "../src/posix/index.ts";

const text = (value: string) => new TextEncoder().encode(value);
const words = (value: Uint8Array) => new TextDecoder().decode(value);

describe("posix", () => {
  let engine: Engine;
  let client: Process;
  let server: Process;

  before(async () => {
    engine = await Engine.create({ ports: 2, tables: 4, appBytes: 16 << 20, bareDescriptors: 8192 });
    const host = (i: number) =>
      Host.create({ engine, interfaces: [{ port: engine.port(i), addresses: [`10.0.0.${i + 1}/24`, `2001:db8::${i + 1}/64`] }] });
    [client, server] = [new Process(await host(0)), new Process(await host(1))];
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
  });

  after(async () => {
    client.exit();
    server.exit();
    // The last segments are on their way.
    await engine.clock.sleep(20);
    await Promise.all([client.host.close(), server.host.close()]);
    await engine.close();
    assert.equal(engine.pool().inFlight, 0);
  });

  const name = (port: number, address = "10.0.0.2"): SocketName => ({
    family: address.includes(":") ? c.AF_INET6 : c.AF_INET,
    address,
    port,
  });

  for (const address of ["10.0.0.2", "2001:db8::2"]) {
    it(`connect, exchange and close over ${address}`, async () => {
      const family = address.includes(":") ? c.AF_INET6 : c.AF_INET;
      const listener = server.socket(family, c.SOCK_STREAM);
      assert.equal(server.bind(listener, name(7, address)), 0);
      assert.equal(server.listen(listener, 5), 0);
      const near = client.socket(family, c.SOCK_STREAM);
      assert.equal(client.connect(near, name(7, address)), -c.EINPROGRESS);
      assert.equal(client.connect(near, name(7, address)), -c.EALREADY);
      await client.wait(near, c.POLLOUT);
      assert.equal(client.connect(near, name(7, address)), 0);
      assert.equal(client.connect(near, name(7, address)), -c.EISCONN);
      await server.wait(listener, c.POLLIN);
      const peer: Slot<SocketName> = {};
      const far = server.accept4(listener, c.SOCK_NONBLOCK, peer);
      const own: Slot<SocketName> = {};
      client.getsockname(near, own);
      assert.deepEqual(peer.value, own.value);
      const big = new Uint8Array(100_000).map((_, i) => i * 7);
      let sent = 0;
      let got = 0;
      const into = new Uint8Array(30_000);
      while (got < big.length) {
        const n = client.write(near, big.subarray(sent));
        if (n > 0) sent += n;
        await server.wait(far, c.POLLIN);
        const m = server.read(far, into);
        assert.deepEqual(into.subarray(0, m), big.subarray(got, got + m));
        got += m;
      }
      assert.equal(client.shutdown(near, c.SHUT_WR), 0);
      await server.wait(far, c.POLLRDHUP);
      assert.equal(server.read(far, into), 0);
      assert.equal(server.send(far, text("bye")), 3);
      await client.wait(near, c.POLLIN);
      const n = client.recv(near, into);
      assert.equal(words(into.subarray(0, n)), "bye");
      for (const fd of [far, listener]) assert.equal(server.close(fd), 0);
      assert.equal(client.close(near), 0);
      assert.equal(client.close(near), -c.EBADF);
    });
  }

  it("move a stream between connections of one engine without a copy of its own", async () => {
    // client → a → (moved) → b → sink, both relayed by the server's process.
    const listen = (process: Process, port: number) => {
      const fd = process.socket(c.AF_INET, c.SOCK_STREAM);
      assert.equal(process.bind(fd, { family: c.AF_INET, address: "0.0.0.0", port }), 0);
      assert.equal(process.listen(fd, 1), 0);
      return fd;
    };
    const [relay, sink] = [listen(server, 21), listen(client, 22)];
    const near = client.socket(c.AF_INET, c.SOCK_STREAM);
    client.connect(near, name(21));
    const onward = server.socket(c.AF_INET, c.SOCK_STREAM);
    server.connect(onward, name(22, "10.0.0.1"));
    await Promise.all([server.wait(relay, c.POLLIN), client.wait(sink, c.POLLIN)]);
    const [a, end] = [server.accept(relay), client.accept(sink)];
    const sent = new Uint8Array(1_000_003).map((_, i) => (i * 2_654_435_761) >>> 13);
    const writing = (async () => {
      for (let at = 0; at < sent.length; ) {
        const n = client.write(near, sent.subarray(at, at + 70_001));
        if (n === -c.EAGAIN) await client.wait(near, c.POLLOUT);
        else at += n;
      }
      client.shutdown(near, c.SHUT_WR);
    })();
    const relaying = (async () => {
      for (let n = -1; n !== 0; ) {
        n = server.move(a, onward, 1 << 20);
        assert.ok(n >= 0 || n === -c.EAGAIN, c.errorName(n));
        if (n < 0) await Promise.all([server.wait(a, c.POLLIN), server.wait(onward, c.POLLOUT)]);
      }
      server.shutdown(onward, c.SHUT_WR);
    })();
    const got = new Uint8Array(sent.length + 1);
    let at = 0;
    for (let n = -1; n !== 0; ) {
      n = client.read(end, got.subarray(at));
      if (n > 0) at += n;
      else if (n < 0) await client.wait(end, c.POLLIN);
    }
    await Promise.all([writing, relaying]);
    assert.equal(at, sent.length);
    assert.deepEqual(got.subarray(0, at), sent);
  });

  it("tell errors and packet information of datagrams", async () => {
    const fd = client.socket(c.AF_INET, c.SOCK_DGRAM);
    assert.equal(client.setsockopt(fd, c.IPPROTO_IP, c.IP_RECVERR, 1), 0);
    assert.equal(client.sendto(fd, text("nobody"), 0, name(4000)), 6);
    await client.wait(fd, c.POLLERR);
    const message: c.Message = { iov: [new Uint8Array(100)], control: [] };
    const n = client.recvmsg(fd, message, c.MSG_ERRQUEUE);
    assert.equal(words(message.iov[0].subarray(0, n)), "nobody");
    assert.deepEqual(message.name, name(4000));
    assert.equal(message.control?.[0].type, c.IP_RECVERR);
    assert.equal(message.control?.[0].data[0], c.ECONNREFUSED);
    const at = server.socket(c.AF_INET, c.SOCK_DGRAM);
    server.bind(at, { family: c.AF_INET, address: "0.0.0.0", port: 4001 });
    for (const option of [c.IP_PKTINFO, c.IP_RECVTTL, c.IP_RECVTOS]) assert.equal(server.setsockopt(at, c.IPPROTO_IP, option, 1), 0);
    client.setsockopt(fd, c.IPPROTO_IP, c.IP_TTL, 9);
    client.setsockopt(fd, c.IPPROTO_IP, c.IP_TOS, 0x20);
    client.getsockopt(fd, c.SOL_SOCKET, c.SO_ERROR, {});
    assert.equal(client.sendto(fd, text("x"), 0, name(4001)), 1);
    await server.wait(at, c.POLLIN);
    const received: c.Message = { iov: [new Uint8Array(10)], control: [] };
    assert.equal(server.recvmsg(at, received), 1);
    const control = new Map(received.control?.map(({ type, data }) => [type, [...data]]));
    assert.deepEqual(control.get(c.IP_PKTINFO)?.slice(8), [10, 0, 0, 2]);
    assert.equal(control.get(c.IP_TTL)?.[0], 9);
    assert.deepEqual(control.get(c.IP_TOS), [0x20]);
  });

  it("open fast with data in the SYN, once there is a cookie", async () => {
    const listener = server.socket(c.AF_INET, c.SOCK_STREAM);
    server.bind(listener, { family: c.AF_INET, address: "0.0.0.0", port: 31 });
    assert.equal(server.setsockopt(listener, c.IPPROTO_TCP, c.TCP_FASTOPEN, 5), 0);
    server.listen(listener, 5);
    const results: number[] = [];
    for (let round = 0; round < 2; round++) {
      const fd = client.socket(c.AF_INET, c.SOCK_STREAM);
      results.push(client.sendto(fd, text("early"), c.MSG_FASTOPEN, name(31)));
      await Promise.all([client.wait(fd, c.POLLOUT), server.wait(listener, c.POLLIN)]);
      const far = server.accept(listener);
      if (round === 1) {
        const into = new Uint8Array(10);
        assert.equal(words(into.subarray(0, server.recv(far, into))), "early");
      }
      server.close(far);
      client.close(fd);
    }
    assert.deepEqual(results, [-c.EINPROGRESS, 5]);
  });

  it("carry Unix streams as promises too", async () => {
    const { host } = client;
    const listener = host.listen({ path: "/run/echo" });
    const [near, far] = await Promise.all([host.connect({ path: "/run/echo" }), listener.accept()]);
    const echoing = far.readable.pipeTo(far.writable);
    const sent = new Uint8Array(500_000).map((_, i) => i * 5);
    const writing = near.write(sent).then(() => near.closeWrite());
    const chunks: Uint8Array[] = [];
    for await (const chunk of near.readable) chunks.push(chunk);
    assert.deepEqual(new Uint8Array(Buffer.concat(chunks)), sent);
    await Promise.all([writing, echoing, near.closed, far.closed]);
    await assert.rejects(host.connect({ path: "/run/absent" }), { code: "ENOENT" });
    listener.close();
    await assert.rejects(host.connect({ path: "/run/echo" }), { code: "ENOENT" });
  });
});
