/** Configurations of a router: what is wrong with one, and where. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkConfig, parseConfig } from "../src/router/index.ts";
import { checkRules } from "../src/router/ruleset.ts";

const LAN = "interfaces:\n  - name: lan\n    addresses: [10.0.0.1/24]\n";

/** Files, and every line that is said of them. */
const BAD: readonly (readonly [name: string, source: string, ...lines: (string | RegExp)[]])[] = [
  ["nothing", "", "router.yaml:1:1: interfaces is missing; router needs it"],
  ["no object", "[1]", "router.yaml:1:1: the configuration is a list of 1; expected an object"],
  ["broken YAML", "interfaces: [\n", "router.yaml:2:1: Flow sequence in block collection must be sufficiently indented and end with a ]"],
  ["a key twice", "interfaces: []\ninterfaces: []\n", 'router.yaml:2:1: "interfaces" is there twice'],
  ["a tab", "interfaces:\n\t- name: lan\n", "router.yaml:2:1: Tabs are not allowed as indentation"],
  [
    "a forward twice",
    `${LAN}forwards:\n  - { listen: "lan:80", to: "10.0.0.2:80", protocol: both }\n  - { listen: "lan:80", to: "10.0.0.3:80" }\n`,
    'router.yaml:6:15: forwards[1].listen is "lan:80", as of forwards[0]',
  ],
  [
    "a range from its end",
    `${LAN}dhcpServers:\n  - { interface: lan, range: [10.0.0.9, 10.0.0.5] }\n`,
    "router.yaml:5:30: dhcpServers[0].range ends before it begins: 10.0.0.9 to 10.0.0.5",
  ],
  ["a name server that is none", `${LAN}dns: { upstreams: [notanaddress] }\n`, /^router\.yaml:4:20: dns\.upstreams\[0\]: .*notanaddress/],
  [
    "a tunnel without its beginning",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80, mode: ipip }]\n`,
    /^router\.yaml:4:13: balancers\[0\]: service: mode "ipip" needs tunnelFrom/,
  ],
  [
    "a backend of the other family",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80, backends: [{ address: "fd00::5" }] }]\n`,
    /^router\.yaml:4:13: balancers\[0\]: backend: fd00::5 is IPv6; expected IPv4 as the service/,
  ],
  [
    "a service twice",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80 }, { address: 192.0.2.80, port: 80 }]\n`,
    "router.yaml:4:48: balancers[1] is tcp 192.0.2.80:80, as balancers[0]",
  ],
  [
    "a check that takes longer than it may",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80, health: { kind: tcp, intervalMs: 1000 } }]\n`,
    /health check: timeoutMs is 3000; expected at most intervalMs, 1000/,
  ],
  [
    "one fixed address for two",
    `${LAN}dhcpServers: [{ interface: lan, range: [10.0.0.5, 10.0.0.9], fixed: { "02:00:00:00:00:01": 10.0.0.7, "02:00:00:00:00:02": 10.0.0.7 } }]\n`,
    /fixed\["02:00:00:00:00:02"\] is 10\.0\.0\.7, as of 02:00:00:00:00:01$/,
  ],
  [
    "a fixed address that is the router's",
    `${LAN}dhcpServers: [{ interface: lan, range: [10.0.0.5, 10.0.0.9], fixed: { "02:00:00:00:00:01": 10.0.0.1 } }]\n`,
    /is 10\.0\.0\.1, the router's own; expected another$/,
  ],
  [
    "a fixed address of everybody",
    `${LAN}dhcpServers: [{ interface: lan, range: [10.0.0.5, 10.0.0.9], fixed: { "02:00:00:00:00:01": 10.0.0.255 } }]\n`,
    /is 10\.0\.0\.255; expected a host's address of 10\.0\.0\.0\/24$/,
  ],
  [
    "a range of IPv6 that ends before it begins",
    `${LAN}dhcp6Servers: [{ interface: lan, range: ["fd00::9", "fd00::5"] }]\n`,
    /dhcp6Servers\[0\]\.range ends before it begins: fd00::9 to fd00::5$/,
  ],
  [
    "prefixes longer than what they are of",
    `${LAN}dhcp6Servers: [{ interface: lan, delegate: { prefix: "2001:db8::/48", length: 40 } }]\n`,
    /delegate\.length is 40; expected 48 to 128, as the prefix has 48$/,
  ],
  [
    "a route by a gateway of the other family",
    `${LAN}routes: [{ to: 10.0.0.0/8, via: "fd00::1" }]\n`,
    "router.yaml:4:33: routes[0].via is IPv6; expected IPv4 as 10.0.0.0/8",
  ],
  [
    "an address that no interface can have",
    "interfaces:\n  - name: lan\n    addresses: [224.0.0.1/4]\n",
    /interfaces\[0\]\.addresses\[0\] is 224\.0\.0\.1\/4; expected an address that an interface can have$/,
  ],
  ["an MTU out of range", `${LAN}    mtu: 20\n`, "router.yaml:4:10: interfaces[0].mtu is 20; expected a whole number from 68 to 65535"],
  [
    "an MTU as a text",
    `${LAN}    mtu: "1500"\n`,
    'router.yaml:4:10: interfaces[0].mtu is "1500"; expected a whole number from 68 to 65535',
  ],
  [
    "a misspelt key",
    `${LAN}    adresses: []\n`,
    'router.yaml:4:5: interfaces[0]: there is no interface option "adresses"; did you mean "addresses"?',
  ],
  ["a misspelt section", `${LAN}routs: []\n`, 'router.yaml:4:1: there is no router option "routs"; did you mean "routes"?'],
  [
    "an address without a length",
    "interfaces:\n  - name: lan\n    addresses:\n      - 10.0.0.1\n",
    'router.yaml:4:9: interfaces[0].addresses[0] is "10.0.0.1"; expected an address with its length, such as 192.0.2.1/24 or 2001:db8::1/64',
  ],
  ["an interface without a name", "interfaces:\n  - mtu: 1500\n", "router.yaml:2:5: interfaces[0].name is missing; interface needs it"],
  [
    "a long name",
    "interfaces:\n  - name: a-name-of-sixteen\n",
    'router.yaml:2:11: interfaces[0].name is "a-name-of-sixteen"; expected the name of an interface: 1 to 15 characters without "/" and blanks',
  ],
  [
    "a name twice",
    "interfaces:\n  - name: lan\n  - name: lan\n",
    'router.yaml:3:11: interfaces[1].name is "lan"; interfaces[0] is called that already',
  ],
  [
    "a port of what is no bridge",
    `${LAN}  - { name: lan1, master: lan }\n`,
    'router.yaml:4:27: interfaces[1].master is "lan", which is no bridge; expected one with device: { kind: bridge }',
  ],
  [
    "a port of a bridge that is not there",
    `${LAN}    master: br0\n`,
    'router.yaml:4:13: interfaces[0].master is "br0"; expected an interface: lan',
  ],
  [
    "addresses of a bridge's port",
    `${LAN}  - { name: br0, device: { kind: bridge } }\n  - { name: lan1, master: br0, addresses: [10.0.0.1/24] }\n`,
    "router.yaml:5:43: interfaces[2].addresses is the bridge's; expected it at br0",
  ],
  [
    "VLANs of what is no port",
    `${LAN}    vlans: [3]\n`,
    "router.yaml:4:12: interfaces[0].vlans is of a bridge's port; expected master: with it",
  ],
  [
    "a bridge as a port",
    `${LAN}  - { name: br0, device: { kind: bridge }, master: br0 }\n`,
    "router.yaml:4:52: interfaces[1].master is of a bridge; a bridge is no other's port",
  ],
  [
    "a multicast MAC",
    `${LAN}    mac: "01:00:00:00:00:01"\n`,
    'router.yaml:4:10: interfaces[0].mac is "01:00:00:00:00:01"; expected a unicast MAC address, such as 02:00:00:00:00:01',
  ],
  [
    "a device of no kind",
    `${LAN}    device: { kind: tape }\n`,
    'router.yaml:4:21: interfaces[0].device.kind is "tape"; expected an object whose kind is "tap", "packet", "xdp", "qemu", "pcap", "generator" or "bridge"',
  ],
  [
    "a device option of another kind",
    `${LAN}    device: { kind: tap, queue: 1 }\n`,
    'router.yaml:4:26: interfaces[0].device: there is no tap option "queue"; expected one of kind, name, namespace, offload',
  ],
  [
    "a qdisc that is none",
    `${LAN}    qdisc: fq_coddle\n`,
    'router.yaml:4:12: interfaces[0].qdisc: tc: there is no qdisc "fq_coddle"; expected one of pfifo, bfifo, prio, tbf, htb, fq, fq_codel, cake, red',
  ],
  [
    "a line behind a qdisc",
    `${LAN}    qdisc: |\n      htb default 10\n      class add parent 1: classid 1:10 htb rate 5mbit\n`,
    'router.yaml:4:12: interfaces[0].qdisc: line 2: "class add parent 1: classid 1:10 htb rate 5mbit" stands behind a qdisc; with more lines the first begins with "qdisc add root"',
  ],
  [
    "a line of a tree of queues",
    `${LAN}    qdisc: |\n      qdisc add root handle 1: htb default 10\n      class add parent 1: classid 1:10 htb rate foo\n`,
    'router.yaml:4:12: interfaces[0].qdisc: line 2: tc: "foo" is no rate; expected a number with a unit, like 10mbit',
  ],
  [
    "a class below none",
    `${LAN}    qdisc: |\n      qdisc add root handle 1: htb\n      qdisc add parent 1:7 fq_codel\n`,
    "router.yaml:4:12: interfaces[0].qdisc: line 2: tc: there is no class 1:7",
  ],
  [
    "queues without room for them",
    `${LAN}    qdisc: fq_codel\nmemory: { queueBytes: 0 }\n`,
    "router.yaml:5:23: memory.queueBytes is 0, and interfaces[0] has a qdisc; expected room for it",
  ],
  [
    "memory for rules that is too little",
    `${LAN}memory: { filterBytes: 100 }\n`,
    /^router\.yaml:4:9: memory: filterBytes is 100; expected /,
  ],
  [
    "one TAP device for two",
    "interfaces:\n  - { name: a, device: { kind: tap, name: t0 } }\n  - { name: b, device: { kind: tap, name: t0 } }\n",
    "router.yaml:3:24: interfaces[1].device is the TAP device t0, as that of interfaces[0]",
  ],
  [
    "a backend twice",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80, backends: [{ address: 10.0.0.5 }, { address: 10.0.0.5 }] }]\n`,
    "router.yaml:4:80: balancers[0].backends[1] is 10.0.0.5:80, which is there already",
  ],
  [
    "a status that is none",
    `${LAN}balancers: [{ address: 192.0.2.80, port: 80, virtualNodes: 10, mostLoad: 1.25, health: { kind: http, status: 20 } }]\n`,
    /health\.status is 20; expected/,
  ],
  [
    "a qdisc's rate",
    `${LAN}    qdisc: tbf rate fast burst 10k latency 5ms\n`,
    'router.yaml:4:12: interfaces[0].qdisc: tc: "fast" is no rate; expected a number with a unit, like 10mbit',
  ],
  [
    "two routes to one prefix",
    "interfaces:\n  - name: lan\nroutes:\n  - { to: 10.9.0.0/16, via: 10.0.0.2 }\n  - { to: 10.9.0.0/16, via: 10.0.0.3 }",
    "router.yaml:5:11: routes[1].to is 10.9.0.0/16, as of routes[0]; expected another metric, or one route with nextHops",
  ],
  [
    "a route that leads nowhere",
    `${LAN}routes:\n  - to: default\n`,
    "router.yaml:5:5: routes[0] leads nowhere; expected via, interface or nextHops",
  ],
  [
    "a route to no prefix",
    `${LAN}routes:\n  - { to: 10.0.0.0/33, via: 10.0.0.2 }\n`,
    'router.yaml:5:11: routes[0].to is "10.0.0.0/33"; expected a prefix, such as 192.0.2.0/24, 2001:db8::/32 or default',
  ],
  [
    "a route by no interface",
    `${LAN}routes:\n  - { to: default, interface: wan }\n`,
    'router.yaml:5:31: routes[0].interface is "wan"; expected an interface: lan',
  ],
  [
    "a blackhole with a gateway",
    `${LAN}routes:\n  - { to: 10.9.0.0/16, kind: blackhole, via: 10.0.0.2 }\n`,
    "router.yaml:5:5: routes[0] is of kind blackhole; expected neither via, interface nor nextHops",
  ],
  [
    "two rules of one priority",
    `${LAN}policyRules:\n  - { priority: 7, table: 9 }\n  - { priority: 7, table: 8 }\n`,
    "router.yaml:6:17: policyRules[1].priority is 7, as of policyRules[0]",
  ],
  [
    "filtering without a mapping",
    `${LAN}nat: { masquerade: [lan], filtering: address-dependent }\n`,
    "router.yaml:4:38: nat.filtering is of mappings that do not depend on endpoints; expected mapping: endpoint-independent with it",
  ],
  [
    "a pool beside its network",
    `interfaces: [{ name: lan, addresses: [192.168.1.1/24] }]\ndhcpServers: [{ interface: lan, range: [10.0.0.1, 10.0.0.9] }]\n`,
    "router.yaml:2:41: dhcpServers[0].range[0] is 10.0.0.1; expected an address of 192.168.1.0/24",
    "router.yaml:2:51: dhcpServers[0].range[1] is 10.0.0.9; expected an address of 192.168.1.0/24",
  ],
  [
    "a pool with the router in it",
    `interfaces: [{ name: lan, addresses: [192.168.1.1/24] }]\ndhcpServers: [{ interface: lan, range: [192.168.1.1, 192.168.1.9] }]\n`,
    "router.yaml:2:40: dhcpServers[0].range has 192.168.1.1 in it, the router's own; expected a range without it",
  ],
  [
    "the other family's mistakes",
    `${LAN}nat64: { prefix: "64:ff9b::/95", pool: 10.0.0.0/30 }\n`,
    'router.yaml:4:18: nat64.prefix is "64:ff9b::/95"; expected an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, as 64:ff9b::/96',
    'router.yaml:4:40: nat64.pool is "10.0.0.0/30"; expected an IPv4 prefix of 8 to 29 bits',
  ],
  [
    "names of a family that nobody has",
    `${LAN}dns: { dns64: true }\n`,
    "router.yaml:4:15: dns.dns64 makes addresses of nat64's prefix; expected nat64: with it",
  ],
  [
    "prefixes that cannot be translated",
    `${LAN}nptv6: [{ inside: "10.0.0.0/8", outside: "2001:db8::/48", interface: wan }, { inside: "fd00::/48", outside: "2001:db8::/56", interface: lan }]\n`,
    'router.yaml:4:70: nptv6[0].interface is "wan"; expected an interface: lan',
    'router.yaml:4:19: nptv6[0].inside is "10.0.0.0/8"; expected an IPv6 prefix of 1 to 64 bits',
    "router.yaml:4:109: nptv6[1].outside is of 56 bits, inside of 48; expected as many",
  ],
  ["NAT by no interface", `${LAN}nat: { masquerade: [wan] }\n`, 'router.yaml:4:21: nat.masquerade[0] is "wan"; expected an interface: lan'],
  [
    "a forward without a port",
    `${LAN}forwards:\n  - { listen: lan, to: "10.0.0.5:80" }\n`,
    'router.yaml:5:15: forwards[0].listen is "lan"; expected an address or an interface and a port, such as 203.0.113.1:8080, [2001:db8::1]:8080 or wan:8080',
  ],
  [
    "a forward of two families",
    `${LAN}forwards:\n  - { listen: "203.0.113.1:80", to: "[2001:db8::5]:80" }\n`,
    "router.yaml:5:37: forwards[0].to is of another family than listen",
  ],
  [
    "two rulesets",
    `${LAN}ruleset: flush ruleset\nrulesetFile: x.nft\n`,
    'router.yaml:5:14: rulesetFile: there is "ruleset" already; expected one of the two',
  ],
  [
    "a timeout that is none",
    `${LAN}conntrack: { timeouts: { tcp_etablished: 5 } }\n`,
    'router.yaml:4:26: conntrack.timeouts: there is no timeout option "tcp_etablished"; did you mean "tcp_established"?',
  ],
  [
    "DHCP without an address",
    "interfaces:\n  - name: lan\ndhcpServers:\n  - { interface: lan, range: [10.0.0.10, 10.0.0.20] }\n",
    'router.yaml:4:18: dhcpServers[0].interface is "lan", which has no IPv4 address; give it one',
  ],
  [
    "a range of one",
    `${LAN}dhcpServers:\n  - { interface: lan, range: [10.0.0.10] }\n`,
    "router.yaml:5:30: dhcpServers[0].range[1] is missing; expected an IPv4 address, such as 192.0.2.1",
  ],
  [
    "egress without DNS",
    `${LAN}egress: { interfaces: [lan], allow: [example.com] }\n`,
    "router.yaml:4:9: egress: names are allowed by the answers of the DNS forwarder; expected dns: with it",
  ],
  [
    "egress to no name",
    `${LAN}dns: {}\negress: { interfaces: [lan], allow: ["https://example.com"] }\n`,
    'router.yaml:5:38: egress.allow[0]: "https://example.com" is neither a name nor a prefix; expected one such as example.com, *.example.com:443 or 192.0.2.0/24:22',
  ],
  [
    "advertising without forwarding",
    `${LAN}    advertise: true\nforwarding: false\n`,
    "router.yaml:4:16: interfaces[0].advertise: a router that does not forward cannot advertise itself",
  ],
  [
    "a balancer without a port",
    `${LAN}balancers:\n  - address: 192.0.2.80\n`,
    "router.yaml:5:5: balancers[0].port is missing; balancer needs it",
  ],
  [
    "a scheduler that is none",
    `${LAN}balancers:\n  - { address: 192.0.2.80, port: 80, scheduler: fastest }\n`,
    'router.yaml:5:49: balancers[0].scheduler is "fastest"; expected "round-robin", "weighted-round-robin", "least-connections", "source-hash", "ketama" or "maglev"',
  ],
  [
    "two mistakes at once",
    `${LAN}    mtu: 1\n    up: maybe\n`,
    "router.yaml:4:10: interfaces[0].mtu is 1; expected a whole number from 68 to 65535",
    'router.yaml:5:9: interfaces[0].up is "maybe"; expected true or false',
  ],
];

describe("router.yaml", () => {
  for (const [name, source, ...lines] of BAD) {
    it(`says what is wrong: ${name}`, () => {
      assert.throws(
        () => parseConfig(source),
        (error: Error & { code?: string }) => {
          const told = error.message.split("\n");
          assert.equal(told.length, lines.length, error.message);
          for (const [i, line] of lines.entries())
            if (typeof line === "string") assert.equal(told[i], line);
            else assert.match(told[i], line);
          assert.equal(error.code, "EINVAL");
          return true;
        },
      );
    });
  }

  it("objects are checked as files are, without places", () => {
    assert.throws(() => checkConfig({ interfaces: [{ name: "lan", mtu: 1 }] }), {
      message: "router: interfaces[0].mtu is 1; expected a whole number from 68 to 65535",
    });
    assert.deepEqual(checkConfig({ interfaces: [] }), { interfaces: [] });
  });

  it("a whole configuration is right", () => {
    const config = parseConfig(`
name: gateway
rpFilter: strict
interfaces:
  - { name: wan, device: { kind: packet, interface: eth0 }, dhcp: v4, autoconf: true, qdisc: cake bandwidth 50mbit diffserv4 }
  - name: lan
    device: { kind: tap, name: lan0 }
    addresses: [10.0.0.1/24, "fd00::1/64"]
    advertise: { managed: true, nameServers: ["fd00::1"] }
routes: [{ to: 10.9.0.0/16, nextHops: [{ via: 10.0.0.2 }, { via: 10.0.0.3, weight: 2 }] }, { to: 10.8.0.0/16, kind: blackhole }]
policyRules: [{ priority: 100, interface: lan, table: 100 }]
ruleset: |
  table inet filter {
    chain forward { type filter hook forward priority filter; policy accept; }
  }
nat: { masquerade: [wan] }
forwards: [{ listen: "wan:8080", to: "10.0.0.5:80" }, { listen: "[2001:db8::1]:53", to: "[fd00::5]:53", protocol: both }]
balancers: [{ address: 10.0.0.80, port: 80, scheduler: maglev, health: { kind: http, path: / }, backends: [{ address: 10.0.0.5 }] }]
dhcpServers: [{ interface: lan, range: [10.0.0.100, 10.0.0.200], fixed: { "02:00:00:00:00:07": 10.0.0.7 } }]
dhcp6Servers: [{ interface: lan, range: ["fd00::1000", "fd00::1fff"] }]
dns: { listen: [lan], upstreams: [192.0.2.53], records: { nas.lan: [10.0.0.7, "fd00::7"], tv.lan: 10.0.0.8 } }
egress: { interfaces: [lan], allow: [example.com, "*.github.com:443", "192.0.2.0/24:22", "2001:db8::/32"] }
conntrack: { max: 10000, tcpLoose: false, timeouts: { udp: 10 } }
log: { to: /var/log/packetloom.log, format: syslog }
control: /run/packetloom.sock
metrics: 127.0.0.1:9100
`);
    assert.equal(config.interfaces.length, 2);
    assert.deepEqual(config.forwards?.[1].protocol, "both");
  });

  it("mistakes of rules are told at their line of the configuration, in whatever language they are", () => {
    const config = (rules: string) => parseConfig(`interfaces:\n  - name: lan\n${rules}`, "gw.yaml");
    const cases = [
      ["ruleset: |\n  table ip t {\n    chain c { typ x }\n  }\n", /^gw\.yaml:5:15-17: Error: syntax error/],
      [
        "iptables: |\n  *filter\n  -A INPUT -p tcp --dport 80 -j ACCEPT\n  -A INPUT --dprt 80 -j ACCEPT\n  COMMIT\n",
        /^gw\.yaml:6:12-17: Error: unknown option/,
      ],
      // What nft alone finds: the translation's line is not told.
      ["iptables: |\n  *filter\n  -A FORWARD -j nowhere\n  COMMIT\n", /^gw\.yaml:5:3-23: Error: /],
      ["ip6tables: |\n  *filter\n  -A INPUT -s 192.0.2.1 -j DROP\n  COMMIT\n", /^gw\.yaml:5:/],
    ] as const;
    for (const [rules, wanted] of cases)
      assert.throws(
        () => checkRules(config(rules)),
        (error: Error) => wanted.test(error.message) || assert.fail(error.message),
      );
    checkRules(config(`iptables: "-A INPUT -m comment --comment ${"a".repeat(255)} -j DROP"\n`));
    assert.throws(() => checkRules(config(`iptables: "-A INPUT -m comment --comment ${"a".repeat(256)} -j DROP"\n`)), /255 characters/);
  });
});
