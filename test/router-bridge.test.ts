/** Bridges of a router: several ports of one LAN between namespaces of the kernel, and what bridge(8) and ip(8) show of them, here and there. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Lab } from "../src/lab/index.ts";
import { deviceOf } from "../src/router/devices-node.ts";
import { Router, type RouterConfig, runCommand } from "../src/router/index.ts";
import { FAMILIES, missing, Namespace } from "./kernel-support.ts";

const ROUTER = { 4: "10.84.0.1", 6: "fd84::1" } as const;
const PORTS = ["lan1", "lan2", "lan3"] as const;
const of = (i: number) => ({ 4: `10.84.0.${i + 11}`, 6: `fd84::1${i}` }) as const;

const ask = async (router: Router, ...[tool, ...words]: string[]) => {
  const { stdout, stderr } = await runCommand(router, { tool, words });
  return `${stdout ?? ""}${stderr ?? ""}`;
};

describe("a router with a bridge between kernels", { skip: missing("ping", "iperf3", "nft"), timeout: 100_000 }, () => {
  const spaces: Namespace[] = [];
  let router: Router;
  const config = (): RouterConfig => ({
    interfaces: [
      { name: "br0", device: { kind: "bridge" }, mac: "02:00:00:00:84:01", addresses: [`${ROUTER[4]}/24`, `${ROUTER[6]}/64`] },
      ...PORTS.map((name, i) => ({
        name,
        // The last takes packets as they are on a wire: what the others bring in large is cut for it.
        device: { kind: "tap", name: "t0", namespace: spaces[i].name, offload: i < 2 } as const,
        master: "br0",
      })),
    ],
    dhcpServers: [{ interface: "br0", range: ["10.84.0.100", "10.84.0.120"] }],
  });

  before(async () => {
    for (const _ of PORTS) spaces.push(new Namespace());
    router = await Router.create(config(), { device: deviceOf });
    spaces.forEach((space, i) => void space.up("t0", `${of(i)[4]}/24`, `${of(i)[6]}/64`));
  });
  after(async () => {
    await router?.close();
    for (const space of spaces) await space.remove();
  });

  for (const family of FAMILIES)
    it(`IPv${family}: ping and iperf3 between its ports, large segments and small ones`, async () => {
      for (const [i, space] of spaces.entries()) {
        const to = [ROUTER[family], of((i + 1) % 3)[family]];
        for (const address of to) assert.match((await space.run(`ping -${family} -c 2 -i 0.05 -W 2 ${address}`)).out, / 0% packet loss/);
      }
      for (const [from, to] of [
        [0, 1],
        [0, 2],
        [2, 1],
      ]) {
        await spaces[to].start("iperf3", ["-s", "-1", "-p", "5201"]);
        await spaces[to].listens(5201);
        const { out } = await spaces[from].run(`iperf3 -${family} -J -t 1 -c ${of(to)[family]}`);
        const { sum_received: got, sum_sent: sent } = JSON.parse(out).end;
        assert.ok(got.bytes > 5_000_000, `${from} to ${to}: ${got.bytes} bytes`);
        assert.ok(sent.retransmits < 500, `${from} to ${to}: ${sent.retransmits} retransmissions`);
      }
    });

  it("rules of the bridge's family and of the network's meet what passes, each at its hooks", async () => {
    const told = await runCommand(router, {
      tool: "nft",
      words: ["-f", "rules"],
      input: `table bridge f {
        chain across { type filter hook forward priority 0; iifname "lan1" oifname "lan3" ip protocol icmp counter drop; }
        chain in { type filter hook input priority 0; iifname "lan2" icmp type echo-request counter; }
        chain out { type filter hook output priority 0; oifname "lan2" icmp type echo-reply counter; }
      }
      table inet g { chain in { type filter hook input priority 0; iifname "br0" icmp type echo-request counter; iifname "lan2" counter; }; }`,
    });
    assert.equal(told.stderr, undefined);
    assert.match((await spaces[0].run(`ping -c 2 -i 0.05 -W 1 ${of(2)[4]}`)).out, /100% packet loss/);
    assert.match((await spaces[0].run(`ping -c 2 -i 0.05 -W 1 ${of(1)[4]}`)).out, / 0% packet loss/);
    assert.match((await spaces[1].run(`ping -c 3 -i 0.05 -W 1 ${ROUTER[4]}`)).out, / 0% packet loss/);
    const counts = [...(await ask(router, "nft", "list", "ruleset")).matchAll(/counter packets (\d+)/g)].map(([, count]) => Number(count));
    assert.deepEqual(counts, [2, 3, 3, 3, 0]);
    await ask(router, "nft", "flush", "ruleset");
  });

  it("bridge(8) and ip(8) print what the kernel's do of a bridge of its own", async () => {
    const there = spaces[0];
    there.ip(
      "link",
      "add",
      "br0",
      "address",
      "02:00:00:00:84:01",
      "type",
      "bridge",
      "mcast_snooping",
      "0",
      "stp_state",
      "0",
      "forward_delay",
      "0",
    );
    for (const name of ["lan1", "lan2"]) {
      there.ip("link", "add", name, "type", "veth", "peer", "name", `x${name}`);
      there.ip("link", "set", name, "master", "br0", "up");
      there.ip("link", "set", `x${name}`, "up");
    }
    there.ip("link", "set", "br0", "up");
    // Somebody is heard by each port.
    for (const name of ["lan1", "lan2"])
      await there.run(
        `python3 -c "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('x${name}', 0)); s.send(b'\\xff' * 6 + bytes([2, 0, 0, 0, 9, ${name.at(-1)}]) + b'\\x88\\xb5' + bytes(50))"`,
      );
    const macs = /[0-9a-f]{2}(:[0-9a-f]{2}){5}/g;
    const shape = (text: string) =>
      text
        .replace(/^\d+: /gm, "N: ")
        .replace(/@\S+:/g, ":")
        .replace(/qdisc \S+/g, "qdisc Q")
        .replace(macs, "MAC");
    const kernel = async (command: string) => shape((await there.run(command)).out);
    assert.equal(shape(await ask(router, "bridge", "link", "show", "dev", "lan1")), await kernel("bridge link show dev lan1"));
    assert.equal(shape(await ask(router, "ip", "link", "show", "lan1")), await kernel("ip link show lan1"));
    // A port's station: "MAC dev lan2 master br0 ".
    const learned = (text: string) => [...new Set(text.split("\n").filter((line) => /dev lan2 .*master br0 $/.test(line)))];
    assert.deepEqual(
      learned(shape(await ask(router, "bridge", "fdb", "show", "br", "br0"))),
      learned(await kernel("bridge fdb show br br0")),
    );
    const objects = (text: string) =>
      JSON.parse(text).map((each: Record<string, unknown>) => Object.keys(each).filter((key) => key !== "link"));
    assert.deepEqual(objects(await ask(router, "bridge", "-j", "link"))[0], objects((await there.run("bridge -j link")).out)[0]);
    for (const wrong of ["bridge foo", "bridge fdb foo", "bridge fdb show br nope", "ip link set lan1 master nope"])
      assert.equal((await ask(router, ...wrong.split(" "))).trimEnd(), (await there.run(wrong)).out.trimEnd(), wrong);
    assert.match(await ask(router, "bridge", "fdb", "show"), /^02:00:00:00:84:01 dev br0 master br0 permanent$/m);
  });

  it("ports come and go by ip(8) and with a configuration", async () => {
    assert.equal(await ask(router, "ip", "link", "set", "lan3", "nomaster"), "");
    assert.match((await spaces[2].run(`ping -c 1 -W 1 ${ROUTER[4]}`)).out, /100% packet loss/);
    assert.equal(await ask(router, "ip", "link", "set", "lan3", "master", "br0"), "");
    assert.match((await spaces[2].run(`ping -c 2 -i 0.05 -W 2 ${ROUTER[4]}`)).out, / 0% packet loss/);
    const next = config();
    const port = next.interfaces[3];
    next.interfaces[3] = { name: port.name, device: port.device, addresses: ["10.85.0.1/24"] };
    assert.deepEqual(await router.reload(next), []);
    spaces[2].ip("addr", "add", "10.85.0.2/24", "dev", "t0");
    assert.match((await spaces[2].run(`ping -c 2 -i 0.05 -W 2 10.85.0.1`)).out, / 0% packet loss/);
    assert.deepEqual(await router.reload(config()), []);
    assert.match((await spaces[2].run(`ping -c 2 -i 0.05 -W 2 ${of(0)[4]}`)).out, / 0% packet loss/);
  });
});

describe("a router with a bridge in a lab", () => {
  it("is made, changed and unmade by its configuration", async () => {
    const lab = await Lab.create({ seed: 3, interfaces: 8, hosts: 3, memory: { bridges: 1, flows: 1024, filterBytes: 4 << 20 } });
    const ports = { br0: lab.engine.port(7), lan1: lab.engine.port(6), lan2: lab.engine.port(5) };
    const client = await lab.host({ interfaces: [{ addresses: ["10.0.0.9/24"] }] });
    const full = (bridged: boolean, vlanFiltering = false): RouterConfig => ({
      interfaces: [
        { name: "lan1", ...(bridged ? { master: "br0" } : { addresses: ["10.0.0.1/24"] }) },
        { name: "lan2", ...(bridged ? { master: "br0", ...(vlanFiltering && { pvid: 5, vlans: [6] }) } : {}) },
        ...(bridged ? [{ name: "br0", device: { kind: "bridge", vlanFiltering } as const, addresses: ["10.0.0.1/24"] }] : []),
      ],
    });
    const router = await Router.create(full(true), { engine: lab.engine, ports, seed: 4 });
    lab.link(client, router.host, {}, ["eth0", "lan1"]);
    const reaches = async () => {
      // Long enough for the neighbour to be asked for anew.
      await lab.run(120_000);
      const reply = client.ping("10.0.0.1", { timeout: 800 }).then(
        () => true,
        () => false,
      );
      await lab.run(2000);
      return reply;
    };
    assert.ok(await reaches());
    await router.reload(full(false));
    assert.ok(await reaches());
    assert.equal(await ask(router, "bridge", "link"), "");
    await router.reload(full(true));
    assert.ok(await reaches());
    await router.reload(full(true, true));
    assert.ok(await reaches());
    assert.equal(
      await ask(router, "bridge", "vlan"),
      "port              vlan-id  \nlan1              1 PVID Egress Untagged\nlan2              5 PVID Egress Untagged\n                  6\nbr0               1 PVID Egress Untagged\n",
    );
    assert.equal(await ask(router, "bridge", "vlan", "add", "vid", "7", "dev", "lan1"), "");
    assert.equal(await ask(router, "bridge", "vlan", "add", "vid", "8", "pvid", "untagged", "dev", "lan2"), "");
    assert.equal(await ask(router, "bridge", "vlan", "del", "vid", "6", "dev", "lan2"), "");
    assert.equal(
      await ask(router, "bridge", "vlan"),
      "port              vlan-id  \nlan1              1 PVID Egress Untagged\n                  7\nlan2              5\n                  8 PVID Egress Untagged\nbr0               1 PVID Egress Untagged\n",
    );
    assert.equal(await ask(router, "bridge", "vlan", "add", "vid", "20-22", "dev", "lan1"), "");
    assert.equal(await ask(router, "bridge", "vlan", "del", "vid", "21", "dev", "lan1"), "");
    const own = { name: "lan1", vlans: router.host.vlans("lan1").map(({ vlan }) => vlan) };
    assert.deepEqual(own, { name: "lan1", vlans: [1, 7, 20, 22] });
    for (const [words, message] of [
      ["add vid foo dev lan1", /^Invalid VLAN ID "foo"; expected 1 to 4094/],
      ["add vid 4095 dev lan1", /^Invalid VLAN ID "4095"/],
      ["add vid 30-20 dev lan1", /^Invalid VLAN ID "30-20"/],
      ["add vid 30-31 pvid untagged dev lan1", /^a port has one pvid/],
      ["del vid 99 dev lan1", /^RTNETLINK answers: No such file or directory/],
      ["del vid 1-5 dev lan1", /^VLAN 1 is what untagged frames of lan1 are in/],
    ] as const) {
      const { stderr = "" } = await runCommand(router, { tool: "bridge", words: ["vlan", ...words.split(" ")] });
      assert.match(stderr, message, words);
    }
    await router.close();
    await lab.engine.close();
    assert.equal(lab.engine.pool().inFlight + lab.engine.pool("bare").inFlight, 0);
  });

  it("takes over what another interface had, and serves on when it is made anew", async () => {
    const lab = await Lab.create({ seed: 3, interfaces: 8, hosts: 3, memory: { bridges: 1, flows: 1024, filterBytes: 4 << 20 } });
    const ports = { br0: lab.engine.port(7), lan1: lab.engine.port(6) };
    const client = await lab.host({ interfaces: [{}] });
    const ends = { addresses: ["10.0.0.1/24"], gateway: "10.0.0.254" };
    const plain: RouterConfig = { interfaces: [{ name: "lan1", ...ends }] };
    const bridged = (ageingSeconds: number): RouterConfig => ({
      interfaces: [
        { name: "br0", device: { kind: "bridge", ageingSeconds }, ...ends },
        { name: "lan1", master: "br0" },
      ],
      dhcpServers: [{ interface: "br0", range: ["10.0.0.100", "10.0.0.110"] }],
    });
    const router = await Router.create(plain, { engine: lab.engine, ports, seed: 4 });
    lab.link(client, router.host, {}, ["eth0", "lan1"]);
    const leases = async () => {
      client.dhcpRelease("eth0");
      await lab.run(1000);
      const lease = client.dhcp("eth0", { family: 4, signal: client.timeout(20_000) }).then(
        () => true,
        () => false,
      );
      await lab.run(30_000);
      return lease;
    };
    for (let round = 0; round < 2; round++) {
      await router.reload(bridged(300));
      assert.match(await ask(router, "ip", "route"), /^default via 10\.0\.0\.254 dev br0/m);
      assert.ok(await leases());
      await router.reload(bridged(200));
      assert.ok(await leases());
      await router.reload(plain);
      assert.match(await ask(router, "ip", "route"), /^default via 10\.0\.0\.254 dev lan1/m);
    }
    await router.close();
    await lab.engine.close();
  });
});
