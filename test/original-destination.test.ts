/** Connections that rules redirect to a program on the way: it is told where they were going (SO_ORIGINAL_DST). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { forHost } from "../src/node/index.ts";
import {
  AF_INET,
  AF_INET6,
  decodeName,
  errorName,
  IPPROTO_IP,
  IPPROTO_IPV6,
  Process,
  SO_ORIGINAL_DST,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from "../src/posix/index.ts";
import { SEED } from "./support.ts";

const RULES = `
table inet proxy {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport { 80, 443 } redirect to :8080; }
}`;

/** A client behind a gateway, which takes its web connections for itself. */
async function behind(): Promise<{ lab: Lab; client: Host; gateway: Host }> {
  const lab = await Lab.create({ seed: SEED, memory: { flows: 1024, filterBytes: 1 << 20 } });
  const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"], gateway: ["10.0.0.1", "2001:db8::1"] }] });
  const gateway = await lab.host({
    forwarding: true,
    interfaces: [{ addresses: ["10.0.0.1/24", "2001:db8::1/64"] }],
    ruleset: RULES,
  });
  lab.link(client, gateway, { delay: 1 });
  return { lab, client, gateway };
}

describe("a redirected connection", () => {
  for (const [to, port] of [
    ["192.0.2.80", 80],
    ["2001:db8:80::1", 443],
  ] as const) {
    it(`knows where it was going: ${to} port ${port}`, async () => {
      const { lab, client, gateway } = await behind();
      const listener = gateway.listen({ port: 8080 });
      const both = Promise.all([client.connect({ hostname: to, port }), listener.accept()]);
      await lab.run(100);
      const [near, taken] = await both;
      assert.deepEqual(near.remoteAddress, { address: to, port });
      assert.equal(taken.localAddress.port, 8080);
      assert.deepEqual(gateway.originalDestination(taken), { address: to, port });
      // A host without rules tracks nothing, and knows of no other destination.
      assert.equal(client.originalDestination(near), undefined);
    });

    it(`tells Node's sockets: ${to} port ${port}`, async () => {
      const { lab, client, gateway } = await behind();
      const server = forHost(gateway).net.createServer().listen(8080);
      const connecting = client.connect({ hostname: to, port });
      const accepted = once(server, "connection");
      await lab.run(100);
      const [socket] = await accepted;
      await connecting;
      assert.deepEqual(gateway.originalDestination(socket), { address: to, port });
      server.close();
    });

    it(`tells programs by getsockopt: ${to} port ${port}`, async () => {
      const { lab, client, gateway } = await behind();
      const family = to.includes(":") ? AF_INET6 : AF_INET;
      const level = family === AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
      const process = new Process(gateway);
      const fd = process.socket(family, SOCK_STREAM | SOCK_NONBLOCK);
      const room = new Uint8Array(28);
      assert.equal(errorName(process.getsockopt(fd, level, SO_ORIGINAL_DST, room)), "ENOENT");
      assert.equal(process.bind(fd, { family, address: family === AF_INET ? "0.0.0.0" : "::", port: 8080 }), 0);
      assert.equal(process.listen(fd, 5), 0);
      const connecting = client.connect({ hostname: to, port });
      await lab.run(100);
      await connecting;
      const connection = process.accept(fd);
      const size = process.getsockopt(connection, level, SO_ORIGINAL_DST, room);
      assert.equal(size, family === AF_INET ? 16 : 28);
      assert.deepEqual(decodeName(room.subarray(0, size)), {
        family,
        address: to,
        port,
      });
    });
  }

  it("of a pair of addresses that nobody connected there is none", async () => {
    const { gateway } = await behind();
    const nowhere = { localAddress: { address: "10.0.0.1", port: 1 }, remoteAddress: { address: "10.0.0.2", port: 2 } };
    assert.equal(gateway.originalDestination(nowhere), undefined);
    assert.equal(gateway.originalDestination({}), undefined);
  });
});
