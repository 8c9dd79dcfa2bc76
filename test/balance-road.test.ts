/** Services in the road of packets: where they go, what they look like, and that changes leave established flows alone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Balancer, type ServiceOptions } from "../src/balance/index.ts";
import { VirtualClock } from "../src/base/clock.ts";
import { Conntrack } from "../src/track/index.ts";
import {
  addressBytes4,
  checksum,
  ETHERTYPE,
  PROTOCOL,
  parseEthernet,
  parseIpv4,
  parseUdp,
  pseudoSum,
  serializeEthernet,
  serializeIpv4,
  serializeUdp,
} from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const ROUTER = [Uint8Array.of(2, 0, 0, 0, 0, 0), Uint8Array.of(2, 0, 0, 0, 0, 1)];
const VIP = 0x1e000001;

async function director(build: "shared" | "plain", options: Partial<ServiceOptions>) {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 2, flows: 4000, services: 4, clock });
  const table4 = engine.createTable(4);
  table4.set("10.0.0.0/8", table4.addNextHop({ kind: "forward", port: 0, destinationMac: mac(1), sourceMac: ROUTER[0] }));
  table4.set("20.0.0.0/8", table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(2), sourceMac: ROUTER[1] }));
  // In the order of the addresses, so that a backend is known by its MAC.
  const hops = [1, 2, 3].map((i) => table4.addNextHop({ kind: "forward", port: 1, destinationMac: mac(100 + i), sourceMac: ROUTER[1] }));
  table4.set("30.0.0.1/32", table4.addNextHop({ kind: "local" }));
  const network = engine.createNetwork().configure({ track: true, balance: true });
  for (const p of [0, 1]) network.add(engine.port(p).configure({ table4 }));
  const service = new Balancer({ engine }).add({ address: "30.0.0.1", port: 53, protocol: "udp", ...options });
  for (const i of [1, 2, 3])
    service.add({ address: `20.0.0.${i}`, port: options.mode === "nat" ? 5353 : 53, nextHop: options.mode === "dsr" ? hops[i - 1] : 0 });
  return { engine, service, conntrack: new Conntrack(engine), clock };
}

function udp(port: number, source: number, destination: number, sourcePort: number, destinationPort: number): Uint8Array {
  const addresses = { source: addressBytes4(source), destination: addressBytes4(destination) };
  const payload = serializeUdp({ sourcePort, destinationPort, payload: new Uint8Array(9) }, addresses);
  const packet = serializeIpv4({ protocol: PROTOCOL.udp, source, destination, payload });
  return serializeEthernet({ destination: ROUTER[port], source: mac(50), type: ETHERTYPE.ipv4, payload: packet });
}

/** What left, with every checksum looked at. */
function read(frame: Uint8Array) {
  const { destination: to, payload: packet } = parseEthernet(frame);
  const { source, destination, payload, protocol } = parseIpv4(packet);
  assert.equal(checksum(packet.subarray(0, 20)), 0, "the header's checksum");
  if (protocol !== PROTOCOL.udp) return { to, source, destination, inner: payload };
  assert.equal(checksum(payload, pseudoSum(addressBytes4(source), addressBytes4(destination), 17, payload.length)), 0, "UDP's checksum");
  const { sourcePort, destinationPort } = parseUdp(payload);
  return { to, source, destination, sourcePort, destinationPort, inner: payload };
}

const CLIENT = (i: number) => 0x0a000000 + i;

for (const build of BUILDS) {
  describe(`load balancing in the road of packets (${build})`, () => {
    it("nat: there and back, and established flows stay when backends come and go", async () => {
      const { engine, service, conntrack } = await director(build, { mode: "nat" });
      const ask = (i: number) => read(through(engine, [udp(0, CLIENT(i), VIP, 4000, 53)], 0).sent[0].bytes);
      const chosen = new Map<number, number>();
      for (let i = 1; i <= 300; i++) {
        const out = ask(i);
        assert.equal(out.source, CLIENT(i));
        assert.deepEqual([out.sourcePort, out.destinationPort], [4000, 5353]);
        chosen.set(i, out.destination);
        const back = read(through(engine, [udp(1, out.destination, CLIENT(i), 5353, 4000)], 1).sent[0].bytes);
        assert.deepEqual([back.source, back.sourcePort, back.destination, back.destinationPort], [VIP, 53, CLIENT(i), 4000]);
      }
      assert.equal(new Set(chosen.values()).size, 3);
      service.add({ address: "20.0.0.9", port: 5353 });
      void service.backend("20.0.0.1:5353").drain();
      for (const [i, backend] of chosen) assert.equal(ask(i).destination, backend);
      const fresh = Array.from({ length: 300 }, (_, i) => ask(1000 + i).destination);
      assert.ok(fresh.includes(0x14000009) && !fresh.includes(0x14000001));
      const stats = service.stats();
      assert.equal(stats.conns, 600);
      assert.deepEqual([stats.inPkts, stats.outPkts], [900, 300]);
      assert.equal(stats.activeConns, 600);
      conntrack.flush();
      assert.equal(service.stats().activeConns, 0);
    });

    it("dsr: the packet as it was, behind the backend's MAC", async () => {
      const { engine } = await director(build, { mode: "dsr" });
      const macs = new Set<number>();
      for (let i = 1; i <= 100; i++) {
        const sent = udp(0, CLIENT(i), VIP, 4000, 53);
        const [{ port, bytes }] = through(engine, [sent], 0).sent;
        const out = read(bytes);
        assert.deepEqual([port, out.source, out.destination, out.destinationPort], [1, CLIENT(i), VIP, 53]);
        macs.add(out.to[5]);
        const again = through(engine, [sent], 0).sent[0].bytes;
        assert.deepEqual(again, bytes);
      }
      assert.deepEqual([...macs].sort(), [101, 102, 103]);
    });

    it("ipip: within a packet to the backend", async () => {
      const { engine } = await director(build, { mode: "ipip", tunnelFrom: "30.0.0.2" });
      const sent = udp(0, CLIENT(1), VIP, 4000, 53);
      const [{ bytes }] = through(engine, [sent], 0).sent;
      const out = read(bytes);
      assert.equal(out.source, 0x1e000002);
      assert.equal(out.destination >>> 8, 0x140000);
      const inner = parseIpv4(out.inner);
      assert.deepEqual([inner.source, inner.destination, inner.ttl], [CLIENT(1), VIP, 63]);
    });

    it("drops new flows by name when no backend takes them", async () => {
      const { engine, service, conntrack } = await director(build, { mode: "nat" });
      for (const name of ["20.0.0.1:5353", "20.0.0.2:5353", "20.0.0.3:5353"]) void service.backend(name).drain();
      assert.equal(through(engine, [udp(0, CLIENT(1), VIP, 4000, 53)], 0).sent.length, 0);
      assert.deepEqual([engine.counters().drops.no_backend, conntrack.count], [1, 0]);
    });
  });
}
