/** Bridges of hosts: an interface that is the bridge, others that are its ports. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bridge, Host, Lab } from "../src/index.ts";

const bytes = (size: number) => new Uint8Array(size).map((_, i) => i * 13);

/** A router with a bridge of `ports` ports and somebody behind each. */
async function lan(ports: number, options: { vlanFiltering?: boolean; ruleset?: string } = {}) {
  const lab = await Lab.create({ interfaces: 16, hosts: 6, memory: { bridges: 1, filterBytes: 4 << 20, flows: 1024 } });
  const names = Array.from({ length: ports }, (_, i) => `lan${i + 1}`);
  const router = await lab.host({
    forwarding: true,
    ruleset: options.ruleset,
    interfaces: [
      {
        name: "br0",
        mac: "02:00:00:00:00:01",
        device: bridge({ vlanFiltering: options.vlanFiltering }),
        addresses: ["10.0.0.254/24", "fd00::254/64"],
      },
      ...names.map((name) => ({ name, master: "br0" })),
    ],
  });
  const clients = [];
  for (const [i, name] of names.entries()) {
    const client = await lab.host({
      interfaces: [{ mac: `02:00:00:00:01:0${i + 1}`, addresses: [`10.0.0.${i + 1}/24`, `fd00::${i + 1}/64`], gateway: "10.0.0.254" }],
    });
    lab.link(router, client, { delay: 1 }, [name, "eth0"]);
    clients.push(client);
  }
  return { lab, router, clients, names };
}

async function ping(lab: Lab, from: Host, to: string): Promise<boolean> {
  const reply = from.ping(to, { timeout: 500 }).then(
    () => true,
    () => false,
  );
  await lab.run(1000);
  return reply;
}

/** As much as TCP wants to send at once, to see that large segments cross. */
async function transfer(lab: Lab, from: Host, to: Host, address: string): Promise<void> {
  const data = bytes(1_000_000);
  const listener = to.listen({ port: 80 });
  const received = (async () => {
    const socket = await listener.accept();
    const chunks: Uint8Array[] = [];
    for await (const chunk of socket.readable) chunks.push(chunk.slice());
    return Buffer.concat(chunks);
  })();
  const sent = (async () => {
    const socket = await from.connect({ hostname: address, port: 80 });
    const writer = socket.writable.getWriter();
    await writer.write(data);
    await writer.close();
  })();
  await lab.run(60_000);
  await sent;
  assert.deepEqual(new Uint8Array(await received), data);
  listener.close();
}

describe("bridges of hosts", () => {
  it("join ports and the host itself, both families", async () => {
    const { lab, router, clients, names } = await lan(3);
    for (const [i, client] of clients.entries()) {
      assert.ok(await ping(lab, client, "10.0.0.254"), `client ${i} to the router`);
      assert.ok(await ping(lab, router, `fd00::${i + 1}`), `the router to client ${i}`);
      assert.ok(await ping(lab, client, `10.0.0.${((i + 1) % 3) + 1}`), `client ${i} to the next`);
    }
    await transfer(lab, clients[0], clients[1], "10.0.0.2");
    await transfer(lab, clients[2], router, "fd00::254");
    await transfer(lab, router, clients[2], "10.0.0.3");
    assert.deepEqual(
      router
        .stations("br0")
        .map(({ mac, interface: at, age, vlan }) => [mac, at, age === undefined, vlan])
        .sort(),
      [["02:00:00:00:00:01", "br0", true, 0], ...names.map((name, i) => [`02:00:00:00:01:0${i + 1}`, name, false, 0])],
    );
    assert.deepEqual(
      router.links().map(({ name, master, carrier }) => [name, master, carrier]),
      [["br0", undefined, true], ...names.map((name) => [name, "br0", true])],
    );
    await lab.engine.close();
  });

  it("take ports in and give them back while they run", async () => {
    const { lab, router, clients } = await lan(2);
    const listener = router.listen({ port: 80 });
    const opening = clients[1].connect({ hostname: "10.0.0.254", port: 80 });
    await lab.run(100);
    const [socket, served] = [await opening, await listener.accept()];
    router.setMaster("lan2", undefined);
    assert.equal(await ping(lab, clients[1], "10.0.0.254"), false);
    assert.equal(await ping(lab, clients[0], "10.0.0.254"), true);
    // For itself again, with an address of its own.
    assert.equal(router.ip.interface("lan2").addresses.length, 1);
    router.addAddress("lan2", "10.1.0.254/24");
    clients[1].addAddress("eth0", "10.1.0.2/24");
    assert.equal(await ping(lab, clients[1], "10.1.0.254"), true);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), false);
    router.setMaster("lan2", "br0");
    assert.deepEqual(router.ip.interface("lan2").addresses, []);
    assert.equal(await ping(lab, clients[1], "10.1.0.254"), false);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), true);
    // A connection that began before lives on.
    await socket.write(bytes(10));
    await lab.run(60_000);
    const space = new Uint8Array(10);
    assert.equal(await served.read(space), 10);
    assert.deepEqual(space, bytes(10));
    await lab.engine.close();
  });

  it("go and come with what they are made of", async () => {
    const { lab, router, clients } = await lan(2);
    assert.throws(() => lab.engine.createBridge(), /all 1 bridges are in use/);
    const { port } = router.ip.interface("br0");
    for (let round = 0; round < 3; round++) {
      router.removeInterface("br0");
      assert.equal(router.ip.interface("lan1").master, undefined);
      assert.equal(await ping(lab, clients[0], "10.0.0.2"), false);
      await router.addInterface({ name: "br0", port, device: bridge(), addresses: ["10.0.0.254/24"] });
      for (const name of ["lan1", "lan2"]) router.setMaster(name, "br0");
      assert.equal(await ping(lab, clients[0], "10.0.0.2"), true);
      assert.equal(await ping(lab, clients[1], "10.0.0.254"), true);
    }
    router.removeInterface("lan1");
    assert.equal(await ping(lab, clients[1], "10.0.0.254"), true);
    router.removeInterface("lan2");
    assert.equal(router.links()[0].carrier, true);
    await lab.run(10);
    assert.equal(router.links()[0].carrier, false);
    await lab.engine.close();
    assert.equal(lab.engine.pool().inFlight + lab.engine.pool("bare").inFlight, 0);
  });

  it("that are down pass nothing on; that have another address are found under it", async () => {
    const { lab, router, clients } = await lan(2);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), true);
    router.setUp("br0", false);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), false);
    assert.deepEqual(
      router.stations("br0").map(({ interface: at }) => at),
      ["br0"],
    );
    router.setUp("br0", true);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), true);
    router.setMac("br0", "02:00:00:00:00:77");
    await lab.run(10);
    assert.equal(await ping(lab, clients[0], "10.0.0.254"), true);
    assert.ok(
      router.stations("br0").some(({ mac, interface: at, age }) => mac === "02:00:00:00:00:77" && at === "br0" && age === undefined),
    );
    assert.ok(!router.stations("br0").some(({ mac }) => mac === "02:00:00:00:00:01"));
    router.setUp("lan2", false);
    assert.equal(await ping(lab, clients[0], "10.0.0.2"), false);
    assert.equal(await ping(lab, clients[0], "10.0.0.254"), true);
    router.setUp("lan1", false);
    assert.equal(router.ip.interface("br0").carrier, true);
    await lab.run(10);
    assert.equal(router.ip.interface("br0").carrier, false);
    await lab.engine.close();
  });

  it("have the MTU of their smallest port until they are given one", async () => {
    const { lab, router } = await lan(2);
    router.setMtu("lan1", 1400);
    assert.equal(router.ip.interface("br0").mtu, 1400);
    router.setMtu("lan1", 1500);
    assert.equal(router.ip.interface("br0").mtu, 1500);
    router.setMtu("br0", 1300);
    router.setMtu("lan1", 1200);
    assert.equal(router.ip.interface("br0").mtu, 1300);
    await lab.engine.close();
  });

  it("keep VLANs apart, and are in one themselves", async () => {
    const { lab, router, clients } = await lan(3, { vlanFiltering: true });
    router.setMaster("lan2", "br0", { pvid: 20 });
    router.setMaster("lan3", "br0", { pvid: 20, vlans: [1, 30] });
    assert.equal(await ping(lab, clients[1], "10.0.0.3"), true);
    assert.equal(await ping(lab, clients[0], "10.0.0.3"), false);
    assert.equal(await ping(lab, clients[1], "10.0.0.254"), false);
    assert.equal(await ping(lab, clients[0], "10.0.0.254"), true);
    assert.deepEqual(router.vlans("lan3"), [
      { vlan: 1, tagged: true, isDefault: false },
      { vlan: 20, tagged: false, isDefault: true },
      { vlan: 30, tagged: true, isDefault: false },
    ]);
    assert.deepEqual(router.vlans("br0"), [{ vlan: 1, tagged: false, isDefault: true }]);
    router.setMaster("lan2", "br0");
    assert.equal(await ping(lab, clients[1], "10.0.0.254"), true);
    assert.equal(await ping(lab, clients[1], "10.0.0.3"), false);
    await lab.engine.close();
  });

  it("serve DHCP, and what is marked on the bridge is marked in the network", async () => {
    const ruleset = `table bridge f { chain in { type filter hook input priority 0; iifname "lan2" meta mark set 7; }; }
      table inet g { chain in { type filter hook input priority 0; meta mark 7 icmp type echo-request counter drop; icmp type echo-request counter; }; }`;
    const { lab, router, clients } = await lan(2, { ruleset });
    assert.equal(await ping(lab, clients[0], "10.0.0.254"), true);
    assert.equal(await ping(lab, clients[1], "10.0.0.254"), false);
    assert.match(router.firewall.list(), /counter packets 1 .*drop\n.*counter packets 1/);
    await lab.engine.close();
  });

  it("say what is wrong", async () => {
    const { lab, router } = await lan(2);
    assert.throws(() => router.addAddress("lan1", "10.9.0.1/24"), /lan1 is a port of br0 and has no addresses; give 10\.9\.0\.1 to br0/);
    assert.throws(() => router.setMaster("lan1", "lan2"), /lan2 is no bridge; expected an interface whose device is bridge\(\)/);
    assert.throws(() => router.setMaster("br0", "br0"), /br0 is a bridge itself/);
    assert.throws(() => router.setMaster("lan1", "br9"), /there is no interface br9/);
    assert.throws(() => router.setMaster("lan1", "br0", { pvid: 5000 }), /pvid is 5000; expected a whole number from 1 to 4094/);
    assert.throws(() => router.stations("lan1"), /lan1 is no bridge/);
    assert.throws(() => bridge({ ageingSeconds: 0 }), /ageingSeconds is 0/);
    await assert.rejects(
      router.addInterface({ name: "x", device: bridge(), port: lab.engine.port(12) }),
      /all 1 bridges are in use; raise bridges/,
    );
    await assert.rejects(Host.create({ interfaces: [{ name: "x", master: "br0" }] }), /there is no interface br0/);
    await assert.rejects(Host.create({ interfaces: [{ name: "x", pvid: 2 }] }), /pvid is of a bridge's port; expected master with it/);
    await assert.rejects(
      Host.create({ interfaces: [{ name: "x", master: "br0", gateway: "10.9.0.1" }] }),
      /gateway of a port of br0 is the bridge's; expected it there/,
    );
    await lab.engine.close();
  });

  it("pass nothing on that a port's MTU does not take, and forget who was behind a port that is down", async () => {
    const { lab, router, clients } = await lan(3);
    router.setMtu("br0", 1500);
    const large = async (size: number) => {
      const reply = clients[0].ping("10.0.0.2", { size, timeout: 500 }).then(
        () => true,
        () => false,
      );
      await lab.run(1000);
      return reply;
    };
    assert.equal(await large(1472), true);
    router.setMtu("lan2", 1280);
    // With four bytes for a tag, as in Linux.
    assert.equal(await large(1252), true);
    assert.equal(await large(1257), false);
    assert.ok((lab.engine.counters().drops.too_large ?? 0) >= 1);
    router.setMtu("lan2", 1500);
    assert.equal(await large(1472), true);
    router.setUp("lan2", false);
    assert.ok(!router.stations("br0").some(({ interface: at }) => at === "lan2"));
    router.setUp("lan2", true);
    // Whoever moves to another port is found there at once.
    assert.equal(await large(100), true);
    await lab.engine.close();
  });

  it("keep their own port to themselves, and their address whoever else speaks", async () => {
    const { lab, router } = await lan(2);
    assert.throws(() => lab.engine.port(16), /there is no port 16; this engine has ports 0 to 15/);
    const { bridge: own } = (
      router as unknown as { devices: Map<object, { bridge: { add(port: object): void; own: object } }> }
    ).devices.get(router.ip.interface("br0")) as { bridge: { add(port: object): void; own: object } };
    assert.throws(() => own.add(own.own), /is a member already/);
    const { port } = router.ip.interface("lan1");
    for (let i = 0; i < 20_000; i++) {
      const frame = new Uint8Array(60).fill(0xff, 0, 6);
      frame.set([2, 1, i >>> 16, i >>> 8, i, 9], 6);
      frame.set([0x88, 0xb5], 12);
      port.receive(frame);
      if (i % 500 === 0) await lab.run(1);
    }
    await lab.run(10);
    router.setMac("br0", "02:00:00:00:00:99");
    assert.ok(router.stations("br0").some(({ mac, age }) => mac === "02:00:00:00:00:99" && age === undefined));
    await lab.engine.close();
  });

  it("have at most 64 ports, and who is refused is as before", async () => {
    const lab = await Lab.create({ interfaces: 70, hosts: 1, memory: { bridges: 1, nextHops: 1024, appBytes: 1 << 20 } });
    const host = await lab.host({ interfaces: [{ name: "br0", device: bridge() }] });
    for (let i = 1; i <= 63; i++) await host.addInterface({ name: `p${i}`, port: lab.engine.port(i), master: "br0" });
    await host.addInterface({ name: "last", port: lab.engine.port(64), addresses: ["10.0.0.1/24"] });
    assert.throws(() => host.setMaster("last", "br0"), /a bridge has at most 64 ports/);
    assert.ok(host.addresses().some(({ address }) => address === "10.0.0.1"));
    host.removeInterface("p7");
    host.setMaster("last", "br0");
    assert.equal(
      host.addresses().some(({ address }) => address === "10.0.0.1"),
      false,
    );
    await lab.engine.close();
  });
});
