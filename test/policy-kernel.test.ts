/** Random rules, tables and packets: where packetloom forwards to, and where `ip route get` of the Linux kernel says. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Host } from "../src/host/host.ts";
import { Engine, Random } from "../src/index.ts";
import {
  ETHERTYPE,
  PROTOCOL,
  serializeEthernet,
  serializeIcmp,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
} from "../src/wire/index.ts";
import { FAMILIES, type Family, missing, Namespace } from "./kernel-support.ts";
import { mac, random, SEED } from "./support.ts";

const LINKS = 5;
const TABLES = [101, 102, 103, 254] as const;
const RULES = 9;
const PACKETS = 250;
const PORTS = [7, 8, 53, 80, 443];

interface Packet {
  readonly family: Family;
  readonly link: number;
  readonly from: string;
  readonly to: string;
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly ports: readonly [source: number, destination: number];
  /** What a rule of the prerouting hook makes of its DSCP. */
  readonly mark: number;
}

/** Networks behind everybody: a few, so that rules and routes meet. */
const network = (family: Family, n: number) => (family === 4 ? `20.${n}.0.0/16` : `2001:db8:${n}::/48`);
const member = (family: Family, n: number, host: number) => (family === 4 ? `20.${n}.0.${host}` : `2001:db8:${n}::${host}`);
const own = (family: Family, link: number, host: number) => (family === 4 ? `10.1.${link}.${host}` : `fd00:1:${link}::${host}`);
const everything = (family: Family) => (family === 4 ? "0.0.0.0/0" : "::/0");
const one = <T>(chance: Random, of: readonly T[]): T => of[chance.below(of.length)];

/** The same words for `ip` and for us. */
interface Words {
  readonly kernel: string[];
  readonly ours: Record<string, unknown>;
}

function inventRule(chance: Random, priority: number): Words & { readonly family: Family | undefined } {
  const kernel = ["pref", String(priority)];
  const ours: Record<string, unknown> = { priority };
  let family: Family | undefined;
  const add = (words: string[], given: Record<string, unknown>) => {
    kernel.push(...words);
    Object.assign(ours, given);
  };
  const maybe = (parts: number) => chance.below(parts) === 0;
  if (maybe(5)) {
    kernel.unshift("not");
    ours.not = true;
  }
  for (const end of ["from", "to"] as const) {
    if (!maybe(3)) continue;
    family ??= one(chance, FAMILIES);
    const prefix = network(family, chance.below(4));
    add([end, prefix], { [end]: prefix });
  }
  const link = chance.below(LINKS);
  if (maybe(3)) add(["iif", `e${link}`], { interface: `e${link}` });
  if (maybe(4)) {
    const [mark, markMask] = [chance.below(8), 1 + chance.below(7)];
    add(["fwmark", `${mark & markMask}/${markMask}`], { mark: mark & markMask, markMask });
  }
  if (maybe(4)) {
    const protocol = one(chance, ["tcp", "udp"] as const);
    add(["ipproto", protocol], { protocol });
  }
  for (const [word, name] of [
    ["sport", "sourcePort"],
    ["dport", "destinationPort"],
  ]) {
    if (!maybe(5)) continue;
    const low = one(chance, PORTS);
    const high = low + chance.below(50);
    add([word, `${low}-${high}`], { [name]: [low, high] });
  }
  if (maybe(5)) {
    const action = one(chance, ["blackhole", "unreachable", "prohibit"] as const);
    add([action], { action });
  } else {
    const table = one(chance, TABLES);
    add(["table", String(table)], { table });
  }
  return { kernel, ours, family };
}

function inventPacket(chance: Random): Packet {
  const family = one(chance, FAMILIES);
  return {
    family,
    link: chance.below(LINKS),
    from: member(family, chance.below(5), 2 + chance.below(100)),
    to: member(family, chance.below(5), 102 + chance.below(100)),
    protocol: one(chance, ["tcp", "udp", "icmp"] as const),
    ports: [one(chance, PORTS), one(chance, PORTS)],
    mark: chance.below(8),
  };
}

function frameOf({ family, link, from, to, protocol, ports, mark }: Packet, router: Uint8Array): Uint8Array {
  const [source, destination] = [IpAddress.parse(from), IpAddress.parse(to)];
  const between = { source: source.bytes(), destination: destination.bytes() };
  const [sourcePort, destinationPort] = ports;
  const message = () => {
    if (protocol === "udp") return serializeUdp({ sourcePort, destinationPort, payload: new Uint8Array(9) }, between);
    if (protocol === "icmp") {
      return serializeIcmp(
        { type: family === 4 ? 8 : 128, code: 0, rest: 1, payload: new Uint8Array(8) },
        family === 4 ? undefined : between,
      );
    }
    const rest = { sequence: 1, acknowledgement: 0, window: 100, urgentPointer: 0, options: new Uint8Array(), payload: new Uint8Array() };
    return serializeTcp({ sourcePort, destinationPort, flags: 2, ...rest }, between);
  };
  const number = protocol === "icmp" ? (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6) : PROTOCOL[protocol];
  const packet = { protocol: number, payload: message() };
  const bytes =
    family === 4
      ? serializeIpv4({ ...packet, tos: mark << 2, source: source.v4 >>> 0, destination: destination.v4 >>> 0 })
      : serializeIpv6({ ...packet, trafficClass: mark << 2, ...between });
  const type = family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  return serializeEthernet({ destination: router, source: mac(50 + link), type, payload: bytes });
}

const question = ({ family, link, from, to, protocol, ports, mark }: Packet) => {
  const above = protocol === "icmp" ? (family === 4 ? "icmp" : "ipv6-icmp") : `${protocol} sport ${ports[0]} dport ${ports[1]}`;
  return `ip -${family} route get ${to} from ${from} iif e${link} mark ${mark} ipproto ${above} 2>&1 | head -1`;
};

const MARKS = `map { ${[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `${n} : ${n}`).join(", ")} }`;
const RULESET = `table inet marks {
  chain prerouting {
    type filter hook prerouting priority mangle
    meta mark set ip dscp ${MARKS}
    meta mark set ip6 dscp ${MARKS}
  }
}`;

/** A router of ours with the same links. */
async function router(): Promise<{ engine: Engine; host: Host }> {
  const engine = await Engine.create({ ports: LINKS, tables: 2 * (TABLES.length + 1), buffers: 1024, filterBytes: 1 << 20, flows: 4096 });
  const interfaces = Array.from({ length: LINKS }, (_, i) => ({
    name: `e${i}`,
    port: engine.port(i),
    addresses: [`${own(4, i, 1)}/24`, `${own(6, i, 1)}/64`],
  }));
  const host = await Host.create({ engine, forwarding: true, interfaces });
  for (const iface of host.ip.interfaces) {
    for (const family of FAMILIES) {
      const address = IpAddress.parse(own(family, iface.port.index, 2));
      host.ip.neighbours.setPermanent(iface, address, mac(100 + iface.port.index));
    }
  }
  host.firewall.apply(RULESET);
  return { engine, host };
}

/** The link by which a packet leaves, or undefined when it does not. */
function whereTo(engine: Engine, packet: Packet): string {
  engine.port(packet.link).receive(frameOf(packet, engine.port(packet.link).macBytes));
  // What leaves by where it came in goes by the host layer, which thinks of a redirect.
  for (let round = 0; round < 3; round++) engine.poll();
  const wanted = IpAddress.parse(packet.to).bytes();
  const at = packet.family === 4 ? 30 : 38;
  let link = "nowhere";
  for (let i = 0; i < LINKS; i++) {
    engine.port(i).transmitted((bytes) => {
      if (Buffer.from(bytes.subarray(at, at + wanted.length)).equals(wanted)) link = `e${i}`;
    });
  }
  return link;
}

describe("policy routing of what is forwarded, against the Linux kernel", { skip: missing("sysctl") }, () => {
  let there: Namespace;
  let forwarded = 0;

  before(async () => {
    there = new Namespace();
    for (let i = 0; i < LINKS; i++) {
      there.ip("link", "add", `e${i}`, "type", "veth", "peer", "name", `p${i}`);
      there.up(`p${i}`);
      there.up(`e${i}`, `${own(4, i, 1)}/24`, `${own(6, i, 1)}/64`);
    }
    await there.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0");
  });
  after(() => there.remove());

  for (const rpf of ["off", "strict"] as const) {
    for (let turn = 0; turn < 3; turn++) {
      it(`nine rules and 250 packets, reverse-path check ${rpf}, set ${turn + 1}`, async (t) => {
        random(t); // Prints the seed.
        const chance = new Random(SEED + turn);
        const { engine, host } = await router();
        const commands: string[] = [];
        for (let i = 0; i < LINKS; i++) {
          commands.push(`sysctl -qw net.ipv4.conf.e${i}.rp_filter=${rpf === "strict" ? 1 : 0}`);
          if (rpf === "strict") engine.port(i).configure({ rpf: "strict" });
        }
        for (const family of FAMILIES) {
          commands.push(
            `ip -${family} rule flush; ip -${family} rule add pref 0 table local 2>/dev/null; ip -${family} rule add pref 32766 table main`,
          );
          for (const table of TABLES) {
            if (table !== 254) commands.push(`ip -${family} route flush table ${table} 2>/dev/null`);
            for (const to of [0, 1, 2, 3, 4].map((n) => (n === 4 ? everything(family) : network(family, n)))) {
              if (table === 254) commands.push(`ip -${family} route del ${to} 2>/dev/null`);
              if (chance.below(to === everything(family) ? 4 : 2) !== 0) continue;
              const link = chance.below(LINKS);
              const via = own(family, link, 2);
              commands.push(`ip -${family} route add ${to} via ${via} dev e${link} table ${table}`);
              host.addRoute({ to, via, interface: `e${link}`, table });
            }
          }
        }
        for (let i = 0; i < RULES; i++) {
          const { kernel, ours, family } = inventRule(chance, 100 + i);
          for (const each of family ? [family] : FAMILIES) commands.push(`ip -${each} rule add ${kernel.join(" ")}`);
          host.addRule(ours as unknown as Parameters<Host["addRule"]>[0]);
        }
        // IPv6 has no reverse-path check of the kernel's own.
        const packets = Array.from({ length: PACKETS }, () => inventPacket(chance)).filter(({ family }) => rpf === "off" || family === 4);
        const told = await there.run(`{ ${commands.join("\n")}\n} 2>&1\necho ---\n${packets.map(question).join("\n")}`);
        const [problems, answers] = told.out.split("---\n");
        assert.equal(problems, "");
        const lines = answers.trimEnd().split("\n");
        assert.equal(lines.length, packets.length);
        for (const [i, packet] of packets.entries()) {
          const theirs = /\bdev (e\d)\b/.exec(lines[i]);
          const expected = theirs && !/^(unreachable|blackhole|prohibit)/.test(lines[i]) ? theirs[1] : "nowhere";
          if (expected !== "nowhere") forwarded++;
          assert.equal(whereTo(engine, packet), expected, `${question(packet)}\nthe kernel: ${lines[i]}\nwith\n${commands.join("\n")}`);
        }
        await host.close();
        await engine.close();
      });
    }
  }

  it("which did not refuse everything", () => {
    assert.ok(forwarded > 0);
  });
});
