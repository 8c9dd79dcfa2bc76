/** Link-local addresses on a host with several links (RFC 4007): each names a node on one of them, with a zone or by where it came from. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/lab.ts";
import { AF_INET6, SO_BINDTODEVICE, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET } from "../src/posix/constants.ts";
import { EINPROGRESS, EINVAL, ENODEV } from "../src/posix/errno.ts";
import { Process } from "../src/posix/index.ts";
import type { InetName } from "../src/posix/names.ts";
import { SEED } from "./support.ts";

const linkLocal = (host: Host, name = "eth0") => String(host.ip.interface(name).linkLocal);

/** A host with two links and a peer on each; both peers have the same link-local address when asked for. */
async function star(same = false) {
  const lab = await Lab.create({ seed: SEED });
  const mac = same ? "02:00:00:00:00:77" : undefined;
  const hub = await lab.host({ interfaces: [{ addresses: ["10.1.0.1/24"] }, { addresses: ["10.2.0.1/24"] }] });
  const x = await lab.host({ interfaces: [{ mac, addresses: ["10.1.0.2/24"] }] });
  const y = await lab.host({ interfaces: [{ mac, addresses: ["10.2.0.2/24", "2001:db8:9::9/128"] }] });
  lab.link(hub, x, { delay: 1 });
  lab.link(hub, y, { delay: 1 }, ["eth1", "eth0"]);
  await lab.run(1000);
  return { lab, hub, x, y };
}

describe("zones", () => {
  it("a server answers link-local clients on every link, TCP and UDP, and prints where they are", async () => {
    const { lab, hub, x, y } = await star(true);
    const listener = hub.listen({ port: 80 });
    const inbox = hub.datagram({ port: 53 });
    for (const [peer, link] of [
      [x, "eth0"],
      [y, "eth1"],
    ] as const) {
      // Both clients have one address and one port: only the links tell them apart.
      const opening = peer.connect({ hostname: `${linkLocal(hub, link)}%eth0`, port: 80, localPort: 4000 });
      await lab.run(100);
      const client = await opening;
      const served = await listener.accept();
      assert.deepEqual(served.remoteAddress, { address: `${linkLocal(peer)}%${link}`, port: 4000 });
      assert.equal(client.remoteAddress.address, `${linkLocal(hub, link)}%eth0`);
      await served.write(new Uint8Array([link.charCodeAt(3)]));
      await lab.run(100);
      const bytes = new Uint8Array(4);
      assert.equal(await client.read(bytes), 1);
      assert.equal(bytes[0], link.charCodeAt(3));

      const socket = peer.datagram({ port: 4001 });
      socket.send(new Uint8Array(3), { address: `${linkLocal(hub, link)}%${peer.ip.interfaces[0].index}`, port: 53 });
      await lab.run(100);
      const asked = inbox.tryReceive();
      assert.equal(asked?.address, `${linkLocal(peer)}%${link}`);
      inbox.send(new Uint8Array(5), { address: asked?.address ?? "", port: asked?.port ?? 0 });
      await lab.run(100);
      assert.equal(socket.tryReceive()?.data.length, 5);
    }
    assert.equal(hub.tcp.list().length, 2);
    assert.equal(hub.tcp.counters.out_rsts, 0);
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("a zone, or an interface, says which link: connect, ping, datagram, lookup, addRoute", async () => {
    const { lab, hub, x, y } = await star(true);
    for (const peer of [x, y]) peer.listen({ port: 80 });
    const address = linkLocal(y);
    const pings = [hub.ping(`${address}%eth1`), hub.ping(`${address}%2`), hub.ping(`${address}%eth0`)].map((ping) =>
      ping.then(({ from }) => from),
    );
    await lab.run(100);
    assert.deepEqual(await Promise.all(pings), [`${address}%eth1`, `${address}%eth1`, `${address}%eth0`]);
    const opening = [
      hub.connect({ hostname: `[${address}%eth1]`, port: 80 }),
      hub.connect({ hostname: address, port: 80, interface: "eth1" }),
      hub.connect({ hostname: `${address}%eth0`, port: 80 }),
      hub.connect({ hostname: address, port: 80 }),
    ];
    await lab.run(100);
    await Promise.all(opening);
    assert.deepEqual([x.tcp.list().length, y.tcp.list().length], [2, 2], "without a zone the first link is meant");
    assert.deepEqual(await hub.lookup(`${address}%eth1`), [{ address: `${address}%eth1`, family: 6 }]);
    hub.addRoute({ to: "2001:db8:9::/48", via: `${address}%eth1` });
    hub.addAddress("eth1", "2001:db8:1::1/64");
    y.addRoute({ to: "::/0", via: `${linkLocal(hub, "eth1")}%eth0` });
    const far = hub.ping("2001:db8:9::9");
    await lab.run(100);
    assert.equal((await far).from, "2001:db8:9::9");
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("a connection ends by what its own link says, and not by the other's", async () => {
    const { lab, hub, x, y } = await star(true);
    x.listen({ port: 80 });
    y.listen({ port: 80 });
    const address = linkLocal(y);
    const opening = [0, 1].map((n) => hub.connect({ hostname: `${address}%eth${n}`, port: 80, localPort: 4000 }));
    await lab.run(100);
    const [a, b] = await Promise.all(opening);
    assert.equal(hub.tcp.list().length, 2);
    a.abort();
    await lab.run(100);
    assert.equal(x.tcp.list().length, 0);
    assert.equal(y.tcp.list().length, 1);
    assert.equal(b.remoteAddress.address, `${address}%eth1`);
  });

  it("sockets bound to an interface hear and speak by it alone", async () => {
    const { lab, hub, x, y } = await star();
    const listener = hub.listen({ port: 80, interface: "eth1" });
    hub.listen({ port: 80, interface: "eth0" });
    assert.throws(() => hub.listen({ port: 80, interface: "eth1" }), /in use/);
    listener.close();
    const refused = y.connect({ hostname: "10.2.0.1", port: 80 }).then(
      () => "open",
      ({ code }) => code,
    );
    const open = x.connect({ hostname: "10.1.0.1", port: 80 }).then(() => "open");
    await lab.run(100);
    assert.deepEqual([await refused, await open], ["ECONNREFUSED", "open"]);
    const inbox = hub.datagram({ port: 7, interface: "eth1" });
    x.datagram().send(new Uint8Array(1), { address: "10.1.0.1", port: 7 });
    y.datagram().send(new Uint8Array(2), { address: "10.2.0.1", port: 7 });
    await lab.run(100);
    assert.equal(inbox.tryReceive()?.data.length, 2);
    assert.equal(inbox.tryReceive(), undefined);
    const bound = hub.listen({ hostname: `${linkLocal(hub, "eth1")}%eth1`, port: 81 });
    assert.equal(bound.address.address, `${linkLocal(hub, "eth1")}%eth1`);
  });

  it("SYN cookies and resets go back to the link they are about", async () => {
    const lab = await Lab.create({ seed: SEED });
    const hub = await lab.host({ handshakes: 0, interfaces: [{}, {}] });
    const y = await lab.host({ interfaces: [{}] });
    lab.link(hub, y, { delay: 1 }, ["eth1", "eth0"]);
    hub.listen({ port: 80 });
    const results = [80, 81].map((port) =>
      y.connect({ hostname: linkLocal(hub, "eth1"), port }).then(
        () => "open",
        ({ code }) => code,
      ),
    );
    await lab.run(1000);
    assert.deepEqual(await Promise.all(results), ["open", "ECONNREFUSED"]);
    assert.equal(hub.tcp.counters.syncookies_received, 1);
  });

  it("what is no zone is refused in one sentence", async () => {
    const { hub } = await star();
    await assert.rejects(hub.ping("fe80::1%eth7"), /"fe80::1%eth7" names no interface of this host; it has eth0, eth1/);
    await assert.rejects(hub.ping("2001:db8::1%eth0"), /zone/);
    assert.throws(() => hub.listen({ hostname: "fe80::1%", port: 1 }), /names no interface/);
    await assert.rejects(hub.connect({ hostname: "fe80::1%eth0%eth1", port: 1 }));
  });

  it("sin6_scope_id and SO_BINDTODEVICE, as Linux has them", async () => {
    const { lab, hub, y } = await star();
    const [server, client] = [new Process(y), new Process(hub)];
    const listening = server.socket(AF_INET6, SOCK_STREAM);
    server.bind(listening, { family: AF_INET6, address: "::", port: 80 });
    server.listen(listening, 5);
    const name = (scopeId?: number): InetName => ({ family: AF_INET6, address: linkLocal(y), port: 80, scopeId });
    const fd = client.socket(AF_INET6, SOCK_STREAM);
    client.fcntl(fd, 4, 0o4000);
    assert.equal(client.connect(fd, name()), -EINVAL, "Linux: a link-local peer needs an interface");
    assert.equal(client.connect(fd, name(9)), -ENODEV);
    assert.equal(client.connect(fd, name(2)), -EINPROGRESS);
    await lab.run(100);
    const slot: { value?: unknown } = {};
    assert.equal(client.getpeername(fd, slot as never), 0);
    assert.equal((slot.value as InetName).scopeId, 2);
    assert.equal(client.getsockname(fd, slot as never), 0);
    assert.equal((slot.value as InetName).scopeId, 2);

    const bound = client.socket(AF_INET6, SOCK_STREAM);
    client.fcntl(bound, 4, 0o4000);
    assert.equal(client.setsockopt(bound, SOL_SOCKET, SO_BINDTODEVICE, new TextEncoder().encode("eth1")), 0);
    assert.equal(client.connect(bound, name(1)), -EINVAL, "bound to another interface");
    assert.equal(client.connect(bound, name()), -EINPROGRESS);
    await lab.run(100);
    assert.equal(client.getpeername(bound, slot as never), 0);

    const from = server.socket(AF_INET6, SOCK_DGRAM);
    const to = client.socket(AF_INET6, SOCK_DGRAM);
    assert.equal(client.bind(to, { family: AF_INET6, address: linkLocal(hub, "eth1"), port: 53 }), -EINVAL);
    assert.equal(client.bind(to, { family: AF_INET6, address: linkLocal(hub, "eth1"), port: 53, scopeId: 2 }), 0);
    const message = {
      iov: [new Uint8Array(3)],
      name: { family: AF_INET6, address: linkLocal(hub, "eth1"), port: 53, scopeId: y.ip.interfaces[0].index },
    };
    assert.equal(server.sendmsg(from, message as never), 3);
    await lab.run(100);
    const got: { iov: Uint8Array[]; name?: InetName } = { iov: [new Uint8Array(9)] };
    assert.equal(client.recvmsg(to, got as never), 3);
    assert.equal(got.name?.address, linkLocal(y));
    assert.equal(got.name?.scopeId, 2);
  });
});
