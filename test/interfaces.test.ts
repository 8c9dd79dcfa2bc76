/** Interfaces of a running host: they go and come back, change MTU and MAC, go down and up; what hangs on them follows. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { CaptureWriter, Engine, Host, joinPorts, Lab, Recorder, Replay, readCapture, type TcpSocket } from "../src/index.ts";
import { ETHERTYPE, serializeArp, serializeEthernet, serializeIpv4 } from "../src/wire/index.ts";
import { serializeUdp } from "../src/wire/l4.ts";
import { plainFrame } from "./frames.ts";

async function pair() {
  const lab = await Lab.create({ seed: 7 });
  const a = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "fd00::1/64"] }] });
  const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "fd00::2/64"] }] });
  lab.link(a, b, { delay: 1 });
  return { lab, a, b };
}

/** Runs the lab until a promise is settled. */
async function settled<T>(lab: Lab, promise: Promise<T>, ms = 60_000): Promise<T> {
  let done = false;
  const mark = () => {
    done = true;
  };
  promise.then(mark, mark);
  await lab.run(ms, () => done);
  assert.ok(done, `not settled after ${ms} ms`);
  return promise;
}

async function connection(lab: Lab, a: Host, b: Host): Promise<[TcpSocket, TcpSocket]> {
  const listener = b.listen({ port: 80 });
  const accepted = listener.accept();
  const socket = await settled(lab, a.connect({ hostname: "10.0.0.2", port: 80 }));
  return [socket, await settled(lab, accepted)];
}

describe("interfaces of a running host", () => {
  it("take everything along when they go, and leave no buffer behind", async () => {
    const { lab, a } = await pair();
    await settled(lab, a.ping("10.0.0.2"));
    a.addRoute({ to: "192.0.2.0/24", via: "10.0.0.2" });
    a.addRoute({ to: "198.51.100.0/24", via: "10.0.0.9" });
    const lost = assert.rejects(a.ping("10.0.0.77", { timeout: 500 })); // a packet that waits for its neighbour
    a.removeInterface("eth0");
    assert.deepEqual(a.ip.routes.list(), []);
    assert.deepEqual(a.ip.neighbours.list(), []);
    assert.deepEqual(a.links(), []);
    assert.throws(() => a.removeInterface("eth0"), { code: "ENOENT" });
    await assert.rejects(a.connect({ hostname: "10.0.0.2", port: 80 }), { code: "ENETUNREACH" });
    await settled(lab, lost);
    await lab.run(5000);
    assert.equal(lab.engine.pool().inFlight, 0);
    assert.equal(lab.engine.counters().stats.double_frees, 0);
  });

  it("come back, and connections go on", async () => {
    const { lab, a, b } = await pair();
    const [socket, peer] = await connection(lab, a, b);
    const { port } = a.ip.interface("eth0");
    const writer = socket.writable.getWriter();
    await settled(lab, writer.write(new Uint8Array(1000).fill(1)));
    const reader = peer.readable.getReader();
    assert.equal((await settled(lab, reader.read())).value?.length, 1000);
    a.removeInterface("eth0");
    const writing = writer.write(new Uint8Array(1000).fill(2));
    await lab.run(3000);
    await a.addInterface({ port, addresses: ["10.0.0.1/24"] });
    const { value } = await settled(lab, reader.read());
    assert.deepEqual(value, new Uint8Array(1000).fill(2));
    await settled(lab, writing);
  });

  it("are added while others run, on ports that were freed", async (t) => {
    const engine = await Engine.create({ ports: 3, tables: 4, appBytes: 1 << 20 });
    t.after(() => engine.close());
    const a = await Host.create({ engine, interfaces: [{ addresses: ["10.0.0.1/24"], mac: "02:00:00:00:00:aa", port: engine.port(0) }] });
    const b = await Host.create({ engine, interfaces: [{ addresses: ["10.0.0.2/24"], port: engine.port(1) }] });
    joinPorts(engine, engine.port(0), engine.port(1));
    engine.start();
    for (let i = 0; i < 20; i++) {
      await b.ping("10.0.0.1");
      a.removeInterface("eth0");
      const iface = await a.addInterface({ addresses: ["10.0.0.1/24"], mac: "02:00:00:00:00:aa" });
      assert.equal(iface.port.index, 0);
      assert.equal(iface.name, "eth0");
    }
    // The next hops of twenty generations are not kept.
    assert.ok(a.ip.tables[4].addNextHop({ kind: "unreachable" }) < 10);
  });

  it("that are down are routed around, and used again", async () => {
    const lab = await Lab.create({ seed: 3 });
    const a = await lab.host({
      interfaces: [{ addresses: ["10.0.0.1/24"] }, { addresses: ["10.0.1.1/24"] }],
    });
    const b = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }, { addresses: ["10.0.1.2/24"] }] });
    b.addAddress("eth0", "192.0.2.1/32");
    lab.link(a, b);
    lab.link(a, b, {}, ["eth1", "eth1"]);
    a.addRoute({ to: "192.0.2.0/24", via: "10.0.0.2", metric: 1 });
    a.addRoute({ to: "192.0.2.0/24", via: "10.0.1.2", metric: 2 });
    const sent = () => a.links().map(({ stats }) => stats.tx.packets);
    await settled(lab, a.ping("192.0.2.1"));
    const before = sent();
    a.setUp("eth0", false);
    await settled(lab, a.ping("192.0.2.1"));
    assert.equal(sent()[0], before[0]);
    assert.ok(sent()[1] > before[1]);
    await assert.rejects(settled(lab, a.ping("10.0.0.2", { timeout: 100 })));
    a.setUp("eth0", true);
    await settled(lab, a.ping("10.0.0.2"));
    const [again] = sent();
    await settled(lab, a.ping("192.0.2.1"));
    assert.ok(sent()[0] > again);
    assert.equal(a.links()[0].up, true);
  });

  it("change their MTU: later segments fit", async () => {
    const { lab, a, b } = await pair();
    const [socket, peer] = await connection(lab, a, b);
    let longest = 0;
    const carried = lab.links[0] as unknown as { lanes: { carry(frame: Uint8Array): void }[] };
    const carry = carried.lanes[0].carry.bind(carried.lanes[0]);
    carried.lanes[0].carry = (frame) => {
      longest = Math.max(longest, frame.length);
      carry(frame);
    };
    const send = async () => {
      longest = 0;
      const writer = socket.writable.getWriter();
      const writing = writer.write(new Uint8Array(20_000));
      writer.releaseLock();
      const reader = peer.readable.getReader();
      for (let n = 0; n < 20_000; ) n += (await settled(lab, reader.read())).value?.length ?? 0;
      reader.releaseLock();
      await settled(lab, writing);
      return longest;
    };
    assert.equal(await send(), 1514);
    a.setMtu("eth0", 1000);
    assert.equal(await send(), 1014);
    assert.throws(() => a.setMtu("eth0", 20), { code: "EINVAL" });
  });

  it("change their MAC: neighbours learn it and answer to it", async () => {
    const { lab, a, b } = await pair();
    await settled(lab, a.ping("10.0.0.2"));
    await settled(lab, a.ping("fd00::2"));
    a.setMac("eth0", "02:00:00:00:77:01");
    await lab.run(10);
    const macs = b.ip.neighbours
      .list()
      .filter(({ address }) => ["10.0.0.1", "fd00::1"].includes(address.toString()))
      .map(({ mac }) => Buffer.from(mac as Uint8Array).toString("hex"));
    assert.deepEqual(macs, ["020000007701", "020000007701"]);
    await settled(lab, a.ping("10.0.0.2"));
    await settled(lab, b.ping("fd00::1"));
    assert.equal(lab.engine.counters().drops.ether_not_for_us ?? 0, 0);
  });

  it("lose single addresses with what belongs to them alone", async () => {
    const { lab, a } = await pair();
    a.addAddress("eth0", "10.0.5.1/24");
    const before = a.ip.routes.list().length;
    a.removeAddress("eth0", "10.0.5.1");
    assert.equal(a.ip.routes.list().length, before - 3);
    assert.throws(() => a.removeAddress("eth0", "10.0.5.1"), { code: "ENOENT" });
    await settled(lab, a.ping("10.0.0.2"));
    a.removeAddress("eth0", "10.0.0.1");
    assert.ok(!a.ip.isLocal(a.ip.neighbours.list()[0].address));
    await assert.rejects(settled(lab, a.ping("10.0.0.2", { timeout: 100 })));
  });

  it("are in no VLAN: tagged frames are for somebody else, after rules at ingress have seen them", async () => {
    const lab = await Lab.create({ seed: 7, memory: { flows: 100, filterBytes: 4 << 20 } });
    const host = await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24", "fd00::1/64"] }] });
    lab.link(host, await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }), {});
    await lab.run(3000);
    const inbox = host.datagram({ port: 7 });
    const { port } = host.ip.interfaces[0];
    const [from, to] = ["10.0.0.2", "10.0.0.1"].map((text) => IpAddress.parse(text));
    const udp = serializeUdp(
      { sourcePort: 1, destinationPort: 7, payload: new Uint8Array(3) },
      { source: from.bytes(), destination: to.bytes() },
    );
    const packet = serializeIpv4({ source: from.v4, destination: to.v4, protocol: 17, payload: udp });
    const arp = serializeArp({
      operation: "request",
      senderMac: new Uint8Array(6).fill(2),
      senderAddress: from.v4,
      targetMac: new Uint8Array(6),
      targetAddress: to.v4,
    });
    const put = (type: number, payload: Uint8Array, ...tags: readonly [protocol: number, vlan: number][]) =>
      port.receive(
        serializeEthernet({
          destination: port.macBytes,
          source: new Uint8Array(6).fill(2),
          type,
          payload,
          tags: tags.map(([protocol, vlan]) => ({ protocol, vlan, priority: 3, dropEligible: false })),
        }),
      );
    const heard = async (...tags: readonly [number, number][]) => {
      put(ETHERTYPE.ipv4, packet, ...tags);
      await lab.run(10);
      return inbox.tryReceive() !== undefined;
    };
    for (const rules of ["", "table netdev t { chain c { type filter hook ingress device eth0 priority 0; vlan id 5 counter\n}\n}"]) {
      host.firewall.apply(`flush ruleset\n${rules}`);
      assert.equal(await heard(), true);
      assert.equal(await heard([0x8100, 0]), true, "a priority tag");
      assert.equal(await heard([0x8100, 5]), false);
      assert.equal(await heard([0x88a8, 5], [0x8100, 6]), false);
      assert.equal(await heard(), true, "those behind it are not its company");
      put(ETHERTYPE.arp, arp, [0x8100, 5]);
      await lab.run(10);
    }
    assert.equal(lab.engine.counters().drops.vlan_not_member, 6);
    assert.match(host.firewall.list(), /vlan id 5 counter packets 1 /);
    await lab.run(5000);
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("count as ip -s link does", async () => {
    const { lab, a, b } = await pair();
    await settled(lab, a.ping("10.0.0.2", { size: 100 }));
    const [{ stats }] = b.links();
    assert.ok(stats.rx.packets >= 2 && stats.tx.packets >= 2);
    // Neighbour solicitations and announcements go to groups.
    assert.ok(stats.rx.mcast >= 1 && stats.rx.mcast < stats.rx.packets);
    const port = b.ip.interface("eth0").port;
    port.countLoss("txCarrier", 2, 200);
    port.countLoss("txDropped", 1, 60);
    port.countLoss("txErrors", 1, 50);
    port.countLoss("rxMissed", 4);
    const after = port.linkStats();
    assert.deepEqual(after.tx, {
      bytes: stats.tx.bytes - 310,
      packets: stats.tx.packets - 4,
      errors: 3,
      dropped: 1,
      carrier: 2,
      collsns: 0,
    });
    assert.equal(after.rx.missed, 4);
  });

  it("count alike whatever moves the frames: captures and joined ports", async () => {
    const engine = await Engine.create({ ports: 4, bridges: 1 });
    // A capture into port 0, over a bridge and out by port 1; port 2 is joined to port 3, which is in the bridge too.
    const bridge = engine.createBridge();
    for (const i of [0, 1, 3]) bridge.add(engine.port(i));
    joinPorts(engine, engine.port(2), engine.port(3));
    const group = plainFrame(Uint8Array.of(1, 0, 0x5e, 0, 0, 9), 0xe0000009);
    const writer = new CaptureWriter();
    for (let i = 0; i < 5; i++) writer.write(group);
    const { packets } = readCapture(writer.bytes(), "capture");
    engine.attach(new Replay(engine.port(0), packets)).attach(new Recorder(engine.port(1), new CaptureWriter(), () => 0n));
    for (let i = 0; i < 10; i++) engine.poll();
    const bytes = 5 * group.length;
    assert.deepEqual(engine.port(0).linkStats().rx, { bytes, packets: 5, errors: 0, dropped: 0, missed: 0, mcast: 5 });
    for (const i of [1, 3]) {
      assert.deepEqual(engine.port(i).linkStats().tx, { bytes, packets: 5, errors: 0, dropped: 0, carrier: 0, collsns: 0 });
    }
    assert.equal(engine.port(2).linkStats().rx.packets, 5);
    assert.equal(engine.port(2).linkStats().rx.mcast, 5);
    await engine.close();
  });
});
