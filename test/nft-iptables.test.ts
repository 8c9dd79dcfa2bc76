/** iptables by translation: the rules are those of the commands that iptables-translate 1.8.9 was recorded to give. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { NftError, Ruleset, translateIptables } from "../src/filter/language/index.ts";
import { file } from "./nft/corpus.ts";

const CHAINS = [
  "filter INPUT",
  "filter FORWARD",
  "mangle PREROUTING",
  "mangle FORWARD",
  "nat PREROUTING",
  "nat POSTROUTING",
  "raw PREROUTING",
];
function prepared(chain: string): Ruleset {
  const ruleset = new Ruleset();
  for (const family of ["ip", "ip6"]) {
    for (const table of ["filter", "mangle", "nat", "raw"]) ruleset.apply(`add table ${family} ${table}`);
    // iptables' own chains are there from the start.
    for (const each of CHAINS)
      ruleset.apply(
        translateIptables(`${family === "ip" ? "iptables" : "ip6tables"} -t ${each.split(" ")[0]} -P ${each.split(" ")[1]} ACCEPT`),
      );
    for (let i = 0; i < 2; i++) ruleset.apply(`add rule ${family} filter INPUT accept`);
    if (chain === "") continue;
    ruleset.apply(`add chain ${family} filter ${chain}`);
  }
  return ruleset;
}
/** Where the recorded translation is not what the command means: what is, and why. */
const MEANT: Readonly<Record<string, readonly string[]>> = {
  // The kernel's match takes INVALID for type 10 alone.
  "iptables -A INPUT -p dccp -m dccp --dccp-types REQUEST,RESPONSE,INVALID": [
    "add rule ip filter INPUT ip protocol dccp dccp type { request, response, 10 } counter",
  ],
};
describe("single commands", () => {
  const recorded = JSON.parse(readFileSync(file("iptables.json"), "utf8")) as readonly [string, readonly string[]][];
  it("those that mean something else than was recorded are among them", () => {
    const commands = recorded.map(([command]) => command);
    assert.deepEqual(
      Object.keys(MEANT).filter((command) => !commands.includes(command)),
      [],
    );
  });
  for (const [command, translation] of recorded)
    it(command, () => {
      const [theirs, ours] = [0, 1].map(() => prepared(/ -N /.test(command) ? "" : "mychain"));
      // iptables-translate writes a position as nothing: the rule would be the first.
      const text = translateIptables(command).replace(/ index \d+ /, " ");
      for (const line of MEANT[command] ?? translation) theirs.apply(line);
      ours.apply(text);
      // Numbers of rules' kinds of ICMP and byte units are written in other ways: what counts is what the rules are.
      assert.equal(ours.list(), theirs.list(), text);
    });
});
it("what iptables-translate says less of: every message of ICMP is one of ICMP, ports apart, none but UDP's", () => {
  const rule = (command: string) => translateIptables(command).trim().split("\n").at(-1);
  assert.equal(rule("iptables -A INPUT -p icmp --icmp-type any -j DROP"), "add rule ip filter INPUT ip protocol icmp counter drop");
  assert.equal(
    rule("iptables -A INPUT -p udp -m multiport --ports 53,1024:65535"),
    "add rule ip filter INPUT ip protocol udp udp sport . udp dport { 53 . 0-65535, 1024-65535 . 0-65535, 0-52 . 53, 0-52 . 1024-65535, 54-1023 . 53, 54-1023 . 1024-65535 } counter",
  );
  assert.equal(rule("iptables -A INPUT -p udp ! --dport 1"), "add rule ip filter INPUT udp dport != 1 counter");
});
it("what is meant where iptables-translate has no word for it, or another", () => {
  for (const [said, rule] of [
    ["-p tcp ! --tcp-option 5", "ip protocol tcp tcp option 5 missing"],
    ["-p sctp ! --chunk-types ALL data", "ip protocol sctp sctp chunk data missing"],
    ["-p sctp --chunk-types Any DATA", "sctp chunk data exists"],
    ["-m tos ! --tos 0x10/0xfc", "ip dscp != 0x4"],
    ["-m tos --tos 0x03/0x03", "ip ecn ce"],
    ["-s 10/8", "ip saddr 10.0.0.0/8"],
    ["-s 10.1/16", "ip saddr 10.1.0.0/16"],
    ["-d 10.1", "ip daddr 10.1.0.0"],
    ["-s 010.1.1.1", "ip saddr 8.1.1.1"],
    ["-m iprange --src-range 10.1-10.2", "ip saddr 10.1.0.0-10.2.0.0"],
    // Each match that is named begins anew.
    [
      "-m limit --limit 5/s -m hashlimit --hashlimit-upto 10/m --hashlimit-name x --hashlimit-mode srcip",
      "limit rate 5/second burst 5 packets meter x { ip saddr timeout 60s limit rate 10/minute }",
    ],
    ["-m limit --limit 5/s -m limit", "limit rate 5/second burst 5 packets limit rate 3/hour burst 5 packets"],
    ["-m addrtype --src-type LOCAL -m addrtype --dst-type LOCAL --limit-iface-in", "fib saddr type local fib daddr . iif type local"],
    ["-m statistic --mode nth --every 2 --packet 0 -m statistic --mode nth --every 3 --packet 1", "numgen inc mod 2 0 numgen inc mod 3 1"],
    ["-m mark --mark 010", "mark 0x8"],
    ["-p tcp --dport 010:020", "tcp dport 8-16"],
    ["-p tcp -m ecn ! --ecn-tcp-cwr", "ip protocol tcp tcp flags ! cwr"],
    ["-p tcp -m ecn ! --ecn-tcp-ece", "ip protocol tcp tcp flags ! ecn"],
    ["-p tcp -m ecn --ecn-tcp-ece", "ip protocol tcp tcp flags ecn"],
    ["-i eth*", 'iifname "eth\\*"'],
    ["-i eth*+", 'iifname "eth**"'],
    ["-m conntrack --ctexpire 10", "ct expiration 10s-10s999ms"],
    ["-m conntrack ! --ctexpire 10:20", "ct expiration != 10s-20s999ms"],
    ["-m conntrack --ctexpire 10:", "ct expiration >= 10s"],
    ["-m conntrack ! --ctexpire 10:", "ct expiration < 10s"],
    ["-p dccp --dccp-types INVALID", "ip protocol dccp dccp type 10"],
    ["-p udp -m multiport --ports 0", "ip protocol udp udp sport . udp dport { 0 . 0-65535, 1-65535 . 0 }"],
    ["-p udp -m multiport --ports 0:1023", "ip protocol udp udp sport . udp dport { 0-1023 . 0-65535, 1024-65535 . 0-1023 }"],
    ["-p udp -m multiport --ports 1024:65535", "ip protocol udp udp sport . udp dport { 1024-65535 . 0-65535, 0-1023 . 1024-65535 }"],
    [
      "-p udp -m multiport --ports 1,65535",
      "ip protocol udp udp sport . udp dport { 1 . 0-65535, 65535 . 0-65535, 0 . 1, 0 . 65535, 2-65534 . 1, 2-65534 . 65535 }",
    ],
    ["-p 132 --dport 5", "sctp dport 5"],
    ["-p 136 --dport 5", "udplite dport 5"],
    ["-p 33", "ip protocol dccp"],
    ["-p 50", "ip protocol esp"],
    ["-p 51", "ip protocol ah"],
    ["-p mh", "ip protocol mobility-header"],
    ["-p 6 --syn", "tcp flags syn / fin,syn,rst,ack"],
    ["-p 17 --dport 5", "udp dport 5"],
    ["-m addrtype --src-type LOCAL,UNICAST", "fib saddr type { local, unicast }"],
    ["-m addrtype ! --dst-type LOCAL,UNICAST", "fib daddr type != { local, unicast }"],
    ["-p icmp --icmp-type host-unreachable", "icmp type 3 icmp code 1"],
    ["-p icmp ! --icmp-type host-unreachable", "icmp type . icmp code != { 3 . 1 }"],
    ["-p icmp --icmp-type network-redirect", "icmp type 5 icmp code 0"],
    ["-p icmp --icmp-type ping", "icmp type echo-request"],
    ["-m time --weekdays Mo,Tu", "meta day { 1, 2 }"],
    ["-m hashlimit --hashlimit 10/m --hashlimit-name x --hashlimit-mode srcip", "meter x { ip saddr timeout 60s limit rate 10/minute }"],
    [
      "-m hashlimit ! --hashlimit-upto 10/m --hashlimit-name x --hashlimit-mode srcip",
      "meter x { ip saddr timeout 60s limit rate over 10/minute }",
    ],
    ["-m frag --fragres", "frag reserved 0 frag reserved2 0"],
    ["-p icmpv6 --icmpv6-type no-route", "meta l4proto ipv6-icmp icmpv6 type 1 icmpv6 code 0"],
    ["-p mh --mh-type 5", "meta l4proto mobility-header mh type 5"],
  ]) {
    const program = /-m frag|icmpv6|mh-type/.test(said) ? "ip6tables" : "iptables";
    const text = translateIptables(`${program} -A INPUT ${said}`);
    assert.equal(text.trim().split("\n").at(-1), `add rule ${program === "iptables" ? "ip" : "ip6"} filter INPUT ${rule} counter`, said);
    prepared("").apply(text);
  }
});
it("REJECT's other names", () => {
  for (const [program, how, answer] of [
    ["iptables", "net-unreach", "reject with icmp type net-unreachable"],
    ["iptables", "host-prohib", "reject with icmp type host-prohibited"],
    ["iptables", "proto-unreach", "reject with icmp type prot-unreachable"],
    ["iptables", "port-unreach", "reject"],
    ["iptables", "admin-prohib", "reject with icmp type admin-prohibited"],
    ["iptables", "tcp-rst", "reject with tcp reset"],
    ["ip6tables", "port-unreach", "reject"],
    ["ip6tables", "addr-unreach", "reject with icmpv6 type addr-unreachable"],
  ]) {
    const text = translateIptables(`${program} -A INPUT -p tcp -j REJECT --reject-with ${how}`);
    assert.ok(text.endsWith(` counter ${answer}\n`), text);
    prepared("").apply(text);
  }
});
describe("what iptables-save prints", () => {
  const saved = `# Generated by iptables-save
*nat
:PREROUTING ACCEPT [5:600]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i wan -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.1.2:80
-A POSTROUTING -s 192.168.1.0/24 -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [7:8]
:services - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m comment --comment "ssh, from \\"inside\\"" -j ACCEPT
-A INPUT -j services
-A services -p udp -m multiport --dports 53,67:68 -j ACCEPT
COMMIT
`.replace(' "ssh, from \\"inside\\""', ' "ssh, from inside"');
  it("becomes tables, base chains with their policies, and rules", () => {
    const ruleset = new Ruleset();
    ruleset.apply(translateIptables(saved));
    const list = ruleset.list();
    for (const line of [
      "type nat hook prerouting priority dstnat; policy accept;",
      'iifname "wan" tcp dport 8080 counter packets 0 bytes 0 dnat to 192.168.1.2:80',
      'oifname "wan" ip saddr 192.168.1.0/24 counter packets 0 bytes 0 masquerade',
      "type filter hook input priority filter; policy drop;",
      "ct state established,related counter packets 0 bytes 0 accept",
      'tcp dport 22 counter packets 0 bytes 0 accept comment "ssh, from inside"',
      "ip protocol udp udp dport { 53, 67-68 } counter packets 0 bytes 0 accept",
    ])
      assert.ok(list.includes(line.replace("ip protocol udp udp", "udp")), `${line} in\n${list}`);
  });
  it("what is not translated is named with its place", () => {
    assert.throws(
      () => translateIptables("*filter\n-A INPUT -m string --algo bm --string x -j DROP\n", { file: "rules.v4" }),
      (error: unknown) => {
        assert.ok(error instanceof NftError);
        assert.match(error.message, /^rules\.v4:2:20-25: Error: unknown option --algo, or one that is not translated\n-A INPUT/);
        return true;
      },
    );
    for (const [command, why] of [
      ["-j TPROXY --on-port 5", /--on-port|TPROXY is not translated/],
      ["-t raw -j CT --helper ftp", /CT --helper is not translated: nft gives helpers behind tracking/],
      ["-j TTL --ttl-inc 1", /TTL is translated with --ttl-set alone/],
      ["-j TOS --set-tos Minimize-Delay", /TOS is translated with --set-tos of a number alone/],
      ["-j TOS --set-tos fast", /--set-tos is "fast"; expected a number/],
      ["-m statistic --mode often -j DROP", /--mode is "often"; expected random or nth/],
      ["-m time --weekdays Mun -j DROP", /--weekdays: "Mun" is no day/],
      ["-m tos --tos Minimize-Delay -j DROP", /--tos is translated with a number alone/],
      ["-m tos --tos fast -j DROP", /--tos is "fast"; expected a number/],
      ["-m tos --tos 0x12/0xfc -j DROP", /expected a byte, and none of its bits outside of its mask/],
      ["-m tos ! --tos 0x10 -j DROP", /! --tos of the whole byte is not translated/],
      ["-m tcp --tcp-option 5 -j DROP", /-m tcp is of one protocol: expected -p tcp/],
      ["-m sctp --chunk-types all DATA -j DROP", /-m sctp is of one protocol: expected -p sctp/],
      ["-p sctp --chunk-types none DATA -j DROP", /--chunk-types is translated with all of some types/],
      ["-p udp --syn -j DROP", /--syn is of one protocol: expected -p tcp/],
      ["-p tcp -m icmp --icmp-type 8 -j DROP", /-m icmp is of one protocol: expected -p icmp/],
      ["-m ecn --ecn-tcp-ece -j DROP", /--ecn-tcp-ece is of one protocol: expected -p tcp/],
      ["-p tcp -m tcpmss ! --mss 500 -j DROP", /! --mss is not translated/],
      ["-m conntrack --ctorigsrc 10/8 -j DROP", /--ctorigsrc is "10\/8"; expected an address of four bytes/],
      ["-s 1.2.3.4.5 -j DROP", /-s is "1\.2\.3\.4\.5"; expected an address of up to four bytes/],
      ["-m conntrack --ctexpire 5000000 -j DROP", /--ctexpire is "5000000"; expected seconds, less than 4294967/],
      ["-p tcp --dport 08 -j DROP", /--dport is "08"; expected a number/],
      ["-m mark --mark 08 -j DROP", /--mark is "08"; expected a number/],
      ["-m addrtype --src-type LOCAL -m addrtype -j DROP", /-m addrtype says nothing/],
      ["-j REJECT --reject-with icmp-no", /--reject-with is "icmp-no"; expected icmp-net-unreachable/],
      ["-m statistic --mode random --probability often -j DROP", /--probability is "often"; expected 0 to 1/],
      ["-m statistic --mode nth --every 3 --packet 3 -j DROP", /--every 3 --packet 3; expected a packet of 0 to one less/],
      ["-p tcp -m connlimit --connlimit-above 3 --connlimit-mask 33 -j DROP", /--connlimit-mask is 33; expected at most 32/],
      ["-m devgroup --src-group lan -j DROP", /--src-group is "lan"; expected a number/],
      ["-m mark --mark 0x1/many -j DROP", /--mark is "many"; expected a number/],
      ["-j MARK --set-mark most", /MARK is "most"; expected a number/],
      ['-m comment --comment "a \\" accept #" -j DROP', /--comment: nft has no way to write "\\"" here/],
      ['-j LOG --log-prefix "$x: "', /--log-prefix: nft has no way to write "\$" here/],
      ['-p tcp --dport "$x" -j DROP', /--dport: nft has no way to write "\$" here/],
      ['-s "10.0.0.1 accept; #" -j DROP', /-s: nft has no way to write " " here/],
    ] as const)
      assert.throws(() => translateIptables(`iptables -A ${command.startsWith("-t raw") ? "PREROUTING" : "INPUT"} ${command}`), why);
    // What would match everything, or what an exclamation mark does nothing to, is not what was asked for.
    for (const [command, why] of [
      ["-m nonexistent -j ACCEPT", /1:19-20: Error: the match "nonexistent" is not translated/],
      ["-m string -j ACCEPT", /the match "string" is not translated/],
      ["-m recent -j DROP", /the match "recent" is not translated/],
      ["-m conntrack -j ACCEPT", /-m conntrack says nothing without one of its options/],
      ["-p tcp -m multiport -j ACCEPT", /-m multiport says nothing/],
      ["-m limit ! --limit 5/s -j DROP", /Error: "!" before --limit is not translated/],
      ["-m ttl ! --ttl-lt 5 -j DROP", /"!" before --ttl-lt is not translated/],
      ["! -j DROP", /"!" before -j is not translated/],
      ["-j DROP !", /"!" before nothing is not translated/],
      ["! -s 10.0.0.0/8,192.168.0.0/16 -j ACCEPT", /! is not allowed with several addresses behind -s/],
      ["! -i lo -m recent --set -j DROP", /the match "recent" is not translated/],
    ] as const)
      assert.throws(() => translateIptables(`iptables -A INPUT ${command}`), why);
    // A device that no packet has there: iptables-nft 1.8.9 says "Can't use -o with INPUT".
    for (const [chain, option] of [
      ["INPUT", "-o"],
      ["-t nat PREROUTING", "--out-interface"],
      ["OUTPUT", "-i"],
      ["-t nat POSTROUTING", "--in-interface"],
    ]) {
      const [name] = chain.split(" ").reverse();
      const command = `iptables ${chain.replace(name, "")} -A ${name} ${option} eth0 -j ACCEPT`;
      assert.throws(
        () => translateIptables(command),
        new RegExp(`chain ${name} has no packets with a device for ${option.replace(/^-(-.).*/, "$1")}`),
      );
    }
    translateIptables("iptables -N INSIDE\niptables -A INSIDE -i eth0 -o eth1 -j ACCEPT");
    assert.match(translateIptables("iptables -A INPUT -m limit -j ACCEPT"), /limit rate 3\/hour burst 5 packets counter accept/);
    assert.match(translateIptables("iptables -A INPUT -m rpfilter -j ACCEPT"), /fib saddr \. iif oif exists counter accept/);
    assert.throws(() => translateIptables("iptables -I INPUT last -j DROP"), /-I is "last"; expected a number/);
    assert.throws(() => translateIptables("iptables -A INPUT --dport 5 -j DROP"), /--dport needs a protocol before it/);
  });
  it("the ways in which options are written", () => {
    const rules = (command: string) =>
      translateIptables(`iptables ${command}`)
        .split("\n")
        .flatMap((line) => /^add rule ip \S+ \S+ (.*)$/.exec(line)?.[1] ?? []);
    for (const [command, ...expected] of [
      ["-tnat -A PREROUTING -p tcp --dport=80 -j DNAT --to 10.0.0.1:80", "tcp dport 80 counter dnat to 10.0.0.1:80"],
      ["-t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to 3128", "tcp dport 80 counter redirect to :3128"],
      ["-t nat -A POSTROUTING -o eth0 -j SNAT --to 1.2.3.4", 'oifname "eth0" counter snat to 1.2.3.4'],
      ["-A INPUT -p tcp -m multiport --dport 80,443 -j ACCEPT", "ip protocol tcp tcp dport { 80, 443 } counter accept"],
      ["-w 5 -W 100000 -v -A INPUT -mstate --state=NEW -j LOG --log-prefix=x", 'ct state new counter log prefix "x"'],
      ["-A INPUT -p tcp --dport http:https -j ACCEPT", "tcp dport 80-443 counter accept"],
      ["-A INPUT -p tcp --dport ftp-data:ftp -j ACCEPT", "tcp dport 20-21 counter accept"],
      ["-t mangle -A PREROUTING -j CONNMARK --save-mark --nfmask 0xffff --ctmask 0xffffffff", "counter ct mark set mark and 0xffff"],
      ["-t mangle -A POSTROUTING -p udp --dport 68 -j CHECKSUM --checksum-fill", "udp dport 68 counter"],
      ["-A INPUT -m conntrack ! --ctstate RELATED,DNAT -j DROP", "ct state ! related ct status ! dnat counter drop"],
      [
        "-A INPUT -m conntrack --ctstate RELATED,DNAT -j ACCEPT",
        "ct state related counter accept",
        "ct state ! related ct status dnat counter accept",
      ],
    ])
      assert.deepEqual(rules(command), expected, command);
  });
  it("matches and targets that iptables-translate leaves out become rules, too", () => {
    for (const [command, rule] of [
      ["iptables -A INPUT -m rpfilter --invert -j DROP", "fib saddr . iif oif missing counter packets 0 bytes 0 drop"],
      ["iptables -A INPUT -m rpfilter --loose --validmark -j ACCEPT", "fib saddr . mark oif exists counter packets 0 bytes 0 accept"],
      ["iptables -A INPUT -m tos --tos 0x10 -j ACCEPT", "ip dscp 0x04 ip ecn not-ect counter packets 0 bytes 0 accept"],
      ["iptables -A INPUT -m socket --transparent -j ACCEPT", "socket transparent 1 counter packets 0 bytes 0 accept"],
      ["iptables -t mangle -A PREROUTING -j TTL --ttl-set 10", "counter packets 0 bytes 0 ip ttl set 10"],
      ["ip6tables -t mangle -A PREROUTING -j HL --hl-set 10", "counter packets 0 bytes 0 ip6 hoplimit set 10"],
      ["iptables -t mangle -A PREROUTING -j TOS --set-tos 0x10", "counter packets 0 bytes 0 ip dscp set 0x04 ip ecn set not-ect"],
      ["iptables -t raw -A PREROUTING -j CT --zone 5", "counter packets 0 bytes 0 ct zone set 5"],
      ["iptables -t raw -A PREROUTING -j CT --zone-orig 5", "counter packets 0 bytes 0 ct original zone set 5"],
      [
        "iptables -t mangle -A FORWARD -p tcp -j TCPOPTSTRIP --strip-options timestamp,mss",
        "reset tcp option timestamp reset tcp option maxseg",
      ],
    ]) {
      const ruleset = prepared("");
      ruleset.apply(translateIptables(command));
      assert.ok(ruleset.list().includes(rule), `${command}\n${ruleset.list()}`);
    }
  });
  it("NETMAP maps the network that matched", () => {
    const text = translateIptables("iptables -t nat -A PREROUTING -d 10.1.0.0/16 -j NETMAP --to 10.2.0.0/16");
    const ruleset = prepared("");
    ruleset.apply(text);
    assert.match(ruleset.list(), /dnat ip prefix to ip daddr map \{ 10\.1\.0\.0\/16 : 10\.2\.0\.0\/16 \}/);
  });
});
