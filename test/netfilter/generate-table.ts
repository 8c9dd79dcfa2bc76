/** One table of filters by chance: sets, chains to jump to, base chains. */
import type { Dice } from "./dice.ts";
import { isPossible, ofConnections } from "./generate-match.ts";
import { CLIENTS4, CLIENTS6, INNER4, INNER6, PORT_NAMES, ROUTER4, ROUTER6, SERVERS4, SERVERS6, SERVICES } from "./vocabulary.ts";

export type Family = "ip" | "ip6" | "inet";

/** One table: its sets, its chains of rules to jump to, and where each rule may be. */
export class TableMaker {
  private readonly dice: Dice;
  private readonly family: Family;
  private readonly sets: string[] = [];
  private readonly targets: string[] = [];
  private readonly chains: string[] = [];
  private made = 0;

  constructor(dice: Dice, family: Family) {
    this.dice = dice;
    this.family = family;
  }

  private get six(): boolean {
    return this.family === "ip6" || (this.family === "inet" && this.dice.chance(0.35));
  }

  private hosts(six: boolean): string[] {
    return six ? [...CLIENTS6, ...SERVERS6, ...INNER6, ...ROUTER6] : [...CLIENTS4, ...SERVERS4, ...INNER4, ...ROUTER4];
  }

  private prefix(six: boolean): string {
    return this.dice.pick(
      six
        ? ["2001:db8:1::/64", "2001:db8:ff::/48", "::/0", "2001:db8:9::20/127"]
        : ["192.168.1.0/24", "198.51.100.0/29", "10.9.0.20/31", "0.0.0.0/1"],
    );
  }

  private name(kind: string): string {
    return `${kind}${this.made++}`;
  }

  private ports(): string {
    const { dice } = this;
    const one = () =>
      dice.chance(0.7) ? String(dice.pick(SERVICES)) : dice.pick(["1-1023", "50-79", "80-8080", "1024-65535", "40000-40003"]);
    return dice.weighted([
      [4, one()],
      [3, `{ ${dice.some(SERVICES).join(", ")} }`],
      [1, `!= ${dice.pick(SERVICES)}`],
      [1, `{ 22, 1000-8079, 40000-40004 }`],
    ]);
  }

  private addresses(six: boolean): string {
    const { dice } = this;
    const hosts = this.hosts(six);
    return dice.weighted([
      [4, dice.pick(hosts)],
      [2, this.prefix(six)],
      [3, `{ ${dice.some(hosts, 2, 5).join(", ")} }`],
      [1, `!= ${dice.pick(hosts)}`],
      [2, `{ ${dice.pick(hosts)}, ${this.prefix(six)} }`],
      [2, `@${this.addressSet(six)}`],
    ]);
  }

  private addressSet(six: boolean): string {
    const name = this.name("s");
    const { dice } = this;
    const type = `type ${six ? "ipv6_addr" : "ipv4_addr"};`;
    const interval = dice.chance(0.4);
    const elements = interval ? [this.prefix(six)] : dice.some(this.hosts(six), 1, 5);
    this.sets.push(
      `  set ${name} {\n    ${type}\n${interval ? "    flags interval;\n    auto-merge\n" : ""}    elements = { ${elements.join(", ")} }\n  }`,
    );
    return name;
  }

  /** A set of two things at once, and what to look up in it. */
  private concatenation(six: boolean): string {
    const { dice } = this;
    const name = this.name("c");
    const l3 = six ? "ip6" : "ip";
    const elements = dice.some(this.hosts(six), 2, 6).map((host) => `${host} . ${dice.pick(["tcp", "udp"])} . ${dice.pick(SERVICES)}`);
    const ranges = dice.chance(0.5);
    if (ranges) elements.push(`${this.prefix(six)} . tcp . 1-1023`);
    const type = `${six ? "ipv6_addr" : "ipv4_addr"} . inet_proto . inet_service`;
    this.sets.push(
      `  set ${name} {\n    type ${type};\n${ranges ? "    flags interval;\n" : ""}    elements = { ${[...new Set(elements)].join(", ")} }\n  }`,
    );
    return `${l3} daddr . meta l4proto . th dport @${name}`;
  }

  /** One condition. `hook` matters where names of ports or states mean nothing. */
  private match(hook: string): string {
    const { dice } = this;
    const six = this.six;
    const l3 = six ? "ip6" : "ip";
    const inward = hook !== "output" && hook !== "postrouting" ? "iifname" : "oifname";
    const either = hook === "forward" && dice.chance(0.5) ? "oifname" : inward;
    return dice.weighted<() => string>([
      [5, () => `${l3} ${dice.pick(["saddr", "daddr"])} ${this.addresses(six)}`],
      [4, () => `${dice.pick(["tcp", "udp"])} ${dice.pick(["dport", "dport", "sport"])} ${this.ports()}`],
      [2, () => `meta l4proto ${dice.pick(["tcp", "udp", "{ tcp, udp }", six ? "ipv6-icmp" : "icmp", "132", "!= tcp"])}`],
      [2, () => `${either} ${dice.pick([`"${dice.pick(PORT_NAMES)}"`, `{ "lan", "dmz" }`, `!= "wan"`, `"l*"`])}`],
      [2, () => `meta l4proto { tcp, udp } th ${dice.pick(["dport", "sport"])} ${this.ports()}`],
      [2, () => this.concatenation(six)],
      [1, () => `tcp flags ${dice.pick(["syn", "& (syn | ack | rst | fin) == syn", "& (fin | rst) != 0", "! ack", "syn / syn,ack"])}`],
      [
        1,
        () =>
          `${six ? "icmpv6" : "icmp"} type ${dice.pick(["echo-request", "echo-reply", "destination-unreachable", "{ echo-request, time-exceeded }"])}`,
      ],
      [1, () => `meta length ${dice.pick(["> 60", "< 50", "40-100", "!= 40"])}`],
      [1, () => (six ? `ip6 hoplimit ${dice.pick(["< 64", "64", "> 5"])}` : `ip ttl ${dice.pick(["< 64", "64", "> 5", "63"])}`)],
      [1, () => `meta mark ${dice.pick(["0", "1", "!= 0", "& 0x3 == 0x1", "2-5"])}`],
      [1, () => `fib daddr type ${dice.pick(["local", "unicast", "!= local"])}`],
      [
        1,
        () =>
          `tcp option maxseg size ${dice.pick(["> 1000", "1460", "exists"]).replace(/^size exists$/, "exists")}`.replace(
            "size exists",
            "exists",
          ),
      ],
      [1, () => (six ? `exthdr ${dice.pick(["hbh", "frag", "dst"])} exists` : `ip frag-off & 0x1fff != 0`)],
      [1, () => `@th,${dice.pick(["0,16 < 1024", "16,16 { 80, 443 }", "0,8 & 0x10 == 0x10"])}`],
      ...(hook === "raw" ? [] : ofConnections(dice, l3, this.hosts(six))),
    ])();
  }

  private target(hook: string): string {
    if (this.targets.length > 0 && (this.targets.length > 3 || this.dice.chance(0.6))) return this.dice.pick(this.targets);
    const name = this.name("t");
    // Its own rules jump only to chains that were there before: no loop.
    const rules = this.rules(hook, this.dice.between(1, 3), 1);
    this.chains.push(`  chain ${name} {\n${rules}  }`);
    this.targets.push(name);
    return name;
  }

  private reject(): string {
    const { dice } = this;
    const by = dice.weighted([
      [2, ""],
      [2, ` with icmpx ${dice.pick(["port-unreachable", "admin-prohibited", "no-route", "host-unreachable"])}`],
      [1, this.family === "ip6" ? " with icmpv6 admin-prohibited" : this.family === "ip" ? " with icmp net-prohibited" : ""],
    ]);
    return dice.chance(0.4)
      ? "meta l4proto tcp reject with tcp reset"
      : `reject${this.family !== "inet" && by.includes("icmpx") ? "" : by}`;
  }

  private verdictMap(hook: string): string {
    const { dice } = this;
    const verdict = () => dice.pick(["accept", "drop", `jump ${this.target(hook)}`, `goto ${this.target(hook)}`, "return"]);
    if (dice.chance(0.5))
      return `tcp dport vmap { ${dice
        .some(SERVICES, 1, 4)
        .map((port) => `${port} : ${verdict()}`)
        .join(", ")} }`;
    const six = this.six;
    const hosts = dice.some(this.hosts(six), 1, 4);
    return `${six ? "ip6" : "ip"} ${dice.pick(["saddr", "daddr"])} vmap { ${hosts.map((host) => `${host} : ${verdict()}`).join(", ")} }`;
  }

  /** Things done to a packet on its way; the rule goes on afterwards. */
  private change(hook: string): string {
    const { dice } = this;
    const six = this.six;
    return dice.weighted<() => string>([
      [3, () => `meta mark set ${dice.pick(["1", "2", "meta mark | 0x4", "meta mark & 0x3", hook === "raw" ? "3" : "ct mark"])}`],
      [hook === "raw" ? 0 : 3, () => `ct mark set ${dice.pick(["1", "2", "meta mark", "ct mark | 0x8"])}`],
      [1, () => (six ? `ip6 hoplimit set ${dice.between(3, 200)}` : `ip ttl set ${dice.between(3, 200)}`)],
      [1, () => `${six ? "ip6" : "ip"} dscp set ${dice.pick(["cs1", "af11", "ef"])}`],
      [1, () => `tcp option maxseg size set ${dice.pick([1200, 1300, 1452])}`],
      [1, () => `${dice.pick(["tcp", "udp"])} sport ${dice.pick([40000, 40001])} meta mark set 5`],
      [
        1,
        () =>
          `meta mark set ${six ? "ip6" : "ip"} saddr map { ${dice
            .some(this.hosts(six), 1, 4)
            .map((host, i) => `${host} : ${i + 1}`)
            .join(", ")} }`,
      ],
      [1, () => `meta mark set jhash ${six ? "ip6" : "ip"} saddr . ${six ? "ip6" : "ip"} daddr mod 3 seed 0x1234`],
      [1, () => this.remember(six)],
    ])();
  }

  /** A set that packets fill. */
  private remember(six: boolean): string {
    const name = this.name("d");
    this.sets.push(`  set ${name} {\n    type ${six ? "ipv6_addr" : "ipv4_addr"};\n    size 128;\n    flags dynamic\n  }`);
    const key = `${six ? "ip6" : "ip"} saddr`;
    return this.dice.chance(0.5) ? `add @${name} { ${key} }` : `${key} @${name} counter accept\n    update @${name} { ${key} }`;
  }

  /** What a rule does in the end. */
  private end(hook: string, depth: number): string {
    const { dice } = this;
    return dice.weighted<() => string>([
      [3, () => "accept"],
      [1.2, () => "drop"],
      [1, () => (hook === "raw" || hook === "postrouting" ? "drop" : this.reject())],
      [depth ? 0 : 2, () => `${dice.pick(["jump", "jump", "goto"])} ${this.target(hook)}`],
      [depth ? 0 : 1, () => this.verdictMap(hook)],
      [4, () => this.change(hook)],
      [1, () => "return"],
      [hook === "raw" ? 2 : 0, () => "notrack"],
      [2, () => ""],
    ])();
  }

  rules(hook: string, count: number, depth = 0): string {
    const { dice } = this;
    let out = "";
    for (let i = 0; i < count; i++) {
      let matches: string[];
      let end: string;
      do {
        matches = Array.from(
          {
            length: dice.weighted([
              [2, 0],
              [6, 1],
              [3, 2],
            ]),
          },
          () => this.match(hook),
        );
        end = this.end(hook, depth);
      } while (!isPossible([...matches, end].join(" ")));
      // Nothing that ends all packets at once, too early.
      const all = matches.length === 0 && /^(accept|drop|reject|return)/.test(end) && dice.chance(0.8);
      out += `    ${[...matches, "counter", all ? "" : end].filter(Boolean).join(" ")}\n`;
    }
    return out;
  }

  base(type: string, hook: string, priority: string, rules: string): void {
    const policy = type === "filter" && this.dice.chance(0.12) ? "drop" : "accept";
    this.chains.push(`  chain ${this.name("b")} {\n    type ${type} hook ${hook} priority ${priority}; policy ${policy};\n${rules}  }`);
  }

  print(name: string): string {
    return `table ${this.family} ${name} {\n${[...this.sets, ...this.chains].join("\n")}\n}\n`;
  }
}
