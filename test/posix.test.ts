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
});
