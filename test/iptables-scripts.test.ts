/** Scripts of iptables, against the iptables of this machine: what nft lists behind them; and the same commands to a router that runs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { existingRules, Ruleset, translateIptables } from "../src/filter/index.ts";
import { Random } from "../src/index.ts";
import { Lab } from "../src/lab/index.ts";
import { Router, runCommand } from "../src/router/index.ts";
import { missingNft, NftNamespace } from "./nft/kernel.ts";
import { SEED } from "./support.ts";

const SCRIPTS: Readonly<Record<string, string>> = {
  "a first script": `
iptables -P INPUT DROP
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -N LOGDROP
iptables -A LOGDROP -j DROP
iptables -A INPUT -s 10.0.0.0/8 -j LOGDROP
iptables -I INPUT 2 -p udp --dport 53 -j ACCEPT
iptables -D INPUT -i lo -j ACCEPT
iptables -A FORWARD -j ACCEPT
iptables -D FORWARD 1
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080
iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
iptables -E LOGDROP REFUSE`,
  "renamed, emptied, made again": `
iptables -N one
iptables -A one -s 1.1.1.1 -j DROP
iptables -A one -s 2.2.2.2 -j DROP
iptables -E one two
iptables -D two -s 2.2.2.2 -j DROP
iptables -I two 2 -s 3.3.3.3 -j DROP
iptables -D two 1
iptables -N gone
iptables -X gone
iptables -N gone
iptables -A gone -j RETURN
iptables -N empty
iptables -A INPUT -j two
iptables -F gone
iptables -X empty`,
  "open ports, any interface, denied sources": `
iptables -A INPUT -p tcp --dport 1024: -j ACCEPT
iptables -A INPUT -p udp --sport :1023 -j ACCEPT
iptables -A INPUT -i + -p tcp --dport 80 -j ACCEPT
iptables -A INPUT ! -s 1.1.1.1 -j DROP
iptables -C INPUT ! -s 1.1.1.1 -j DROP
iptables -A INPUT ! -s 2.2.2.2 -j DROP
iptables -D INPUT ! -s 1.1.1.1 -j DROP
iptables -N a+b
iptables -N 2nd
iptables -A 2nd -j a+b
iptables -A INPUT -j 2nd`,
  "begun anew": `
iptables -N old
iptables -A INPUT -j old
iptables -A FORWARD -j DROP
iptables -F
iptables -X
iptables -P FORWARD DROP
iptables -N new
iptables -A FORWARD -j new
iptables -I FORWARD 2 -d 10.0.0.0/8 -j ACCEPT
iptables -I FORWARD -s 192.168.0.0/16 -j RETURN
iptables -C FORWARD -s 192.168.0.0/16 -j RETURN
iptables -F FORWARD
iptables -A FORWARD -j DROP
iptables -A FORWARD -j DROP
iptables -A FORWARD -j ACCEPT
iptables -D FORWARD -j DROP`,
};
const REFUSED = [
  "iptables -D INPUT -j DROP",
  "iptables -A INPUT -m tcp -j DROP",
  "iptables -A INPUT -p udp -m tcp --dport 80 -j DROP",
  "iptables -A INPUT -m esp -j DROP",
  "iptables -A INPUT -p icmp -m icmp -j DROP",
  "iptables -A INPUT -m connbytes --connbytes 0:1000 --connbytes-dir original -j DROP",
  "iptables -A INPUT -j NFQUEUE --queue-balance 4:4",
  "iptables -t nat -A PREROUTING -j DNAT --to-destination 192.0.2.1 --to-destination 192.0.2.2",
  "iptables -t mangle -A FORWARD -p tcp -j TCPMSS",
  "iptables -t mangle -A PREROUTING -p tcp -j TCPOPTSTRIP --strip-options 1",
  "iptables -A INPUT -j AUDIT --type wrong",
  "iptables -D INPUT 1",
  "iptables -C INPUT -j DROP",
  "iptables -t nat -A FORWARD -j ACCEPT",
  "iptables -t nothing -A INPUT -j ACCEPT",
  "iptables -P INPUT REJECT",
  "iptables -N INPUT",
  "iptables -N twice\niptables -N twice",
  "iptables -X INPUT",
  "iptables -A nowhere -j ACCEPT",
  "iptables -A INPUT -j nowhere",
  "iptables -E nowhere somewhere",
  "iptables -I INPUT 3 -j ACCEPT",
  "iptables -F INPUT -s 1.1.1.1",
  "iptables -A INPUT -j DROP\niptables -D INPUT 1 -j DROP",
  "iptables -F INPUT OUTPUT",
  "iptables -N x -A INPUT -j DROP",
  "iptables -A INPUT -A FORWARD -j DROP",
  "iptables -A INPUT -s 1.1.1.1 -s 2.2.2.2 -j DROP",
  "iptables -A INPUT -j ACCEPT -j DROP",
  "iptables -N full\niptables -A full -j DROP\niptables -X full",
  "iptables -N full\niptables -A full -j DROP\niptables -X",
];

/** Tables and chains in another order are the same, a table of iptables warns whoever reads it, and a chain that accepts everything says nothing. */
function tidy(list: string): readonly string[] {
  const tables = list
    .replace(/^# Warning.*\n/gm, "")
    .replace("<= 1023", "0-1023")
    .split(/^(?=table )/m);
  return tables
    .filter(Boolean)
    .map((table) => {
      const [head, ...rest] = table.trimEnd().replace(/\n}$/, "").split("\n\tchain ");
      return [
        head,
        ...rest
          .map((chain) => chain.trimEnd())
          .filter((chain) => !/policy accept;\n\t\}$/.test(chain))
          .sort(),
      ].join("\n\tchain ");
    })
    .sort();
}
/** Chains that a chain may lead to, without end to none. */
const LEADS: Readonly<Record<string, readonly string[]>> = { INPUT: ["a", "b", "c"], FORWARD: ["a", "b"], c: ["a", "b"], a: ["b"], b: [] };
function anyCommand(random: Random): string {
  const one = <T>(all: readonly T[]): T => all[random.below(all.length)];
  const chain = one(Object.keys(LEADS));
  const rule = `-s 10.0.0.${1 + random.below(4)} -j ${one(["ACCEPT", "DROP", "RETURN", ...LEADS[chain]])}`;
  const own = one(["a", "b", "c"]);
  return one([
    ...Array<string>(4).fill(`-A ${chain} ${rule}`),
    ...Array<string>(2).fill(`-I ${chain} ${1 + random.below(3)} ${rule}`),
    `-D ${chain} ${1 + random.below(4)}`,
    `-D ${chain} ${rule}`,
    `-N ${own}`,
    `-N ${own}`,
    random.below(3) > 0 ? `-F ${chain}` : `-X ${own}`,
    `-C ${chain} ${rule}`,
    `-P ${one(["INPUT", "FORWARD"])} ${one(["ACCEPT", "DROP"])}`,
  ]);
}
/** Command after command, as a shell would. */
function oneByOne(script: string): string {
  const ruleset = new Ruleset();
  for (const line of script.trim().split("\n")) ruleset.apply(translateIptables(line, { existing: existingRules(ruleset) }));
  return ruleset.list();
}

const missing =
  missingNft() ??
  (spawnSync("iptables", ["--version"], { encoding: "utf8" }).stdout?.includes("nf_tables") ? undefined : "needs iptables on nf_tables");
describe("scripts of iptables, as iptables itself does them", { skip: missing }, () => {
  for (const [name, script] of Object.entries(SCRIPTS))
    it(name, () => {
      const namespace = new NftNamespace();
      try {
        const { status, stderr } = namespace.command("sh", "-e", "-c", script);
        assert.equal(status, 0, stderr);
        assert.deepEqual(tidy(oneByOne(script)), tidy(namespace.nft("list", "ruleset").stdout));
      } finally {
        namespace.remove();
      }
    });
  const seed = Number(process.env.IPTABLES_SEED ?? SEED);
  it(`random commands, IPTABLES_SEED=${seed}`, () => {
    const random = new Random(seed);
    const namespace = new NftNamespace();
    try {
      for (let round = 0; round < 8; round++) {
        namespace.nft("flush", "ruleset");
        const ruleset = new Ruleset();
        const taken: string[] = [];
        for (let i = 0; i < 25; i++) {
          const command = `iptables ${anyCommand(random)}`;
          const isTaken = namespace.command(...command.split(" ")).status === 0;
          if (isTaken) taken.push(command);
          const apply = () => ruleset.apply(translateIptables(command, { existing: existingRules(ruleset) }));
          if (isTaken) apply();
          else assert.throws(apply, { code: "EINVAL" }, `IPTABLES_SEED=${seed}: ${[...taken, command].join("\n")}`);
        }
        const said = `IPTABLES_SEED=${seed}:\n${taken.join("\n")}`;
        assert.deepEqual(tidy(ruleset.list()), tidy(namespace.nft("list", "ruleset").stdout), said);
        // The same as one text, which knows no more than what it says itself.
        const whole = new Ruleset();
        whole.apply(translateIptables(taken.join("\n")));
        assert.deepEqual(tidy(whole.list()), tidy(ruleset.list()), said);
      }
    } finally {
      namespace.remove();
    }
  });
  it("what iptables refuses is refused", () => {
    const namespace = new NftNamespace();
    for (const command of REFUSED) {
      assert.notEqual(namespace.command("sh", "-e", "-c", command).status, 0, command);
      assert.throws(() => oneByOne(command), { code: "EINVAL" }, command);
    }
    namespace.remove();
  });
});

describe("texts of iptables", () => {
  it("a script as one text is what it is line by line", () => {
    const script = SCRIPTS["a first script"].replace("iptables -D FORWARD 1", "iptables -D FORWARD -j ACCEPT");
    const ruleset = new Ruleset();
    ruleset.apply(translateIptables(script));
    assert.deepEqual(tidy(ruleset.list()), tidy(oneByOne(SCRIPTS["a first script"])));
    const again = new Ruleset();
    again.apply(translateIptables(SCRIPTS["renamed, emptied, made again"]));
    assert.deepEqual(tidy(again.list()), tidy(oneByOne(SCRIPTS["renamed, emptied, made again"])));
    const twice = new Ruleset();
    twice.apply(translateIptables("*filter\n-A INPUT -j DROP\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\nCOMMIT\n", { restore: true }));
    assert.doesNotMatch(twice.list(), /drop/);
  });
  it("numbers of rules are those at that point of the text", () => {
    const text = [
      "-A INPUT -s 1.1.1.1",
      "-A INPUT -s 2.2.2.2",
      "-I INPUT 2 -s 3.3.3.3",
      "-D INPUT 1",
      "-I INPUT 2 -s 4.4.4.4",
      "-D INPUT 3",
      "-A INPUT -s 5.5.5.5",
    ];
    const ruleset = new Ruleset();
    ruleset.apply(
      translateIptables(
        text
          .map((line) => `iptables ${line} -j DROP`)
          .join("\n")
          .replace(/(-D INPUT \d) -j DROP/g, "$1"),
      ),
    );
    const sources = [...ruleset.list().matchAll(/ip saddr (\S+)/g)].map(([, source]) => source);
    assert.deepEqual(sources, ["3.3.3.3", "4.4.4.4", "5.5.5.5"]);
  });
  it("nothing but what is asked for comes of what words say", () => {
    for (const text of [
      'iptables -A INPUT -j "foo; flush ruleset"',
      '*filter\n:INPUT "accept; }; flush ruleset; add chain ip y z { type filter hook input priority 0"\nCOMMIT',
      '*filter\n": x; flush ruleset" -\nCOMMIT',
      'iptables -A INPUT -m comment --comment "open -j DROP',
      "iptables -N 'a b'",
    ])
      assert.throws(() => translateIptables(text), { code: "EINVAL" }, text);
  });
  it("a text that replaces others and is cut off is refused", () => {
    assert.throws(() => translateIptables("*filter\n-A INPUT -j DROP\n", { restore: true }), /1:1-7: Error: the section has no COMMIT/);
    assert.throws(
      () => translateIptables("*filter\n-t nat -A OUTPUT -j DROP\nCOMMIT\n", { restore: true }),
      /the table is that of the section/,
    );
  });
  it("chains called by words of nft are quoted", () => {
    const ruleset = new Ruleset();
    ruleset.apply(translateIptables("iptables -N log\niptables -A log -j DROP\niptables -A INPUT -j log"));
    assert.match(ruleset.list(), /chain log \{\n\t\tcounter packets 0 bytes 0 drop/);
    assert.match(ruleset.list(), /jump log/);
  });
});

const SAVED = `*filter
:INPUT DROP [0:0]
:LOGGING - [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -j LOGGING
-A LOGGING -m limit --limit 2/min -j LOG --log-prefix "dropped: "
COMMIT
`;
async function routerOf(config: Partial<Router["config"]>) {
  const lab = await Lab.create({ seed: 5, memory: { flows: 256, filterBytes: 8 << 20 } });
  const router = await Router.create(
    { interfaces: [{ name: "lan", addresses: ["10.0.0.1/24"] }], ...config },
    { engine: lab.engine, ports: { lan: lab.engine.port(7) } },
  );
  const ask = (tool: string, words: string, input?: string) => runCommand(router, { tool, words: words.split(" ").filter(Boolean), input });
  const list = async () => (await ask("nft", "list ruleset")).stdout ?? "";
  return { router, ask, list };
}
describe("a router that takes iptables", () => {
  it("from its configuration, both families beside rules of nft", async () => {
    const { list } = await routerOf({
      ruleset: "table inet own {\n}\n",
      iptables: SAVED,
      ip6tables: SAVED.replace("2/min", "3/min"),
    });
    const text = await list();
    for (const part of [/table inet own/, /table ip filter/, /table ip6 filter/, /policy drop/, /limit rate 3\/minute/])
      assert.match(text, part);
    await assert.rejects(
      routerOf({ iptables: "*filter\n-A INPUT -m nonsense -j DROP\n" }),
      /iptables:2:10-11: Error: the match "nonsense" is not translated/,
    );
  });
  it("and as commands, which mean the rules in force", async () => {
    const { ask, list } = await routerOf({ iptables: SAVED });
    const before = await list();
    assert.deepEqual(await ask("iptables", "-A INPUT -p tcp --dport 22 -j ACCEPT"), {});
    assert.deepEqual(await ask("iptables", "-C INPUT -p tcp --dport 22 -j ACCEPT"), {});
    assert.match(await list(), /tcp dport 22 counter packets 0 bytes 0 accept/);
    assert.deepEqual(await ask("iptables", "-D INPUT -p tcp --dport 22 -j ACCEPT"), {});
    assert.equal(await list(), before);
    const { stderr, code } = await ask("iptables", "-C INPUT -p tcp --dport 22 -j ACCEPT");
    assert.match(stderr ?? "", /iptables:1:10-11: Error: there is no such rule in that chain/);
    assert.equal(code, 1);
    assert.match((await ask("iptables", "-L")).stderr ?? "", /-L shows rules, which `nft list ruleset` does here/);
    await ask("iptables", "-P INPUT ACCEPT");
    await ask("iptables", "-A FORWARD -j DROP");
    assert.deepEqual(await ask("iptables-restore", "--test", SAVED), {});
    assert.match(await list(), /chain FORWARD/);
    assert.deepEqual(await ask("iptables-restore", "--noflush", "*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n"), {});
    assert.match(await list(), /chain FORWARD \{\n.*\n\t\tcounter packets 0 bytes 0 drop\n\t\tcounter packets 0 bytes 0 accept/);
    // Chains of one's own begin anew even where others stay; each rule that keeps something has a set of its own.
    const limits = (port: number) => `-A LOGGING -p tcp --dport ${port} -m connlimit --connlimit-above ${port} -j REJECT`;
    for (const _ of [1, 2])
      assert.deepEqual(await ask("iptables-restore", "-n -w 5", `*filter\n:LOGGING - [0:0]\n${limits(22)}\nCOMMIT\n`), {});
    assert.deepEqual(await ask("iptables", limits(80)), {});
    assert.deepEqual((await list()).match(/add @connlimit\d \{ ip saddr ct count over \d+/g), [
      "add @connlimit1 { ip saddr ct count over 22",
      "add @connlimit0 { ip saddr ct count over 80",
    ]);
    assert.equal((await list()).match(/set connlimit/g)?.length, 2, "what a rule kept went with it");
    assert.deepEqual(await ask("iptables", limits(80).replace("-A", "-D")), {});
    assert.equal((await ask("iptables", limits(80).replace("-A", "-C"))).code, 1);
    assert.equal((await list()).match(/set connlimit/g)?.length, 1);
    assert.deepEqual(await ask("iptables-restore", "", SAVED), {});
    assert.equal(await list(), before);
    assert.deepEqual(await ask("ip6tables", "-A INPUT -p icmpv6 -j ACCEPT"), {});
    assert.match(await list(), /table ip6 filter \{\n\tchain INPUT/);
  });
});
