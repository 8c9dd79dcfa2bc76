/** Packets that rules follow (`meta nftrace set 1`): told here as `nft monitor trace` tells it of the kernel. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { type TraceEntry, TraceText } from "../src/filter/index.ts";
import { Lab } from "../src/lab/index.ts";
import { ETHERTYPE, PROTOCOL, serializeEthernet, serializeIpv4, serializeIpv6, serializeTcp, serializeUdp } from "../src/wire/index.ts";
import { missing, Namespace } from "./kernel-support.ts";
import { BUILDS, SEED } from "./support.ts";

const skip = missing("nft", "python3");
const STRANGER = Uint8Array.of(2, 0, 0, 0, 9, 9);
const ROUTER = Uint8Array.of(2, 0, 0, 0, 1, 254);
const NEXT = Uint8Array.of(2, 0, 0, 0, 1, 1);
const RULES = `table inet t {
  map ports {
    type inet_service : verdict
    elements = { 81 : goto other, 82 : drop, 84 : jump more, 86 : continue, 87 : return }
  }
  chain other {
    th dport 85 return
    meta mark set 0x10
  }
  chain more {
    meta l4proto tcp accept
    goto other
  }
  chain pre {
    type filter hook prerouting priority -300
    ether saddr 02:00:00:00:09:09 meta nftrace set 1
  }
  chain later {
    type filter hook prerouting priority -10
    udp sport 1003 meta nftrace set 0
  }
  chain through {
    type filter hook forward priority 0; policy drop
    ip saddr 10.0.0.9 drop
    udp dport 80 accept
    meta l4proto { tcp, udp } jump other
    th dport vmap @ports meta mark set 0x20
    tcp dport 83 reject with tcp reset
    udp dport 85 accept
    meta l4proto { icmp, ipv6-icmp, gre, sctp } accept
  }
  chain post {
    type filter hook postrouting priority 0
    meta mark 0x10 meta mark set 0
  }
  chain out {
    type nat hook postrouting priority srcnat
    udp dport 80 masquerade
  }
}`;

const addresses = { 4: ["10.0.0.5", "20.0.0.1"], 6: ["2001:db8:1::5", "2001:db8:2::2"] } as const;
const ends = (family: 4 | 6, source: string = addresses[family][0]) => ({
  source: IpAddress.parse(source).bytes(),
  destination: IpAddress.parse(addresses[family][1]).bytes(),
});
function ip4(protocol: number, payload: Uint8Array, source = "10.0.0.5", tos = 0): Uint8Array {
  const [from, to] = [IpAddress.parse(source).v4, IpAddress.parse("20.0.0.1").v4];
  return serializeIpv4({ source: from, destination: to, protocol, payload, id: 4321, tos });
}
const udp = (port: number, size = 3, source = "10.0.0.5", from = 1000) =>
  serializeUdp({ sourcePort: from, destinationPort: port, payload: new Uint8Array(size).fill(0x61) }, ends(4, source));
const tcp = (port: number, flags: number) =>
  serializeTcp(
    {
      sourcePort: 1000,
      destinationPort: port,
      sequence: 1,
      acknowledgement: 0,
      flags,
      window: 1000,
      urgentPointer: 0,
      options: new Uint8Array(),
      payload: new Uint8Array(),
    },
    ends(4),
  );
const ECHO = Uint8Array.of(8, 0, 0xf7, 0xfd, 0, 1, 0, 1);

const PACKETS: readonly Uint8Array[] = [
  ip4(PROTOCOL.udp, udp(80), "10.0.0.5", 0xb9),
  ...[81, 82, 84, 85, 86, 87, 90].map((port) => ip4(PROTOCOL.udp, udp(port, 40))),
  ip4(PROTOCOL.udp, udp(80, 3, "10.0.0.9"), "10.0.0.9"),
  ip4(PROTOCOL.udp, udp(80, 3, "10.0.0.5", 1003)),
  ip4(PROTOCOL.tcp, tcp(84, 2)),
  ip4(PROTOCOL.tcp, tcp(84, 0x12)),
  ip4(PROTOCOL.tcp, tcp(83, 2)),
  ip4(PROTOCOL.tcp, tcp(99, 2)),
  ip4(PROTOCOL.icmp, ECHO),
  ip4(47, new Uint8Array(30).fill(5)),
  ip4(PROTOCOL.udp, new Uint8Array(4)),
  ip4(PROTOCOL.icmp, Uint8Array.of(3, 9, 0)),
  ip4(
    132,
    Uint8Array.from({ length: 28 }, (_, i) => i),
  ),
  serializeIpv6({
    ...ends(6),
    protocol: PROTOCOL.udp,
    hopLimit: 64,
    flowLabel: 77,
    trafficClass: 0x2a,
    payload: serializeUdp({ sourcePort: 1000, destinationPort: 85, payload: new Uint8Array(5) }, ends(6)),
  }),
].map((packet) =>
  serializeEthernet({
    destination: ROUTER,
    source: STRANGER,
    type: packet[0] >>> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6,
    payload: packet,
  }),
);

async function router(build?: "shared" | "plain") {
  const lab = await Lab.create({ seed: SEED, interfaces: 4, hosts: 2, memory: { flows: 64, filterBytes: 4 << 20, build } });
  const host = await lab.host({
    forwarding: true,
    interfaces: [
      { name: "m0", addresses: ["10.0.0.254/8", "2001:db8:1::1/64"], mac: "02:00:00:00:01:fe" },
      { name: "m1", addresses: ["20.0.0.254/8", "2001:db8:2::1/64"] },
    ],
  });
  const peer = await lab.host({ interfaces: [{ name: "e0", addresses: ["20.0.0.1/8", "2001:db8:2::2/64"] }] });
  lab.link(host, peer, { delay: 1 }, ["m1", "e0"]);
  await lab.run(3000);
  const port = host.ip.interface("m0")?.port.index as number;
  const arrive = async (frame: Uint8Array) => {
    lab.engine.port(port).receive(frame);
    await lab.run(20);
    // What leaves by a port that nobody is at.
    lab.engine.port(port).transmitted(() => {});
  };
  return { lab, host, arrive };
}

/** The lines about each frame, without the numbers that packets are told apart by. */
function byFrame(lines: readonly string[]): string[][] {
  const packets: { id: string; lines: string[] }[] = [];
  for (const line of lines) {
    const [, id, rest] = /^trace id (\w+) (.*?) ?$/.exec(line) ?? [];
    // The kernel may give one packet the number of the last.
    if (packets.at(-1)?.id !== id || rest.startsWith("inet t pre packet:")) packets.push({ id, lines: [] });
    packets.at(-1)?.lines.push(rest);
  }
  return packets.map(({ lines }) => lines);
}

const PROGRAM = `
import json, socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("q0", 0))
for frame in json.load(sys.stdin):
    s.send(bytes.fromhex(frame))
    time.sleep(0.05)
`;

async function inKernel(): Promise<string> {
  const [middle, outside] = [new Namespace(), new Namespace()];
  try {
    for (const [i, name] of ["m0", "m1"].entries()) {
      middle.ip("link", "add", name, "type", "veth", "peer", "name", `q${i}`, "netns", outside.name);
      if (i === 0) middle.ip("link", "set", name, "address", "02:00:00:00:01:fe");
      outside.ip("link", "set", `q${i}`, "up");
    }
    middle.up("m0", "10.0.0.254/8", "2001:db8:1::1/64");
    middle.up("m1", "20.0.0.254/8", "2001:db8:2::1/64");
    await middle.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.m0.rp_filter=0");
    const lladdr = [...NEXT].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
    for (const address of ["20.0.0.1", "2001:db8:2::2"]) middle.ip("neigh", "add", address, "lladdr", lladdr, "dev", "m1");
    const loaded = await middle.run("nft -f -", new TextEncoder().encode(RULES));
    assert.equal(loaded.code, 0, loaded.out);
    await outside.run("sleep 2.2");
    const seconds = 1 + 0.06 * PACKETS.length;
    // On a busy machine the program takes longer than its packets are apart.
    const traced = middle.run(`timeout ${seconds + 4} nft monitor trace`);
    await outside.run("sleep 0.4");
    const order = JSON.stringify(PACKETS.map((frame) => Buffer.from(frame).toString("hex")));
    await outside.run(`python3 -c '${PROGRAM.replaceAll("'", '"')}'`, new TextEncoder().encode(order));
    return (await traced).out;
  } finally {
    await middle.remove();
    await outside.remove();
  }
}

async function here(build?: "shared" | "plain"): Promise<{ entries: TraceEntry[]; text: string }> {
  const { lab, host, arrive } = await router(build);
  host.firewall.apply(RULES);
  const entries: TraceEntry[] = [];
  const writer = new TraceText();
  let text = "";
  host.onTrace((entry) => {
    entries.push(entry);
    text += writer.lines(entry);
  });
  for (const frame of PACKETS) await arrive(frame);
  // Answers to the stranger wait for a neighbour that is none.
  await lab.run(10_000);
  await arrive(new Uint8Array(14));
  assert.equal(lab.engine.pool().inFlight, 0);
  return { entries, text };
}

describe("packets that are followed", () => {
  for (const build of BUILDS)
    it(`every rule that matches is told, chains and policies too (${build})`, async () => {
      const { entries } = await here(build);
      const first = entries.filter(({ id }) => id === entries[0].id);
      assert.deepEqual(
        first.map(({ chain, rule, verdict }) => [chain, rule, verdict]),
        [
          ["pre", "ether saddr 02:00:00:00:09:09 meta nftrace set 1", "continue"],
          ["pre", undefined, "accept"],
          ["later", undefined, "accept"],
          ["through", "udp dport 80 accept", "accept"],
          ["post", undefined, "accept"],
          ["out", "udp dport 80 masquerade", "accept"],
        ],
      );
      assert.deepEqual([first[0].in, first[0].out, first[3].out, first[0].family, first[0].table], ["m0", "", "m1", "inet", "t"]);
    });

  it("in the kernel's words", { skip }, async () => {
    const [ours, theirs] = [await here(), await inKernel()];
    const stranger = (lines: string[]) => lines[0].includes("ether saddr 02:00:00:00:09:09");
    const [a, b] = [ours.text, theirs].map((text) => byFrame(text.trimEnd().split("\n")).filter(stranger));
    assert.ok(a.length >= PACKETS.length, `${a.length} packets were followed`);
    assert.deepEqual(a, b);
  });

  it("nobody has to listen, and where no rule follows nothing is told", async () => {
    const { host, arrive, lab } = await router();
    const seen: TraceEntry[] = [];
    const stop = host.onTrace((entry) => seen.push(entry));
    host.firewall.apply("table ip t { chain c { type filter hook forward priority 0; udp dport 80 counter; }; }");
    await arrive(PACKETS[0]);
    host.firewall.apply("add rule ip t c meta nftrace set 1");
    stop();
    await arrive(PACKETS[0]);
    assert.deepEqual([seen, lab.engine.pool().inFlight], [[], 0]);
    assert.equal(host.firewall.counters()[0].packets, 2);
  });

  it("rules keep what they have counted, and logs what they say, when somebody begins to listen and ends", async () => {
    const { host, arrive } = await router();
    host.firewall.apply(`table ip t {
      chain c { type filter hook forward priority 0; meta nftrace set 1; udp dport 80 counter log prefix "seen" accept; }
    }`);
    const logged: string[] = [];
    host.onLog(({ statement }) => logged.push(statement.prefix ?? ""));
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) {
      const stop = host.onTrace(({ verdict }) => seen.push(verdict));
      await arrive(PACKETS[0]);
      stop();
      await arrive(PACKETS[0]);
    }
    assert.deepEqual(seen, Array.from({ length: 3 }, () => ["continue", "accept"]).flat());
    assert.deepEqual(logged, Array(6).fill("seen"));
    assert.equal(host.firewall.counters()[0].packets, 6);
  });

  it("a packet that waited for a verdict is followed on behind it", async () => {
    const { host, arrive, lab } = await router();
    host.firewall.apply(`table ip t {
      chain pre { type filter hook prerouting priority -300; meta nftrace set 1; }
      chain f { type filter hook forward priority 0; udp dport 80 queue num 1; }
      chain post { type filter hook postrouting priority 0; udp dport 80 accept; }
    }`);
    host.onQueue(1, () => "accept");
    const seen: string[] = [];
    host.onTrace(({ chain, verdict }) => seen.push(`${chain} ${verdict}`));
    await arrive(PACKETS[0]);
    await lab.run(20);
    assert.deepEqual(seen, ["pre continue", "pre accept", "f queue", "post accept"]);
  });

  it("this host's own packets are followed, and logged", async () => {
    const { host, lab } = await router();
    host.firewall.apply(`table ip t {
      chain o { type filter hook output priority 0; meta nftrace set 1; log prefix "own"; }
      chain p { type filter hook postrouting priority 0; ip protocol icmp accept; }
    }`);
    const [traced, logged]: string[][] = [[], []];
    host.onTrace(({ chain, verdict, in: from, out }) => traced.push(`${chain} ${verdict} ${from}>${out}`));
    host.onLog(({ statement, in: from, out }) => logged.push(`${statement.prefix} ${from}>${out}`));
    const pinging = host.ping("20.0.0.1");
    await lab.run(1000);
    await pinging;
    assert.deepEqual(traced, ["o continue >m1", "o continue >m1", "o accept >m1", "p accept >m1"]);
    assert.deepEqual(logged, ["own >m1"]);
  });

  it("a listener that throws costs no buffer", async () => {
    const { host, arrive, lab } = await router();
    host.firewall.apply("table ip t { chain c { type filter hook prerouting priority -300; meta nftrace set 1; log; }; }");
    const mine = new Error("mine");
    const stop = host.onTrace(() => {
      throw mine;
    });
    for (let i = 0; i < 5; i++) await assert.rejects(arrive(PACKETS[0]), mine);
    stop();
    await lab.run(10_000);
    await arrive(new Uint8Array(14));
    assert.equal(lab.engine.pool().inFlight, 0);
  });

  it("what is sent elsewhere at ingress is told while it is there", async () => {
    const { host, arrive } = await router();
    host.firewall.apply(`table netdev t {
      chain i { type filter hook ingress device "m0" priority 0; meta nftrace set 1; udp dport 80 fwd to "m1"; }
    }`);
    const seen: string[] = [];
    host.onTrace(({ verdict, packet }) => seen.push(`${verdict} ${packet.length}`));
    await arrive(PACKETS[0]);
    assert.deepEqual(seen, ["continue 31", "stolen 31"]);
  });
});
