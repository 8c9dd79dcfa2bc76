/** Rules that a configuration's shortcuts stand for, and hairpin connections by them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Lab } from "../src/lab/index.ts";
import { Router, type RouterConfig, runCommand } from "../src/router/index.ts";

const CONFIG: RouterConfig = {
  rpFilter: "strict",
  interfaces: [
    { name: "wan", addresses: ["192.0.2.1/24"] },
    { name: "lan", addresses: ["10.0.0.1/24"] },
  ],
  nat: { masquerade: ["wan"] },
  forwards: [{ listen: "wan:8080", to: "10.0.0.2:80" }],
};

describe("a configuration's own rules", () => {
  it("that somebody has flushed come back with a reload, and not with an address", async () => {
    const lab = await Lab.create({ seed: 5, memory: { flows: 1024, filterBytes: 8 << 20 } });
    const ruleset = "table ip own {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
    const config: RouterConfig = { interfaces: [{ name: "lan", addresses: ["10.0.0.1/24"] }], nat: { masquerade: ["lan"] }, ruleset };
    const router = await Router.create(config, { engine: lab.engine });
    const has = (name: string) => router.rules.engine?.list().includes(name);
    assert.deepEqual([has("table ip own"), has("packetloom")], [true, true]);
    await runCommand(router, { tool: "nft", words: ["flush", "ruleset"] });
    assert.deepEqual([has("table ip own"), has("packetloom")], [false, false]);
    router.host.addAddress("lan", "10.0.1.1/24");
    await lab.run(10);
    assert.deepEqual([has("table ip own"), has("packetloom")], [false, true], "what an address may change");
    await router.reload(config);
    assert.deepEqual([has("table ip own"), has("packetloom")], [true, true]);
    await router.close();
    await lab.engine.close();
  });
});

describe("a reload", () => {
  it("that asks whether addresses are in use offers none that is", async () => {
    const lab = await Lab.create({ seed: 9, interfaces: 10, memory: { bridges: 1, flows: 1024, filterBytes: 8 << 20 } });
    const standing = await lab.host({ interfaces: [{ addresses: ["10.0.0.100/24"] }] });
    const asking = await lab.host({ interfaces: [{ dhcp: "v4" }] });
    const bridge = { name: "br0", device: { kind: "bridge" as const }, addresses: ["10.0.0.1/24"] };
    const config: RouterConfig = {
      interfaces: [bridge, { name: "p0", master: "br0" }, { name: "p1", master: "br0" }],
      dhcpServers: [{ interface: "br0", range: ["10.0.0.100", "10.0.0.101"] }],
    };
    const router = await Router.create(config, { engine: lab.engine, ports: { p0: lab.engine.port(6), p1: lab.engine.port(7) } });
    await router.reload({ ...config, dhcpServers: [{ interface: "br0", range: ["10.0.0.100", "10.0.0.101"], pingMs: 200 }] });
    lab.link(standing, router.host, {}, ["eth0", "p0"]);
    lab.link(asking, router.host, {}, ["eth0", "p1"]);
    await lab.run(20_000);
    assert.deepEqual(
      asking
        .addresses()
        .filter(({ origin }) => origin === "dhcp")
        .map(({ address }) => address),
      ["10.0.0.101"],
    );
    await router.close();
    await lab.engine.close();
  });

  it("with another prefix ends what hosts prefer of the old one (RFC 9096)", async () => {
    const lab = await Lab.create({ seed: 8, memory: { flows: 1024, filterBytes: 8 << 20 } });
    const host = await lab.host({ interfaces: [{ autoconf: true }] });
    const lan = { name: "lan", addresses: ["fd00:1::1/64"], advertise: true };
    const router = await Router.create({ interfaces: [lan] }, { engine: lab.engine, ports: { lan: lab.engine.port(7) } });
    lab.link(host, router.host, {}, ["eth0", "lan"]);
    await lab.run(8000);
    const preferred = () =>
      host
        .addresses()
        .filter(({ address, flags }) => address.startsWith("fd00") && !flags.includes("deprecated"))
        .map(({ address }) => address.slice(0, 6));
    assert.ok(preferred().length > 0 && preferred().every((each) => each === "fd00:1"));
    await router.reload({ interfaces: [{ ...lan, addresses: ["fd00:2::1/64"] }] });
    await lab.run(8000);
    assert.ok(preferred().length > 0 && preferred().every((each) => each === "fd00:2"), preferred().join());
    const old = host.addresses().filter(({ address }) => address.startsWith("fd00:1"));
    assert.ok(old.length > 0 && old.every(({ validMs }) => validMs > 7_100_000 && validMs <= 7_200_000), "it is there for two hours");
    await router.close();
    await lab.engine.close();
  });

  it("with other advertisements leaves hosts their router, with another queue clients their mappings", async () => {
    const lab = await Lab.create({ seed: 7, memory: { flows: 1024, filterBytes: 8 << 20, queueBytes: 1 << 20 } });
    const host = await lab.host({ interfaces: [{ autoconf: true, addresses: ["10.0.0.2/24"] }] });
    const lan = { name: "lan", addresses: ["10.0.0.1/24", "fd00::1/64"], advertise: { interval: 60 } };
    const wan = { name: "wan", addresses: ["192.0.2.1/24"] };
    const config: RouterConfig = {
      interfaces: [wan, lan],
      nat: { masquerade: ["wan"] },
      portMapping: { external: "wan", interfaces: ["lan"], protocols: ["pcp"] },
    };
    const router = await Router.create(config, { engine: lab.engine, ports: { wan: lab.engine.port(6), lan: lab.engine.port(7) } });
    lab.link(host, router.host, {}, ["eth0", "lan"]);
    await lab.run(5000);
    const inner = { address: IpAddress.parse("10.0.0.2"), port: 4000 };
    assert.equal(typeof router.portMapping.mapper?.map({ kind: "pcp", protocol: 17, inner, seconds: 3600 }), "object");
    const hasRouter = () =>
      host.ip.routes.list().some(({ prefix, kind }) => prefix.family === 6 && prefix.length === 0 && kind === "unicast");
    assert.equal(hasRouter(), true);
    await router.reload({ ...config, interfaces: [wan, { ...lan, advertise: { interval: 90, preference: "high" }, qdisc: "fq_codel" }] });
    for (let i = 0; i < 20; i++) {
      await lab.run(50);
      assert.equal(hasRouter(), true, `${50 * i} ms behind the reload`);
    }
    assert.equal(router.portMapping.mapper?.entries().length, 1);
    const { advertise: _, ...quiet } = lan;
    await router.reload({ ...config, interfaces: [wan, quiet] });
    await lab.run(100);
    assert.equal(hasRouter(), false, "it has said good-bye");
    await router.close();
    await lab.engine.close();
  });
});

describe("shortcuts", () => {
  it("are rules beside the user's own, made again when an address comes", async () => {
    const lab = await Lab.create({ seed: 5, memory: { flows: 1024, filterBytes: 8 << 20 } });
    const [client, server] = await Promise.all([
      lab.host({ interfaces: [{ addresses: ["192.0.2.7/24"] }] }),
      lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"], gateway: "10.0.0.1" }] }),
    ]);
    const router = await Router.create(CONFIG, { engine: lab.engine, ports: { wan: lab.engine.port(6), lan: lab.engine.port(7) } });
    lab.link(client, router.host, {}, ["eth0", "wan"]);
    lab.link(server, router.host, {}, ["eth0", "lan"]);
    const list = async (...words: string[]) => (await runCommand(router, { tool: "nft", words: ["list", ...words] })).stdout ?? "";
    assert.equal(
      await list("ruleset"),
      `table inet packetloom {
	chain rpfilter {
		type filter hook prerouting priority raw; policy accept;
		ip saddr != 0.0.0.0 fib saddr . iif oif missing counter packets 0 bytes 0 drop
	}

	chain forwards {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "wan" meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.0.0.2:80
		ip daddr 192.0.2.1 tcp dport 8080 dnat ip to 10.0.0.2:80
	}

	chain sources {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat ip saddr 10.0.0.0/24 ip daddr 10.0.0.2 oifname "lan" masquerade
		oifname "wan" masquerade
	}
}
`,
    );
    const seen: string[] = [];
    void (async () => {
      for await (const { remoteAddress } of server.listen({ port: 80 })) seen.push(remoteAddress.address);
    })();
    const opens = async (from: typeof client, hostname: string) => {
      const told = from.connect({ hostname, port: 8080 }).then(
        () => "open",
        (error) => error.code,
      );
      await lab.run(3000);
      return told;
    };
    assert.equal(await opens(client, "192.0.2.1"), "open");
    assert.equal(await opens(server, "192.0.2.1"), "open", "from the server's own link");
    assert.deepEqual(seen, ["192.0.2.7", "10.0.0.1"], "the one inside is hidden, the one outside is not");

    router.host.addAddress("wan", "192.0.2.9/24");
    await lab.run(10);
    assert.match(
      await list("chain", "inet", "packetloom", "forwards"),
      /^\t\tip daddr 192\.0\.2\.9 tcp dport 8080 dnat ip to 10\.0\.0\.2:80$/m,
    );
    assert.equal(await opens(server, "192.0.2.9"), "open");
    assert.deepEqual(router.status().problems, []);

    await router.reload({ ...CONFIG, rpFilter: "off", forwards: [], nat: undefined });
    assert.doesNotMatch(await list("ruleset"), /dnat|masquerade|rpfilter/);
    await assert.rejects(router.reload({ ...CONFIG, ruleset: "table inet x { chain y { tcp dprt 80 accept } }" }), /dprt/);
    assert.doesNotMatch(await list("ruleset"), /dnat|masquerade|rpfilter/, "as before");
    await router.close();
    await lab.engine.close();
  });

  it("map sources endpoint-independently, and turn round what goes to an outer end", async () => {
    const lab = await Lab.create({ seed: 5, memory: { flows: 1024, filterBytes: 8 << 20 } });
    const config = { ...CONFIG, forwards: [], rpFilter: "off", nat: { masquerade: ["wan"], mapping: "endpoint-independent" } } as const;
    const router = await Router.create(config as unknown as RouterConfig, {
      engine: lab.engine,
      ports: { wan: lab.engine.port(6), lan: lab.engine.port(7) },
    });
    const { stdout } = await runCommand(router, { tool: "nft", words: ["list", "chain", "inet", "packetloom", "sources"] });
    assert.match(stdout ?? "", /oifname "wan" masquerade restricted-cone/);
    assert.match(stdout ?? "", /ct status dnat ct original ip daddr 192\.0\.2\.1 snat ip to 192\.0\.2\.1 restricted-cone/);
    const mappings = await runCommand(router, { tool: "conntrack", words: ["-L", "mapping"] });
    assert.match(mappings.stderr ?? "", /0 mappings have been shown/);
    await router.close();
  });
});
