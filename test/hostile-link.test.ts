/** Everything that a neighbour can say, damaged: nothing throws, nothing leaks, nothing grows without bound. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/index.ts";
import { icmpMessage } from "../src/ip/icmp.ts";
import { groupMac } from "../src/ip/interface.ts";
import { advertisementData, advertisementWord, parseAdvertisement, type RouterAdvertisement } from "../src/ip/router-messages.ts";
import { Lab } from "../src/lab/lab.ts";
import { checksum, serializeArp, serializeEthernet, serializeIpv4, serializeIpv6 } from "../src/wire/index.ts";
import { SEED } from "./support.ts";

const address = (text: string) => IpAddress.parse(text);
const MAC = Uint8Array.of(2, 9, 9, 9, 9, 9);
const ROUTER = address("fe80::9");
const NODES = address("ff02::1");
const ALERT = { type: 0, bytes: Uint8Array.of(0, 0, 5, 2, 0, 0, 1, 0) };

/** One message of each kind, as payload and as what wraps it, so that damage can be summed anew. */
function messages(own: IpAddress): { payload: Uint8Array; wrap: (payload: Uint8Array) => Uint8Array }[] {
  const six =
    (to: IpAddress, hopLimit: number, extensions: (typeof ALERT)[] = []) =>
    (payload: Uint8Array) => {
      payload[2] = payload[3] = 0;
      const [type, code] = payload;
      const summed = icmpMessage(
        type,
        code,
        new DataView(payload.buffer, payload.byteOffset).getUint32(4),
        payload.subarray(8),
        ROUTER,
        to,
      );
      return serializeIpv6({ source: ROUTER.bytes(), destination: to.bytes(), protocol: 58, hopLimit, extensions, payload: summed });
    };
  const four =
    (to: string, ttl: number, protocol: number, options = new Uint8Array(0)) =>
    (payload: Uint8Array) => {
      payload[2] = payload[3] = 0;
      const sum = checksum(payload);
      payload[2] = sum >>> 8;
      payload[3] = sum;
      return serializeIpv4({ source: address("10.0.0.254").v4, destination: address(to).v4, protocol, ttl, options, payload });
    };
  const message = (type: number, length: number, ...fill: [number, Uint8Array][]) => {
    const out = new Uint8Array(length);
    out[0] = type;
    for (const [at, bytes] of fill) out.set(bytes, at);
    return out;
  };
  const said: RouterAdvertisement = {
    hopLimit: 64,
    managed: false,
    other: true,
    preference: "high",
    lifetimeSeconds: 1800,
    reachableMs: 1000,
    retransMs: 1000,
    sourceMac: MAC,
    mtu: 1400,
    prefixes: [{ prefix: address("2001:db8:5::"), length: 64, onLink: true, autonomous: true, validSeconds: 9999, preferredSeconds: 999 }],
    routes: [{ prefix: address("2001:db8:6::"), length: 48, preference: "low", seconds: 99 }],
    nameServers: [{ seconds: 99, addresses: [address("2001:db8::53")] }],
    searchList: [{ seconds: 99, domains: ["a.example"] }],
  };
  const data = advertisementData(said);
  const advertisement = message(134, 8 + data.length, [8, data]);
  new DataView(advertisement.buffer).setUint32(4, advertisementWord(said));
  assert.ok(parseAdvertisement(advertisement));
  const inner6 = serializeIpv6({
    source: own.bytes(),
    destination: address("2001:db8:6::1").bytes(),
    protocol: 17,
    payload: new Uint8Array(16),
  });
  const inner4 = serializeIpv4({
    source: address("10.0.0.1").v4,
    destination: address("198.51.100.1").v4,
    protocol: 17,
    payload: new Uint8Array(16),
  });
  const group = address("ff15::7");
  return [
    { payload: advertisement, wrap: six(NODES, 255) },
    { payload: message(135, 32, [8, own.bytes()], [24, Uint8Array.of(1, 1, ...MAC)]), wrap: six(own, 255) },
    { payload: message(136, 32, [4, Uint8Array.of(0xe0)], [8, ROUTER.bytes()], [24, Uint8Array.of(2, 1, ...MAC)]), wrap: six(own, 255) },
    {
      payload: message(137, 96, [8, address("fe80::77").bytes()], [24, address("2001:db8:6::1").bytes()], [40, inner6]),
      wrap: six(own, 255),
    },
    {
      payload: message(130, 44, [5, Uint8Array.of(100)], [8, group.bytes()], [24, Uint8Array.of(2, 20, 0, 1)], [28, own.bytes()]),
      wrap: six(NODES, 1, [ALERT]),
    },
    { payload: message(131, 24, [8, group.bytes()]), wrap: six(group, 1, [ALERT]) },
    { payload: message(4, 72, [8, inner6]), wrap: six(own, 64) },
    { payload: message(2, 72, [4, Uint8Array.of(0, 0, 5, 0)], [8, inner6]), wrap: six(own, 64) },
    { payload: message(5, 44, [1, Uint8Array.of(1)], [4, Uint8Array.of(10, 0, 0, 77)], [8, inner4]), wrap: four("10.0.0.1", 64, 1) },
    { payload: message(3, 44, [1, Uint8Array.of(4)], [6, Uint8Array.of(5, 0)], [8, inner4]), wrap: four("10.0.0.1", 64, 1) },
    { payload: message(13, 20), wrap: four("10.0.0.1", 64, 1, Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0)) },
    {
      payload: message(0x11, 16, [1, Uint8Array.of(10)], [4, Uint8Array.of(239, 1, 1, 1)], [8, Uint8Array.of(2, 20, 0, 1, 10, 0, 0, 9)]),
      wrap: four("224.0.0.1", 1, 2),
    },
    { payload: message(0x16, 8, [4, Uint8Array.of(239, 1, 1, 1)]), wrap: four("239.1.1.1", 1, 2) },
  ];
}

describe("a hostile link", () => {
  for (const forwarding of [false, true]) {
    it(`damaged messages of every kind leave a ${forwarding ? "router" : "host"} as it was`, async () => {
      const lab = await Lab.create({ seed: SEED });
      const random = new Random(SEED);
      const victim = await lab.host({
        forwarding,
        interfaces: [
          {
            addresses: ["10.0.0.1/24", "2001:db8::1/64"],
            gateway: ["10.0.0.254"],
            autoconf: true,
            advertise: forwarding,
            proxy: forwarding,
          },
        ],
      });
      const peer = await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24", "2001:db8::2/64"] }] });
      lab.link(victim, peer);
      const socket = victim.datagram({ port: 7 });
      for (const group of ["239.1.1.1", "ff15::7"]) socket.join(group);
      await lab.run(5000);
      const port = victim.ip.interface("eth0").port;
      const kinds = messages(address("2001:db8::1"));
      const damage = (bytes: Uint8Array) => {
        for (let n = random.below(4); n > 0; n--)
          bytes[random.below(bytes.length)] = [0, 1, 127, 128, 255, random.below(256)][random.below(6)];
        return random.below(8) === 0 ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes;
      };
      for (let i = 0; i < 6000; i++) {
        const { payload, wrap } = kinds[random.below(kinds.length)];
        let body = damage(payload.slice());
        if (body.length < 8) body = payload.slice(0, 8);
        let packet = wrap(body);
        if (random.below(6) === 0) packet = damage(packet);
        const isSix = packet.length > 0 && packet[0] >>> 4 === 6;
        const destination =
          isSix && packet[24] === 0xff && packet.length >= 40 ? groupMac(IpAddress.fromBytes(packet.subarray(24, 40))) : port.macBytes;
        port.receive(serializeEthernet({ destination, source: MAC, type: isSix ? 0x86dd : 0x0800, payload: packet }));
        if (random.below(20) === 0) {
          const arp = serializeArp({
            operation: "request",
            senderMac: MAC,
            senderAddress: random.u32(),
            targetMac: new Uint8Array(6),
            targetAddress: address("10.0.0.1").v4,
          });
          port.receive(serializeEthernet({ destination: port.macBytes, source: MAC, type: 0x0806, payload: damage(arp) }));
        }
        if (i % 100 === 0) await lab.run(random.below(200));
      }
      await lab.run(30_000);
      assert.ok(victim.ip.neighbours.size <= 1024);
      assert.ok(victim.ip.routes.list().length < 700, `${victim.ip.routes.list().length} routes`);
      assert.ok(victim.addresses().length < 60);
      assert.equal(lab.engine.counters().stats.double_frees, 0);
      // Packets wait for a neighbour as long as three questions take, a minute apart where a router says so.
      await lab.run(3 * 60_000);
      assert.equal(lab.engine.pool().inFlight, 0, `SEED=${SEED}`);
      let replies = 0;
      // Asked from outside: whoever believes a router speaks from the address it gave.
      const asked = (to: string) =>
        peer.ping(to).then(
          () => replies++,
          () => {},
        );
      for (const to of ["10.0.0.1", "2001:db8::1"]) asked(to);
      await lab.run(3000);
      assert.equal(replies, 2, `SEED=${SEED}`);
    });
  }
});
