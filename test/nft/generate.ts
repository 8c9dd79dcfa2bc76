/** Rules made by chance: matches and statements of every kind, one behind the other. The same seed makes the same rules. */
import { Random } from "../../src/base/index.ts";

type Make = (random: Picker) => string;
class Picker {
  private readonly random: Random;
  constructor(seed: number) {
    this.random = new Random(seed);
  }
  below(bound: number): number {
    return this.random.below(bound);
  }
  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  some<T>(list: readonly T[], most: number): T[] {
    return [...new Set(Array.from({ length: 1 + this.below(most) }, () => this.one(list)))];
  }
}

const ip: Make = (r) => [r.below(224), r.below(256), r.below(256), r.below(256)].join(".");
const prefix: Make = (r) => `${ip(r)}/${8 + r.below(24)}`;
const ip6: Make = (r) => `2001:db8:${r.below(65_536).toString(16)}::${(1 + r.below(65_535)).toString(16)}`;
const ip6prefix: Make = (r) => `2001:db8:${r.below(65_536).toString(16)}::/${32 + r.below(96)}`;
const port: Make = (r) => `${r.below(65_536)}`;
const mark: Make = (r) => `0x${r.below(65_536).toString(16)}`;
const ifname: Make = (r) => r.one(['"eth0"', '"wan"', '"lo"', '"br-lan"', "eth*"]);
function range(make: Make, random: Picker): string {
  const [a, b] = [Number(make(random)), Number(make(random))];
  return a === b ? `${a}` : `${Math.min(a, b)}-${Math.max(a, b)}`;
}
const set = (make: Make, random: Picker): string =>
  `{ ${[...new Set(Array.from({ length: 1 + random.below(5) }, () => make(random)))].join(", ")} }`;
const not: Make = (r) => r.one(["", "", "!= "]);
const byte: Make = (r) => `${r.below(256)}`;

const CT_STATES = ["new", "established", "related", "invalid", "untracked"];
const FLAGS = ["fin", "syn", "rst", "psh", "ack", "urg"];
const MATCHES: Readonly<Record<string, readonly Make[]>> = {
  ip: [
    (r) => `ip ${r.one(["saddr", "daddr"])} ${not(r)}${r.one([ip, prefix])(r)}`,
    (r) => `ip ${r.one(["saddr", "daddr"])} ${not(r)}${set(r.one([ip, ip, prefix]), r)}`,
    (r) => `ip ${r.one(["ttl", "length", "id", "protocol"])} ${not(r)}${byte(r)}`,
    (r) => `ip dscp ${not(r)}${r.one(["cs1", "ef", "af11", "0x3"])}`,
    (r) => `ip ttl ${r.one(["<", ">", "<=", ">="])} ${byte(r)}`,
  ],
  ip6: [
    (r) => `ip6 ${r.one(["saddr", "daddr"])} ${not(r)}${r.one([ip6, ip6prefix])(r)}`,
    (r) => `ip6 ${r.one(["saddr", "daddr"])} ${not(r)}${set(ip6, r)}`,
    (r) => `ip6 hoplimit ${not(r)}${range(byte, r)}`,
  ],
  tcp: [
    (r) => `tcp ${r.one(["sport", "dport"])} ${not(r)}${port(r)}`,
    (r) => `tcp ${r.one(["sport", "dport"])} ${not(r)}${range(port, r)}`,
    (r) => `tcp dport ${not(r)}${set(port, r)}`,
    (r) => `tcp flags ${r.some(FLAGS, 3).join(",")}`,
    (r) => `tcp flags & (${r.some(FLAGS, 4).join("|")}) ${r.one(["==", "!="])} ${r.one(FLAGS)}`,
    (r) => `tcp ${r.one(["sequence", "window", "urgptr"])} ${r.one(["", "!= ", "> "])}${port(r)}`,
  ],
  udp: [
    (r) => `udp ${r.one(["sport", "dport"])} ${not(r)}${port(r)}`,
    (r) => `udp dport ${not(r)}${set((each) => range(port, each), r)}`,
    (r) => `udp length ${not(r)}${range(port, r)}`,
  ],
  any: [
    (r) => `meta mark ${not(r)}${mark(r)}`,
    (r) => `meta mark & ${mark(r)} ${r.one(["==", "!="])} ${mark(r)}`,
    (r) => `meta mark ${not(r)}${range(port, r)}`,
    (r) => `meta mark ${set(mark, r)}`,
    (r) => `meta length ${r.one(["", "< ", "> ", "!= "])}${port(r)}`,
    (r) => `${r.one(["iifname", "oifname"])} ${not(r)}${ifname(r)}`,
    (r) => `iifname ${set(ifname, r)}`,
    (r) => `ct state ${r.some(CT_STATES, 3).join(",")}`,
    (r) => `ct state ${not(r)}{ ${r.some(CT_STATES, 4).join(", ")} }`,
    (r) => `ct mark ${not(r)}${mark(r)}`,
    (r) => `ct direction ${not(r)}${r.one(["original", "reply"])}`,
    (r) => `ct ${r.one(["packets", "bytes"])} > ${port(r)}`,
    (r) => `meta pkttype ${r.one(["unicast", "broadcast", "multicast"])}`,
    (r) => `meta skuid ${not(r)}${range(byte, r)}`,
    () => "fib saddr . iif oif missing",
    (r) => `numgen ${r.one(["inc", "random"])} mod 10 < ${r.below(10)}`,
  ],
};
const ACTIONS: readonly Make[] = [
  () => "counter",
  (r) => `limit rate ${1 + r.below(100)}/${r.one(["second", "minute", "hour"])}`,
  (r) => `log prefix "x${byte(r)} "`,
  (r) => `meta mark set ${mark(r)}`,
  (r) => `meta mark set ct mark & ${mark(r)} | ${mark(r)}`,
  (r) => `ct mark set meta mark ^ ${mark(r)}`,
  (r) => `quota over ${1 + r.below(1000)} kbytes`,
];
const ENDS: readonly Make[] = [() => "accept", () => "drop", () => "return", () => "jump d", () => "", () => "reject"];

function rule(random: Picker): string {
  const family = random.one(["ip", "ip6", "inet", "inet", "inet"]);
  const network = family === "inet" ? random.one(["ip", "ip6"]) : family;
  const groups = [network, random.one(["tcp", "udp"]), "any", "any"];
  const matches = Array.from({ length: random.below(4) }, () => random.one(MATCHES[random.one(groups)])(random));
  const actions = Array.from({ length: random.below(3) }, () => random.one(ACTIONS)(random));
  const parts = [...matches, ...actions, random.one(ENDS)(random)].filter((part) => part !== "");
  return `${family} ${parts.length === 0 ? "counter" : parts.join(" ")}`;
}
export function generatedRules(seed: number, count: number): readonly string[] {
  const random = new Picker(seed);
  return Array.from({ length: count }, () => rule(random));
}
