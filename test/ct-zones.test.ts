/** Zones of connection tracking (`ct zone set`): one tuple, told apart by what rules say of its packets before they are tracked. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/base/random.ts";
import { flowText } from "../src/track/index.ts";
import { ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { BUILDS, mac, SEED, through } from "./support.ts";
import { crossing, ROUTER } from "./track-rig.ts";

const CLIENT = IpAddress.parse("10.0.0.1");
const SERVER = IpAddress.parse("20.0.0.1");

const CLASSES = "chain raw { type filter hook prerouting priority raw; ct zone set ip dscp map { 1 : 1, 2 : 2, 3 : 40000 }; };";

function datagram(port: 0 | 1, [from, to]: [IpAddress, IpAddress], [sourcePort, destinationPort]: [number, number], dscp: number) {
  const payload = serializeUdp(
    { sourcePort, destinationPort, payload: new Uint8Array(8) },
    { source: from.bytes(), destination: to.bytes() },
  );
  const packet = serializeIpv4({ protocol: PROTOCOL.udp, source: from.v4, destination: to.v4, tos: dscp << 2, payload });
  return serializeEthernet({ destination: ROUTER[port], source: mac(50 + port), type: ETHERTYPE.ipv4, payload: packet });
}

for (const build of BUILDS)
  describe(`zones of connections (${build})`, () => {
    it("one tuple is as many flows as it has zones, whatever else is in the burst", async () => {
      const { engine, conntrack } = await crossing(build, `table ip t { ${CLASSES} }`, 4000);
      const random = new Random(SEED);
      const ports = Array.from({ length: 30 }, (_, i) => 1000 + i);
      const sent = new Map<string, number>();
      for (let round = 0; round < 40; round++) {
        const burst = Array.from({ length: 32 }, () => {
          const [port, dscp] = [ports[random.below(ports.length)], random.below(4)];
          sent.set(`${port} ${[0, 1, 2, 40000][dscp]}`, (sent.get(`${port} ${[0, 1, 2, 40000][dscp]}`) ?? 0) + 1);
          return datagram(0, [CLIENT, SERVER], [port, 53], dscp);
        });
        assert.equal(through(engine, burst, 0).sent.length, burst.length);
      }
      const seen = new Map([...conntrack.list()].map((flow) => [`${flow.original.sport} ${flow.zone}`, flow.original.packets]));
      assert.deepEqual(new Map([...seen].sort()), new Map([...sent].sort()), `SEED=${SEED}`);
      auditFlows(engine);
    });

    it("answers are of the flow of their zone, and of no other", async () => {
      const { engine, conntrack } = await crossing(build, `table ip t { ${CLASSES} }`);
      through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], 1)], 0);
      through(engine, [datagram(1, [SERVER, CLIENT], [53, 1000], 2)], 1);
      through(engine, [datagram(1, [SERVER, CLIENT], [53, 1000], 1)], 1);
      const flows = [...conntrack.list()].map(({ zone, isReplied, original }) => [zone, isReplied, String(original.src)]).sort();
      assert.deepEqual(flows, [
        [1, true, "10.0.0.1"],
        [2, false, "20.0.0.1"],
      ]);
      const found = conntrack.find("udp", { address: CLIENT, port: 1000 }, { address: SERVER, port: 53 }, 1);
      assert.deepEqual([found?.zone, found?.isReplied], [1, true]);
      assert.equal(conntrack.find("udp", { address: CLIENT, port: 1000 }, { address: SERVER, port: 53 }), undefined);
      assert.equal(conntrack.delete({ zone: 2 }), 1);
      assert.deepEqual(
        [...conntrack.list()].map(({ zone }) => zone),
        [1],
      );
    });

    it("a port is taken in its zone alone: two zones are translated to one", async () => {
      const nat = "chain n { type nat hook postrouting priority srcnat; oifname wan meta l4proto udp snat to 20.0.0.99:7000; };";
      const { engine, conntrack } = await crossing(build, `table ip t { ${CLASSES} ${nat} }`);
      for (const dscp of [1, 2]) through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], dscp)], 0);
      assert.equal(through(engine, [datagram(0, [CLIENT, SERVER], [1001, 53], 1)], 0).sent.length, 0, "the port is another's");
      const flows = [...conntrack.list()].map(({ zone, reply }) => [zone, String(reply.dst), reply.dport]).sort();
      assert.deepEqual(flows, [
        [1, "20.0.0.99", 7000],
        [2, "20.0.0.99", 7000],
      ]);
      auditFlows(engine);
    });

    it("rules see the zone behind tracking, not before it; a packet in a zone is not untracked", async () => {
      const rules = `table ip t {
        chain raw { type filter hook prerouting priority raw; ct zone 0 counter; ip dscp 1 ct zone set 7; ct zone 7 counter notrack; };
        chain f { type filter hook forward priority 0; ct zone 7 counter; ct original zone 7 counter; ct state untracked counter; }
      }`;
      const { engine, firewall, conntrack } = await crossing(build, rules);
      for (const dscp of [0, 1, 1]) through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], dscp)], 0);
      assert.deepEqual(
        firewall.counters().map(({ packets }) => packets),
        [0, 0, 2, 2, 0],
      );
      assert.deepEqual([...conntrack.list()].map(({ zone }) => zone).sort(), [0, 7]);
    });

    it("of the original direction alone: two clients with one address share a server, and each gets its answers", async () => {
      const zones = CLASSES.replace("ct zone", "iifname lan ct original zone");
      const rules = `table ip t { ${zones}
        chain n { type nat hook postrouting priority srcnat; oifname wan masquerade; }
        chain f { type filter hook forward priority 0; ct original zone 1 counter; ct reply zone 0 counter; ct zone 1 counter; }; }`;
      const { engine, conntrack, firewall } = await crossing(build, rules);
      const ports = [1, 2].map((dscp) => {
        const { sent } = through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], dscp)], 0);
        return (sent[0].bytes[34] << 8) | sent[0].bytes[35];
      });
      assert.notEqual(ports[0], ports[1]);
      const outside = IpAddress.parse("20.0.0.99");
      for (const port of ports) {
        const [{ bytes }] = through(engine, [datagram(1, [SERVER, outside], [53, port], 0)], 1).sent;
        assert.deepEqual([...bytes.subarray(30, 38)], [10, 0, 0, 1, 0, 53, 1000 >> 8, 1000 & 255]);
      }
      for (const dscp of [1, 2]) through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], dscp)], 0);
      const seen = [...conntrack.list()].map(({ zone, zoneOf, original, reply }) => [
        zone,
        zoneOf,
        original.packets,
        reply.packets,
        reply.dport,
      ]);
      assert.deepEqual(seen.sort(), [
        [1, "original", 2, 1, ports[0]],
        [2, "original", 2, 1, ports[1]],
      ]);
      assert.deepEqual(
        firewall.counters().map(({ packets }) => packets),
        [3, 6, 3],
      );
      assert.match(flowText([...conntrack.list({ zone: 1, zoneOf: "original" })][0]), / dport=53 zone-orig=1 packets=2 .* mark=0 use=1$/);
      assert.equal([...conntrack.list({ zone: 1 })].length, 0);
      auditFlows(engine);
    });

    it("go when the rules that make them go, for packets to come", async () => {
      const { engine, firewall, conntrack } = await crossing(build, `table ip t { ${CLASSES} }`);
      through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], 1)], 0);
      firewall.apply("flush ruleset; table ip t { chain f { type filter hook forward priority 0; ct state new counter; }; }");
      through(engine, [datagram(0, [CLIENT, SERVER], [1000, 53], 1)], 0);
      assert.deepEqual([...conntrack.list()].map(({ zone }) => zone).sort(), [0, 1]);
    });
  });
