/** What a firewall lists is what stands in memory: counters that have counted, elements that rules have made, times that run. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VirtualClock } from "../src/base/clock.ts";
import { Firewall } from "../src/filter/index.ts";
import { addressBytes4, ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const RULES = `table ip t {
  counter all { }
  quota little { over 100 bytes }
  set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1m; }
  set pairs { type ipv4_addr . inet_service; size 100; flags dynamic; }
  set marked { typeof udp dport; counter; elements = { 53, 54 comment "near" } }
  set nets { type ipv4_addr; flags interval,timeout; elements = { 10.0.0.0/24 timeout 1h, 10.1.0.0-10.1.0.9 } }
  map where { type ipv4_addr : inet_service; flags dynamic; size 10; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    counter name all quota name little
    ip saddr 10.0.0.2 counter quota until 1 mbytes accept
    update @seen { ip saddr counter }
    add @pairs { ip daddr . udp dport } last
    udp dport @marked accept
    udp dport 60 counter last
  }
}
`;

async function firewalled(build: "shared" | "plain") {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows: 100, filterBytes: 1 << 20, clock });
  const table4 = engine.createTable(4);
  table4.set("0.0.0.0/0", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: mac(11) }));
  const network = engine.createNetwork();
  for (const p of [0, 1]) {
    engine.port(p).configure({ table4 });
    network.add(engine.port(p));
  }
  const firewall = new Firewall(engine, network);
  firewall.apply(RULES);
  const send = (source: number, destinationPort: number) => {
    const destination = 0x14000001;
    const addresses = { source: addressBytes4(source), destination: addressBytes4(destination) };
    const udp = serializeUdp({ sourcePort: 1000, destinationPort, payload: new Uint8Array(12) }, addresses);
    const payload = serializeIpv4({ protocol: PROTOCOL.udp, source, destination, payload: udp });
    const frame = serializeEthernet({ destination: Uint8Array.of(2, 0, 0, 0, 0, 0), source: mac(50), type: ETHERTYPE.ipv4, payload });
    return through(engine, [frame]).sent.length;
  };
  return { clock, firewall, send };
}
const FIRST = 0x0a000001;

for (const build of BUILDS)
  describe(`a firewall's listing (${build})`, () => {
    it("shows what was counted, and what rules have put into sets", async () => {
      const { clock, firewall, send } = await firewalled(build);
      for (const port of [53, 53, 60]) send(FIRST, port);
      send(FIRST + 1, 54);
      clock.advance(2500);
      const text = firewall.list();
      for (const line of [
        "packets 4 bytes 160",
        "over 100 bytes used 160 bytes",
        "ip saddr 10.0.0.2 counter packets 1 bytes 40 quota 1 mbytes used 40 bytes accept",
        "elements = { 10.0.0.1 counter packets 3 bytes 120 expires 57s500ms }",
        "elements = { 20.0.0.1 . 53,\n\t\t\t     20.0.0.1 . 60 }",
        'elements = { 53 counter packets 2 bytes 80, 54 counter packets 0 bytes 0 comment "near" }',
        "elements = { 10.0.0.0/24 timeout 1h expires 59m57s500ms, 10.1.0.0-10.1.0.9 }",
        "add @pairs { ip daddr . udp dport } last used 2s500ms",
        "udp dport 60 counter packets 1 bytes 40 last used 2s500ms",
      ])
        assert.ok(text.includes(line), `${line}\nis not in\n${text}`);
      assert.match(firewall.apply("list set ip t seen"), /10\.0\.0\.1 counter packets 3 bytes 120 expires 57s500ms/);
      const again = await firewalled(build);
      again.firewall.apply(`flush ruleset\n${text}`);
      assert.equal(again.firewall.list({ stateless: true }), firewall.list({ stateless: true }));
    });

    it("goes on counting over lists, and begins again where it was reset", async () => {
      const { clock, firewall, send } = await firewalled(build);
      send(FIRST, 60);
      assert.match(firewall.apply("list counters"), /packets 1 bytes 40/);
      assert.match(firewall.apply("reset counter ip t all"), /packets 1 bytes 40/);
      assert.match(firewall.apply("list counter ip t all"), /packets 0 bytes 0/);
      assert.match(firewall.list(), /udp dport 60 counter packets 1 bytes 40 last used 0s/);
      clock.advance(61_000);
      assert.ok(!firewall.list().includes("10.0.0.1 counter"), "an element outlives its time");
      assert.match(firewall.apply("reset rules"), /udp dport 60 counter packets 1 bytes 40/);
      assert.match(firewall.list(), /udp dport 60 counter packets 0 bytes 0 last used never/);
      assert.match(firewall.apply("reset quotas"), /used 40 bytes/);
      assert.ok(!firewall.list().includes("over 100 bytes used"));
      send(FIRST, 60);
      assert.match(firewall.apply("list counter ip t all", { json: true }), /"packets":1,"bytes":40/);
    });

    it("says what is wrong without changing anything, and changes nothing when it only checks", async () => {
      const { firewall, send } = await firewalled(build);
      send(FIRST, 60);
      const before = firewall.list();
      assert.equal(firewall.apply("add table ip other; flush table ip t", { check: true }), "");
      assert.throws(() => firewall.apply("reset counters; add rule ip t nowhere accept"), /No such file or directory/);
      assert.equal(firewall.list(), before);
    });
  });
