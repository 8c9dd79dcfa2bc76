/** Rules of the families arp and bridge, here and in the kernel: the same rules, the same frames, the same counters and ports. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VirtualClock } from "../src/base/clock.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { Firewall } from "../src/filter/index.ts";
import { Host } from "../src/host/host.ts";
import { Lab } from "../src/lab/index.ts";
import { bridge } from "../src/link/bridge.ts";
import {
  ETHERTYPE,
  PROTOCOL,
  serializeArp,
  serializeEthernet,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
} from "../src/wire/index.ts";
import { missing, Namespace } from "./kernel-support.ts";
import { BUILDS, engineOf, mac, through } from "./support.ts";

const skip = missing("nft", "python3", "ping");
/** Of every rule, in order. */
const counted = (listing: string) => [...listing.matchAll(/counter packets (\d+)/g)].map(([, packets]) => Number(packets));
const text = (rules: string) => new TextEncoder().encode(rules);

// ── Bridges ─────────────────────────────────────────────────────────────────────────────────────
const BROADCAST = new Uint8Array(6).fill(255);
const PORTS = [0, 1, 2];
const v4 = (last: number) => IpAddress.parse(`10.0.0.${last}`);
const v6 = (last: number) => IpAddress.parse(`2001:db8::${last}`);

function ethernet(from: number, to: Uint8Array, type: number, payload: Uint8Array, vlan?: number): Uint8Array {
  const tags = vlan === undefined ? [] : [{ protocol: 0x8100, vlan, priority: 0, dropEligible: false }];
  return serializeEthernet({ destination: to, source: mac(from), type, payload, tags });
}
function ip4(from: number, to: number, protocol: number, payload: Uint8Array): Uint8Array {
  return serializeIpv4({ source: v4(from).v4, destination: v4(to).v4, protocol, payload });
}
const ends = (from: IpAddress, to: IpAddress) => ({ source: from.bytes(), destination: to.bytes() });
const udp4 = (from: number, to: number, port: number) =>
  ip4(
    from,
    to,
    PROTOCOL.udp,
    serializeUdp({ sourcePort: 1000, destinationPort: port, payload: new Uint8Array(20) }, ends(v4(from), v4(to))),
  );
const tcp4 = (from: number, to: number, port: number) =>
  ip4(
    from,
    to,
    PROTOCOL.tcp,
    serializeTcp(
      {
        sourcePort: 1000,
        destinationPort: port,
        sequence: 1,
        acknowledgement: 0,
        flags: 2,
        window: 1000,
        urgentPointer: 0,
        options: new Uint8Array(),
        payload: new Uint8Array(8),
      },
      ends(v4(from), v4(to)),
    ),
  );
const udp6 = (from: number, to: number, port: number) =>
  serializeIpv6({
    ...ends(v6(from), v6(to)),
    protocol: PROTOCOL.udp,
    hopLimit: 64,
    payload: serializeUdp({ sourcePort: 1000, destinationPort: port, payload: new Uint8Array(20) }, ends(v6(from), v6(to))),
  });
const arp = serializeArp({
  operation: "request",
  senderMac: mac(1),
  senderAddress: v4(1).v4,
  targetMac: new Uint8Array(6),
  targetAddress: v4(2).v4,
});

type Frame = readonly [port: number, frame: Uint8Array];

/** By which port each comes. */
const FRAMES: readonly Frame[] = [
  [0, ethernet(1, BROADCAST, ETHERTYPE.arp, arp)],
  [1, ethernet(2, mac(1), ETHERTYPE.ipv4, udp4(2, 1, 53))],
  [0, ethernet(1, mac(2), ETHERTYPE.ipv4, udp4(1, 2, 53))],
  [0, ethernet(1, mac(2), ETHERTYPE.ipv4, udp4(1, 2, 666))],
  [0, ethernet(1, mac(9), ETHERTYPE.ipv4, udp4(1, 9, 99))],
  [0, ethernet(1, mac(9), ETHERTYPE.ipv4, tcp4(1, 9, 80))],
  [2, ethernet(3, mac(1), ETHERTYPE.ipv4, tcp4(3, 1, 80))],
  [2, ethernet(3, mac(1), ETHERTYPE.ipv6, udp6(3, 1, 53))],
  [2, ethernet(3, Uint8Array.of(1, 0, 94, 0, 0, 9), ETHERTYPE.ipv4, udp4(3, 9, 7))],
  [1, ethernet(2, mac(3), 0x88b5, new Uint8Array(60))],
  [1, ethernet(2, mac(3), ETHERTYPE.ipv4, udp4(2, 3, 1111))],
  [0, ethernet(8, mac(3), ETHERTYPE.ipv4, udp4(1, 3, 1))],
];
const BRIDGE = `table bridge f {
  set seen { type ether_addr; flags dynamic; size 64; }
  map by { type ifname . inet_service : verdict; elements = { "p1" . 1111 : drop }; }
  chain pre {
    type filter hook prerouting priority 0; policy accept
    ether type arp counter
    arp operation request arp saddr ip 10.0.0.1 counter
    ip saddr 10.0.0.1 counter
    ip6 saddr 2001:db8::3 counter
    udp dport 53 counter
    meta l4proto tcp tcp dport 80 counter
    iifname "p0" counter
    ether daddr ff:ff:ff:ff:ff:ff counter
    ether saddr 02:00:00:00:01:08 counter drop
    add @seen { ether saddr } counter
    udp dport 666 counter drop
    meta protocol ip6 counter
    ether type 0x88b5 counter
  }
  chain sub {
    ip ttl 64 counter
    return
  }
  chain onward {
    type filter hook forward priority filter; policy accept
    counter jump sub
    iifname "p0" oifname "p2" counter
    udp dport 99 oifname "p2" counter drop
    meta protocol ip counter
    ether saddr @seen counter
    iifname . udp dport vmap @by
    tcp dport 80 ip dscp set af11 counter
    counter
  }
  chain post {
    type filter hook postrouting priority 300; policy accept
    oifname "p1" counter
    ip dscp af11 counter
    udp dport 7 oifname "p0" counter drop
    counter
  }
}`;

/** Frames that say of themselves what is not so, or hardly anything: no rule may read what is not there. */
function odd(): Frame[] {
  const [whole, of6] = [udp4(1, 2, 53), udp6(1, 2, 53)];
  const changed = (packet: Uint8Array, at: number, value: number) => packet.with(at, value);
  const tagged = (tags: readonly [protocol: number, vlan: number][]) =>
    serializeEthernet({
      destination: mac(2),
      source: mac(1),
      type: ETHERTYPE.ipv4,
      payload: whole,
      tags: tags.map(([protocol, vlan]) => ({ protocol, vlan, priority: 0, dropEligible: false })),
    });
  const four = [
    changed(whole, 2, 1),
    changed(whole, 3, 24),
    changed(whole, 3, 19),
    changed(whole, 0, 0x65),
    changed(whole, 0, 0x43),
    changed(whole, 0, 0x4f),
    changed(whole, 10, 1),
    whole.subarray(0, 12),
    changed(whole.slice(0, 20), 3, 20),
    changed(whole, 6, 0x20),
    Uint8Array.of(...whole, ...new Uint8Array(30)),
  ];
  const six = [of6, changed(of6, 4, 1), changed(of6, 6, 0), changed(of6, 6, 44), changed(of6, 0, 0x40), of6.subarray(0, 30)];
  return [
    ...four.map((packet) => ethernet(1, mac(2), ETHERTYPE.ipv4, packet)),
    ...six.map((packet) => ethernet(1, mac(2), ETHERTYPE.ipv6, packet)),
    tagged([[0x8100, 5]]),
    tagged([[0x8100, 0]]),
    tagged([[0x88a8, 5]]),
    tagged([
      [0x8100, 5],
      [0x8100, 6],
    ]),
    tagged([
      [0x88a8, 5],
      [0x8100, 6],
    ]),
    ethernet(1, BROADCAST, ETHERTYPE.ipv4, whole),
    ethernet(1, Uint8Array.of(1, 0, 94, 0, 0, 9), ETHERTYPE.ipv4, whole),
    ethernet(1, mac(2), 60, new Uint8Array(60)),
  ].map((frame, i) => {
    const sent = frame.slice();
    sent.set(mac(100 + i), 6);
    return [0, sent];
  });
}
const ODD = [
  "ip saddr 10.0.0.1",
  "ip version 4",
  "ip length > 100",
  "ip6 saddr 2001:db8::1",
  "udp dport 53",
  "th dport 53",
  "meta l4proto udp",
  "@nh,0,8 0x45",
  "@th,16,16 53",
  "@ll,96,16 0x8100",
  "meta protocol ip",
  "meta protocol vlan",
  "meta protocol 0x88a8",
  "ether type vlan",
  "ether type ip",
  "ether type 0x88a8",
  "vlan id 5",
  "vlan id 6",
  "vlan type ip",
  "ether type 8021ad vlan id 5",
  "ether type 8021ad vlan id 5 vlan type 8021q vlan id 6",
  "vlan id 5 vlan type 8021q vlan id 6",
  "ether type 8021ad vlan id 5 ip saddr 10.0.0.1",
  "meta pkttype broadcast",
  "meta pkttype multicast",
  "meta pkttype host",
  "meta pkttype other",
  "meta length 52",
  "meta length > 60",
];
/** Every rule for every frame: who sent it tells them apart. */
const oddRules = (frames: readonly Frame[]) => {
  const each = frames.flatMap(([, frame]) => {
    const saddr = [...frame.subarray(6, 12)].map((byte) => byte.toString(16)).join(":");
    return ODD.map((rule) => `    ether saddr ${saddr} ${rule} counter\n`);
  });
  return `table bridge f {\n  chain pre {\n    type filter hook prerouting priority 0; policy accept\n${each.join("")}  }\n}\n`;
};

interface Seen {
  readonly counters: readonly number[];
  /** For each frame: by which ports it left, and how. */
  readonly left: readonly (readonly string[])[];
}
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

async function bridgeHere(build: "shared" | "plain", rules = BRIDGE, frames = FRAMES): Promise<Seen> {
  const engine = await engineOf(build, { ports: 3, bridges: 1, stations: 256, tables: 0, filterBytes: 4 << 20 });
  const bridge = engine.createBridge();
  const network = engine.createNetwork();
  for (const p of PORTS) {
    bridge.add(engine.port(p));
    network.add(engine.port(p)).describe(p, { name: `p${p}`, index: p + 1, type: 1 });
  }
  const firewall = new Firewall(engine, network);
  firewall.apply(rules);
  const left = frames.map(([port, frame]) =>
    through(engine, [frame], port)
      .sent.map(({ port: by, bytes }) => `${by} ${hex(bytes)}`)
      .sort(),
  );
  assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
  return { counters: counted(firewall.list()), left };
}

const BRIDGE_PROGRAM = `
import json, socket, sys, time
order = json.load(sys.stdin)
ports = []
for p in range(3):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("q%d" % p, 0))
    s.setblocking(False)
    ports.append(s)
def drain():
    seen = []
    for p, s in enumerate(ports):
        while True:
            try: data, address = s.recvfrom(4096)
            except BlockingIOError: break
            if address[2] != 4: seen.append("%d %s" % (p, data.hex()))
    return sorted(seen)
drain()
left = []
for port, frame in order:
    ports[port].send(bytes.fromhex(frame))
    time.sleep(0.03)
    left.append(drain())
print(json.dumps(left))
`;

/** `own`: the bridge itself is 10.0.0.254, with that address. */
async function bridgeInKernel(rules = BRIDGE, frames = FRAMES, own?: string): Promise<Seen> {
  const [middle, outside] = [new Namespace(), new Namespace()];
  try {
    // Nothing but what is sent: no IPv6, no snooping, no spanning tree.
    for (const namespace of [middle, outside])
      await namespace.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    middle.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "stp_state", "0", "forward_delay", "0");
    for (const p of PORTS) {
      middle.ip("link", "add", `p${p}`, "type", "veth", "peer", "name", `q${p}`, "netns", outside.name);
      middle.ip("link", "set", `p${p}`, "master", "br0", "up");
      outside.ip("link", "set", `q${p}`, "up");
    }
    if (own) middle.ip("link", "set", "br0", "address", own);
    middle.ip("link", "set", "br0", "up");
    if (own) middle.ip("addr", "add", "10.0.0.254/24", "dev", "br0");
    const loaded = await middle.run("nft -f -", text(rules));
    assert.equal(loaded.code, 0, loaded.out);
    await outside.run("sleep 0.3");
    const order = JSON.stringify(frames.map(([port, frame]) => [port, hex(frame)]));
    const { out } = await outside.run(`python3 -c '${BRIDGE_PROGRAM.replaceAll("'", '"')}'`, text(order));
    return { counters: counted((await middle.run("nft list ruleset")).out), left: JSON.parse(out) };
  } finally {
    await middle.remove();
    await outside.remove();
  }
}

// ── A bridge's own host ─────────────────────────────────────────────────────────────────────────
const OWN = "02:00:00:00:00:fe";
const OWN_BYTES = Uint8Array.of(2, 0, 0, 0, 0, 0xfe);
const echo = (from: number) => {
  const icmp = Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1, ...new Uint8Array(32));
  const sum = 0x0801 + 1 - 1; // type and code, identifier, sequence: the rest is zero
  icmp[2] = ~(sum + 1) >>> 8;
  icmp[3] = ~(sum + 1);
  return ip4(from, 254, PROTOCOL.icmp, icmp);
};
const question = (from: number, target: number) =>
  serializeArp({
    operation: "request",
    senderMac: mac(from),
    senderAddress: v4(from).v4,
    targetMac: new Uint8Array(6),
    targetAddress: v4(target).v4,
  });
const HOST_FRAMES: readonly Frame[] = [
  // Somebody asks for the host, is answered, and speaks to it.
  [0, ethernet(1, BROADCAST, ETHERTYPE.arp, question(1, 254))],
  [0, ethernet(1, OWN_BYTES, ETHERTYPE.ipv4, echo(1))],
  [0, ethernet(1, OWN_BYTES, ETHERTYPE.ipv4, udp4(1, 254, 4444))],
  // Another, by another port; then the two with each other.
  [1, ethernet(2, BROADCAST, ETHERTYPE.arp, question(2, 254))],
  [1, ethernet(2, OWN_BYTES, ETHERTYPE.ipv4, echo(2))],
  [1, ethernet(2, mac(1), ETHERTYPE.ipv4, udp4(2, 1, 53))],
  // For somebody unknown: not for the host.
  [0, ethernet(1, mac(9), ETHERTYPE.ipv4, udp4(1, 9, 53))],
  // A group: for everybody and the host.
  [2, ethernet(3, Uint8Array.of(1, 0, 94, 0, 0, 9), ETHERTYPE.ipv4, udp4(3, 9, 7))],
  [2, ethernet(3, BROADCAST, ETHERTYPE.arp, question(3, 254))],
  [2, ethernet(3, OWN_BYTES, ETHERTYPE.ipv4, echo(3))],
  [2, ethernet(3, OWN_BYTES, ETHERTYPE.ipv4, udp4(3, 254, 5555))],
];
const HOST_RULES = `table netdev n {
  chain at0 { type filter hook ingress device "p0" priority 0; policy accept; counter; udp dport 4444 counter; }
}
table bridge f {
  chain pre {
    type filter hook prerouting priority 0; policy accept
    counter
    meta pkttype host counter
    meta pkttype other counter
    ip daddr 10.0.0.254 counter
    iifname "p2" udp dport 7 meta mark set 7 counter
  }
  chain in {
    type filter hook input priority 0; policy accept
    counter
    iifname "p0" counter
    iifname "br0" counter
    oifname "br0" counter
    arp operation request counter
    icmp type echo-request counter
    udp dport 7 counter
    udp dport 5555 counter drop
  }
  chain across {
    type filter hook forward priority 0; policy accept
    counter
    iifname "p0" oifname "p1" counter
    icmp type echo-request counter
  }
  chain out {
    type filter hook output priority 0; policy accept
    counter
    oifname "p0" counter
    oifname "p1" counter
    iifname "br0" counter
    arp operation reply counter
    icmp type echo-reply counter
    icmp type echo-reply oifname "p2" counter drop
  }
  chain post {
    type filter hook postrouting priority 0; policy accept
    counter
    oifname "p0" counter
    ether saddr ${OWN} counter
    icmp type echo-reply counter
  }
}
table ip g {
  chain in {
    type filter hook input priority 0; policy accept
    iifname "br0" counter
    iifname "p0" counter
    udp dport { 4444, 5555 } counter
    icmp type echo-request counter
  }
}
`;
/** What nft_meta_bridge says, which not every kernel has: with it the counts are known without one. */
const NAMED = [11, 11, 11, 0, 9, 0, 11, 0, 8, 0];
const NAME_RULES = `table bridge f {
  chain pre { type filter hook prerouting priority 0; meta ibrname "br0" counter; meta ibrpvid 1 counter; meta ibrvproto 8021q counter; meta obrname "br0" counter; }
  chain in { type filter hook input priority 0; meta ibrname "br0" counter; meta obrname "br0" counter; }
  chain across { type filter hook forward priority 0; meta ibrname "br0" meta obrname "br0" counter; meta ibrname "br1" counter; }
  chain out { type filter hook output priority 0; meta obrname "br0" counter; meta ibrname "br0" counter; }
}
`;
/** Who is sent what: port, destination, EtherType. */
const gist = (bytes: Uint8Array) => hex(bytes.subarray(0, 6)) + hex(bytes.subarray(12, 14));

async function hostHere(build: "shared" | "plain", rules = HOST_RULES): Promise<Seen> {
  const clock = new VirtualClock();
  const engine = await engineOf(build, { ports: 4, bridges: 1, stations: 256, tables: 2, filterBytes: 4 << 20, flows: 64, clock });
  const host = await Host.create({
    engine,
    interfaces: [
      { name: "br0", mac: OWN, device: bridge(), addresses: ["10.0.0.254/24"], port: engine.port(3) },
      ...PORTS.map((p) => ({ name: `p${p}`, master: "br0", port: engine.port(p) })),
    ],
  });
  const taken = (): string[] => {
    const out: string[] = [];
    while (engine.poll() > 0) {}
    for (const p of PORTS) engine.port(p).transmitted((bytes) => out.push(`${p} ${gist(bytes)}`));
    // What the host says of itself by IPv6 is not in the kernel's list.
    return out.filter((each) => !each.endsWith("86dd")).sort();
  };
  taken();
  // What it says of itself when it begins is over by then.
  for (let second = 0; second < 20; second++) {
    await clock.advance(1000);
    taken();
  }
  host.firewall.apply(rules);
  const left = HOST_FRAMES.map(([port, frame]) => {
    assert.ok(engine.port(port).receive(frame));
    return taken();
  });
  const counters = counted(host.firewall.list());
  await host.close();
  assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
  return { counters, left };
}

async function hostInKernel(): Promise<Seen> {
  const { counters, left } = await bridgeInKernel(HOST_RULES, HOST_FRAMES, OWN);
  return { counters, left: left.map((frames) => frames.map((each) => `${each[0]} ${gist(Buffer.from(each.slice(2), "hex"))}`).sort()) };
}

describe("rules of a bridge's own host", () => {
  for (const build of BUILDS)
    it(`frames to it meet input, frames of it output, for each port that they leave by (${build})`, async () => {
      const { left } = await hostHere(build);
      const to = (port: number, destination: Uint8Array, type: string) => `${port} ${hex(destination)}${type}`;
      assert.deepEqual(left[0], [to(0, mac(1), "0806"), to(1, BROADCAST, "0806"), to(2, BROADCAST, "0806")].sort());
      assert.deepEqual(left[1], [to(0, mac(1), "0800")]);
      assert.deepEqual(left[9], []);
    });

  it("name the bridge of a port and its VLAN", async () => {
    const { counters } = await hostHere("plain", NAME_RULES);
    assert.deepEqual(counters, NAMED);
  });

  it("the kernel counts and sends the same", { skip }, async () => {
    assert.deepEqual(await hostHere("plain"), await hostInKernel());
  });
});

describe("rules of bridges", () => {
  for (const build of BUILDS)
    it(`every frame meets prerouting once, and forward and postrouting for each port (${build})`, async () => {
      const { counters, left } = await bridgeHere(build);
      assert.deepEqual(
        left.map((frames) => frames.map((frame) => frame[0]).join("")),
        ["12", "0", "1", "", "1", "12", "0", "0", "1", "2", "", ""],
      );
      assert.ok(
        counters.every((count) => count > 0),
        `${counters}`,
      );
    });

  it("the kernel counts and forwards the same", { skip }, async () => {
    assert.deepEqual(await bridgeHere("plain"), await bridgeInKernel());
  });

  it("frames that are cut short, or say that they are longer than they are, match the same rules as in the kernel", { skip }, async () => {
    const frames = odd();
    const rules = oddRules(frames);
    const [here, there] = [await bridgeHere("plain", rules, frames), await bridgeInKernel(rules, frames)];
    frames.forEach(([, frame], i) => {
      const of = ({ counters }: Seen) => ODD.filter((_, k) => counters[i * ODD.length + k] !== 0);
      assert.deepEqual(of(here), of(there), hex(frame));
    });
    assert.ok(here.counters.some((count) => count > 0));
  });

  it("are refused where there are no bridges, and about connections", async () => {
    const without = await engineOf("plain", { ports: 2, filterBytes: 4 << 20 });
    const engine = await engineOf("plain", { ports: 2, bridges: 1, filterBytes: 4 << 20, flows: 64 });
    const firewall = new Firewall(engine, engine.createNetwork());
    const chain = (hook: string, rule = "") =>
      `flush ruleset; table bridge b { chain c { type filter hook ${hook} priority 0; ${rule}; }; }`;
    const other = new Firewall(without, without.createNetwork());
    assert.throws(() => other.apply(chain("forward")), /table bridge b, chain c: this engine has no bridges: no packet would meet it/);
    firewall.apply(chain("forward", "ether type ip counter"));
    assert.throws(() => firewall.apply(chain("prerouting", "ct state new drop")), /packets of the bridge family have no connections here/);
    assert.throws(() => firewall.apply(chain("prerouting", "queue num 1")), /packets of the bridge family do not wait/);
  });
});

// ── ARP ─────────────────────────────────────────────────────────────────────────────────────────
const ARP = `table arp f {
  chain in {
    type filter hook input priority filter; policy accept
    counter
    arp operation request counter
    arp operation reply arp saddr ip 10.0.0.2 counter
    arp daddr ip 10.0.0.1 iifname "eth0" counter
    arp htype 1 arp ptype ip arp hlen 6 arp plen 4 counter
    arp saddr ip 10.0.0.3 counter drop
    ether type arp limit rate 1000/second counter
  }
  chain out {
    type filter hook output priority filter; policy accept
    counter
    arp operation reply arp daddr ip 10.0.0.4 counter drop
    oifname "eth0" arp operation request arp daddr ip 10.0.0.2 counter
    arp operation reply counter
  }
}`;
/** Who asks whom: 10.0.0.1 has the rules; 3's questions do not reach it, its answers do not reach 4. */
const PEERS = ["10.0.0.2", "10.0.0.3", "10.0.0.4"] as const;

interface Heard {
  readonly counters: readonly number[];
  /** Whether 10.0.0.1 was found, asked for in each name; and whom 10.0.0.1 found. */
  readonly found: readonly boolean[];
}

async function arpHere(): Promise<Heard> {
  const lab = await Lab.create({ seed: 1, interfaces: 4, hosts: 2, memory: { filterBytes: 4 << 20 } });
  const host = await lab.host({ interfaces: [{ name: "eth0", addresses: ["10.0.0.1/24"] }] });
  const peer = await lab.host({ interfaces: [{ name: "eth0", addresses: PEERS.map((each) => `${each}/24`) }] });
  lab.link(host, peer, { delay: 1 }, ["eth0", "eth0"]);
  await lab.run(5000);
  host.firewall.apply(ARP);
  const found: boolean[] = [];
  for (const source of PEERS) {
    for (const side of [host, peer]) side.ip.neighbours.flush(side.ip.interface("eth0"), true);
    peer.datagram({ hostname: source }).send(new Uint8Array(1), { address: "10.0.0.1", port: 9 });
    await lab.run(5000);
    found.push(peer.ip.neighbours.list().some(({ address, state }) => String(address) === "10.0.0.1" && state !== "FAILED"));
  }
  for (const side of [host, peer]) side.ip.neighbours.flush(side.ip.interface("eth0"), true);
  host.datagram({}).send(new Uint8Array(1), { address: "10.0.0.2", port: 9 });
  await lab.run(5000);
  return { counters: counted(host.firewall.list()), found };
}

/** One question in each name, and one of 10.0.0.1's own. */
async function arpInKernel(): Promise<Heard> {
  const [host, peer] = [new Namespace(), new Namespace()];
  try {
    for (const namespace of [host, peer])
      await namespace.run(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.conf.all.arp_announce=1",
      );
    host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer.name);
    host.up("eth0", "10.0.0.1/24");
    peer.up("eth0", ...PEERS.map((each) => `${each}/24`));
    const loaded = await host.run("nft -f -", text(ARP));
    assert.equal(loaded.code, 0, loaded.out);
    const flush = async () => {
      for (const namespace of [host, peer]) await namespace.run("ip neigh flush all; ip neigh flush all nud failed");
    };
    const datagram = (from: string, to: string) =>
      `python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("${from}", 0)); s.sendto(b"x", ("${to}", 9))'; sleep 3.5`;
    const found: boolean[] = [];
    for (const source of PEERS) {
      await flush();
      await peer.run(datagram(source, "10.0.0.1"));
      found.push(/lladdr/.test((await peer.run("ip neigh show 10.0.0.1")).out));
    }
    await flush();
    await host.run(datagram("10.0.0.1", "10.0.0.2"));
    return { counters: counted((await host.run("nft list ruleset")).out), found };
  } finally {
    await host.remove();
    await peer.remove();
  }
}

describe("rules about ARP", () => {
  it("let through, count and drop what comes and what goes", async () => {
    const { counters, found } = await arpHere();
    assert.deepEqual(found, [true, false, false]);
    assert.ok(
      counters.every((count) => count > 0),
      `${counters}`,
    );
  });

  it("the kernel counts the same", { skip }, async () => {
    assert.deepEqual(await arpHere(), await arpInKernel());
  });
});
