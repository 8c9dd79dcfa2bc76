/** tc's words: what they make, what is printed for them, and where the kernel has the qdisc, the same text as its tc prints. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { Engine } from "../src/index.ts";
import { Tc } from "../src/queue/index.ts";
import { formatRate, formatSize, formatTime, parseRate, parseSize, parseTime } from "../src/queue/units.ts";
import { Shaped } from "./queue-support.ts";

async function tcOf(): Promise<{ tc: Tc; shaped: Shaped }> {
  const shaped = await Shaped.of({ kind: "pfifo" });
  shaped.queue.remove();
  return { tc: new Tc(shaped.engine, { lo: shaped.port }), shaped };
}

/** Runs shell words in a network namespace that ends with them; undefined where that cannot be. */
function inNamespace(script: string): string | undefined {
  try {
    return execFileSync("unshare", ["-n", "sh", "-c", script], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}

/** Handles that the kernel chose are its own. */
const plain = (text: string) =>
  text
    .replace(/\b8[0-9a-f]{3}:/g, "auto:")
    .split("\n")
    .map((line) => line.trimEnd())
    .filter(Boolean);

const KERNEL = [
  ["qdisc add dev lo root pfifo limit 123"],
  ["qdisc add dev lo root handle 7: bfifo limit 64k"],
  ["qdisc add dev lo root tbf rate 1mbit burst 10k latency 50ms"],
  ["qdisc add dev lo root handle 5: tbf rate 8mbit burst 5000 latency 20ms peakrate 16mbit mtu 2000"],
  ["qdisc add dev lo root handle 1: htb"],
  [
    "qdisc add dev lo root handle 1: htb default 20 r2q 20",
    "class add dev lo parent 1: classid 1:1 htb rate 10mbit",
    "class add dev lo parent 1:1 classid 1:10 htb rate 2mbit ceil 10mbit prio 1",
    "class add dev lo parent 1:1 classid 1:20 htb rate 3500kbit ceil 10mbit burst 14000 cburst 5000 quantum 3000",
    "qdisc add dev lo parent 1:10 handle 30: tbf rate 1mbit burst 4k latency 50ms",
    "qdisc add dev lo parent 1:20 handle 40: bfifo limit 64k",
  ],
];
const probe = inNamespace("tc qdisc add dev lo root htb && tc qdisc replace dev lo root tbf rate 1mbit burst 10k latency 50ms && echo yes");

describe("tc", () => {
  for (const commands of KERNEL)
    it(`prints what the kernel's tc prints: ${commands[0]}`, { skip: probe ? false : "no namespace with tc" }, async () => {
      const { tc, shaped } = await tcOf();
      for (const command of commands) tc.run(`tc ${command}`);
      for (const show of [
        "-s qdisc show dev lo",
        "-s class show dev lo",
        "qdisc show dev lo",
        "class show dev lo",
        "qdisc show dev lo root",
        "class show dev lo parent 1:1",
        "class show dev lo root",
      ]) {
        const script = ["ip link set lo mtu 1500", ...commands.map((each) => `tc ${each}`), `tc ${show}`].join(" && ");
        const kernel = plain(inNamespace(script) ?? "");
        const ours = plain(tc.run(`tc ${show}`));
        assert.deepEqual(ours.sort(), kernel.sort(), show);
        if (!show.includes("qdisc")) continue;
        const json = (text: string) => JSON.parse(plain(text).join("")) as unknown;
        assert.deepEqual(json(tc.run(`tc -j ${show}`)), json(inNamespace(script.replace(/tc ([^&]*)$/, "tc -j $1")) ?? ""), show);
      }
      await shaped.close();
    });

  it("builds, changes and takes down a tree", async () => {
    const { tc, shaped } = await tcOf();
    for (const command of [
      "tc qdisc add dev lo root handle 1: htb default 30",
      "tc class add dev lo parent 1: classid 1:1 htb rate 10mbit",
      "tc class add dev lo parent 1:1 classid 1:10 htb rate 1mbit ceil 10mbit",
      "tc class add dev lo parent 1:1 classid 1:30 htb rate 1mbit ceil 10mbit",
      "tc qdisc add dev lo parent 1:10 handle 10: fq_codel limit 1000 target 3ms noecn",
      "tc filter add dev lo parent 1: protocol ip prio 1 u32 match ip dst 10.0.1.7/32 match ip dport 2000 0xffff flowid 1:10",
      "tc filter add dev lo parent 1: prio 2 handle 6/0xff fw flowid 1:10",
      "tc filter add dev lo parent 1: protocol ip flower ip_proto udp src_port 50-60 classid 1:10",
    ])
      tc.run(command);
    shaped.send({ to: 7 });
    shaped.send({ mark: 0x106 });
    shaped.send({ flow: 55 });
    shaped.send({});
    shaped.run(100);
    const text = tc.run("tc -s class show dev lo");
    assert.match(text, /class htb 1:10 parent 1:1 leaf 10: prio 0 rate 1Mbit ceil 10Mbit.*\n Sent 3000 bytes 3 pkt/);
    assert.match(text, /class htb 1:30 .*\n Sent 1000 bytes 1 pkt/);
    assert.match(tc.run("tc -s qdisc show dev lo"), /qdisc fq_codel 10: parent 1:10 limit 1000p .*target 3ms.*\n Sent 3000 bytes 3 pkt/);
    assert.match(tc.run("tc filter show dev lo"), /mark 0x6\/0xff/);
    // One without a priority comes before those that are there; 1 is the lowest.
    assert.deepEqual(tc.run("tc filter show dev lo").match(/pref \d+/g), ["pref 1", "pref 1", "pref 2"]);
    assert.throws(() => tc.run("tc filter del dev lo parent 1: prio 77"), /there is no filter with priority 77/);
    tc.run("tc filter add dev lo parent 1: prio 9 matchall flowid 1:30");
    tc.run("tc filter add dev lo parent 1: prio 5 matchall flowid 1:10");
    assert.deepEqual(tc.run("tc filter show dev lo").match(/pref \d+/g), ["pref 1", "pref 1", "pref 2", "pref 5", "pref 9"]);
    tc.run("tc filter del dev lo parent 1: prio 5");
    tc.run("tc filter del dev lo parent 1: prio 9");
    tc.run("tc class change dev lo parent 1:1 classid 1:10 htb rate 2mbit ceil 5mbit");
    assert.match(tc.run("tc -s class show dev lo"), /1:10 .* rate 2Mbit ceil 5Mbit.*\n Sent 3000 bytes 3 pkt/);
    assert.throws(() => tc.run("tc class del dev lo classid 1:1"), /classes below it/);
    tc.run("tc class del dev lo classid 1:10");
    assert.doesNotMatch(tc.run("tc class show dev lo"), /1:10/);
    tc.run("tc qdisc del dev lo root");
    assert.equal(tc.run("tc qdisc show dev lo"), "qdisc noqueue 0: root refcnt 2 \n");
    await shaped.close();
  });

  it("knows every kind's words and prints them", async () => {
    const { tc, shaped } = await tcOf();
    const expected: [string, RegExp][] = [
      ["fq maxrate 10mbit flow_limit 50 horizon 5s", /limit 10000p flow_limit 50p .* maxrate 10Mbit .* horizon 5s horizon_drop/],
      [
        "fq_codel",
        /limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32Mb ecn drop_batch 64 \n.*\n.*\n {2}maxpacket 0 drop_overlimit 0 new_flow_count 0 ecn_mark 0\n {2}new_flows_len 0 old_flows_len 0\n/,
      ],
      [
        "cake bandwidth 20mbit besteffort dual-srchost overhead 18 mpu 64 atm wash",
        /bandwidth 20Mbit besteffort dual-srchost wash .* rtt 100ms atm overhead 18 mpu 64/,
      ],
      [
        "red limit 400000 min 30000 max 90000 avpkt 1000 burst 55 ecn adaptive bandwidth 10mbit probability 0.05",
        /limit 400000b min 30000b max 90000b ecn adaptive \n.*\n.*\n {2}marked 0 early 0 pdrop 0 other 0/,
      ],
      ["prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 3", /bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 3/],
    ];
    for (const [words, text] of expected) {
      tc.run(`tc qdisc replace dev lo root ${words}`);
      assert.match(tc.run("tc -s qdisc show dev lo"), text);
    }
    await shaped.close();
  });

  it("polices by filters at ingress and egress", async () => {
    const { tc, shaped } = await tcOf();
    tc.run("tc qdisc add dev lo clsact");
    tc.run("tc filter add dev lo egress protocol ip flower src_ip 10.0.0.1 action police rate 1mbit burst 2k conform-exceed drop");
    shaped.send({ bytes: 1000 }, 10);
    assert.equal(shaped.departures.length, 2);
    assert.match(
      tc.run("tc -s filter show dev lo egress"),
      /police rate 1Mbit burst 2Kb action drop\n {2}Sent 10000 bytes 10 pkt \(dropped 8, overlimits 8/,
    );
    assert.equal(tc.run("tc filter show dev lo") + tc.run("tc filter show dev lo ingress"), "", "those of other places");
    assert.throws(() => tc.run("tc filter show dev lo foo"), /What is "foo"\? Try "tc filter help"/);
    assert.throws(() => tc.run("tc class change dev lo classid 1:9 htb rate 1mbit"), { code: "ENOENT" });
    tc.run("tc filter del dev lo egress");
    shaped.send({ bytes: 1000 }, 10);
    assert.equal(shaped.departures.length, 12);
    await shaped.close();
  });

  it("says what is wrong, and changes nothing then", async () => {
    const { tc, shaped } = await tcOf();
    tc.run("tc qdisc add dev lo root handle 1: htb");
    const wrong: [string, RegExp][] = [
      ["tc qdisc add dev lo root pfifo", /root qdisc already/],
      ["tc qdisc add dev eth9 root pfifo", /no interface "eth9"; there are lo/],
      ["tc qdisc replace dev lo root fqcodel", /no qdisc "fqcodel"; expected one of/],
      ["tc qdisc replace dev lo root fq_codel taget 5ms", /"taget" is no word of fq_codel/],
      ["tc qdisc replace dev lo root tbf rate 10 meters", /"meters" is no word/],
      ["tc qdisc replace dev lo root tbf rate 1mbit", /burstBytes is missing/],
      ["tc qdisc replace dev lo root tbf rate fast burst 10k", /"fast" is no rate/],
      ["tc class add dev lo parent 1:9 classid 1:10 htb rate 1mbit", /hangs on 9, which is no class/],
      ["tc class add dev lo parent 2: classid 2:10 htb rate 1mbit", /no qdisc 2:/],
      ["tc filter add dev lo parent 1: u32 match ip dst 10.0.0.0/8 flowid 1:5", /class 5, which is no class/],
    ];
    for (const [command, message] of wrong) assert.throws(() => tc.run(command), message);
    assert.match(tc.run("tc qdisc show dev lo"), /^qdisc htb 1: root/);
    await shaped.close();
  });

  it("reads and writes units as tc does", () => {
    assert.deepEqual(["10mbit", "1.5gbit", "100kbps", "800"].map(parseRate), [10e6, 1.5e9, 800e3, 800]);
    assert.deepEqual(["10k", "1mb", "1500"].map(parseSize), [10_240, 1_048_576, 1500]);
    assert.deepEqual(["5ms", "100us", "1s", "250"].map(parseTime), [5, 0.1, 1000, 0.25]);
    assert.deepEqual([1e6, 1500e3, 999, 1e9, 12_345].map(formatRate), ["1Mbit", "1500Kbit", "999bit", "1Gbit", "12345bit"]);
    assert.deepEqual([10_240, 1600, 33_554_432, 5000].map(formatSize), ["10Kb", "1600b", "32Mb", "5000b"]);
    assert.deepEqual([50, 0.5, 1000, 5.25].map(formatTime), ["50ms", "500us", "1s", "5.25ms"]);
  });

  it("keeps what is at an interface while others come and go, and nothing of one that is gone", async () => {
    const engine = await Engine.create({ ports: 2, queueBytes: 1 << 20 });
    const [one, other] = [engine.port(0), engine.port(1)];
    const tc = new Tc(engine, { a: one });
    tc.run("tc filter add dev a ingress protocol ip prio 7 matchall action police rate 1mbit burst 10k");
    tc.run("tc qdisc add dev a root pfifo limit 5");
    tc.use({ a: one, b: other });
    assert.match(tc.run("tc filter show dev a ingress"), /^filter ingress protocol ip pref 7 /);
    assert.deepEqual(
      (JSON.parse(tc.run("tc -j -s qdisc show")) as { dev: string; kind: string; bytes: number }[]).map(({ dev, kind, bytes }) => [
        dev,
        kind,
        bytes,
      ]),
      [
        ["a", "pfifo", 0],
        ["a", "clsact", 0],
        ["b", "noqueue", 0],
      ],
    );
    tc.use({ b: other });
    tc.use({ c: one });
    assert.equal(tc.run("tc filter show dev c ingress"), "");
    assert.equal(tc.run("tc qdisc show dev c"), "qdisc noqueue 0: root refcnt 2 \n");
    await engine.close();
  });
});
