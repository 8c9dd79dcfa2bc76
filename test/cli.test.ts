/** The command line as a person meets it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { CaptureWriter, readCapture } from "../src/index.ts";
import { plainFrame } from "./frames.ts";
import { mac } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "loom-cli-"));
after(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);
const run = (...args: string[]) => spawnSync(process.execPath, ["dist/src/cli/main.js", ...args], { encoding: "utf8" });

const capture = new CaptureWriter();
for (let i = 0; i < 5; i++) capture.write(plainFrame(mac(50), 0x0a000000 + i), BigInt(i) * 1_000_000n);
capture.write(plainFrame(mac(50), 0x0b000001), 9n);
writeFileSync(path("in.pcap"), capture.bytes());
writeFileSync(path("rib.txt"), "10.0.0.0/8 1\n10.0.0.4/32 2\n");
writeFileSync(path("bad.txt"), "10.0.0.0/8 1\n10.0.0.0/99 1\n");

describe("packetloom forward", () => {
  it("forwards a capture through a table", () => {
    const { status, stdout, stderr } = run("forward", "--pcap", path("in.pcap"), "--routes", path("rib.txt"), "--out", path("out.pcap"));
    assert.equal(stderr, "");
    assert.equal(status, 0);
    assert.match(
      stdout,
      /6 packets through 2 IPv4 and 0 IPv6 routes\nforwarded to .*: 5\nfor the host \(not forwarded\):\n {2}unreachable {18}1/,
    );
    const { packets } = readCapture(new Uint8Array(readFileSync(path("out.pcap"))), "out");
    assert.deepEqual(
      packets.map(({ bytes }) => bytes[5]),
      [1, 1, 1, 1, 2],
      "the MAC names the next hop",
    );
    assert.deepEqual(
      packets.map(({ timestamp }) => timestamp),
      [0n, 1_000_000n, 2_000_000n, 3_000_000n, 4_000_000n],
    );
    assert.ok(packets.every(({ bytes }) => bytes[22] === 63));
  });

  it("spreads the flows of a multipath route by their shares", () => {
    const many = new CaptureWriter();
    for (let i = 0; i < 400; i++) many.write(plainFrame(mac(50), 0x0a000000 + i), BigInt(i) * 1_000_000n);
    writeFileSync(path("many.pcap"), many.bytes());
    writeFileSync(
      path("multi.txt"),
      "10.0.0.0/8 proto static\n\tnexthop via 192.0.2.1 dev a weight 1\n\tnexthop via 192.0.2.2 dev b weight 3\n",
    );
    const { status, stderr } = run("forward", "--pcap", path("many.pcap"), "--routes", path("multi.txt"), "--out", path("many-out.pcap"));
    assert.deepEqual([status, stderr], [0, ""]);
    const { packets } = readCapture(new Uint8Array(readFileSync(path("many-out.pcap"))), "out");
    const first = packets.filter(({ bytes }) => bytes[5] === 1).length;
    assert.equal(packets.length, 400);
    assert.ok(first > 50 && first < 150, `${first} of 400 by the next hop that has a quarter`);
  });

  it("writes pcapng and JSON", () => {
    const { status, stdout } = run(
      "forward",
      "--pcap",
      path("in.pcap"),
      "--routes",
      path("rib.txt"),
      "--out",
      path("out.pcapng"),
      "--format",
      "pcapng",
      "--json",
    );
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(stdout).punts, { unreachable: 1 });
    assert.equal(readCapture(new Uint8Array(readFileSync(path("out.pcapng"))), "out").format, "pcapng");
  });

  const good = ["--pcap", path("in.pcap"), "--routes", path("rib.txt"), "--out", path("o.pcap")];
  const change = (at: number, value: string) => good.map((word, i) => (i === at ? value : word));
  for (const [what, args, message] of [
    ["a missing capture", change(1, path("none")), /cannot read capture .*none: there is no such file/],
    ["a folder", change(1, folder), /cannot read capture .*: it is a folder/],
    ["something else than a capture", change(1, path("rib.txt")), /rib.txt is no capture; expected a pcap or pcapng file/],
    ["routes with an error", change(3, path("bad.txt")), /bad.txt, line 2: "10.0.0.0\/99" has no valid length/],
    ["an output that cannot be", change(5, join(folder, "no", "o.pcap")), /cannot write .*o.pcap/],
    ["no options", [], /required option '--pcap <file>' not specified/],
    ["a wrong option", [...good, "--speed"], /unknown option '--speed'/],
    ["a wrong number", [...good, "--mtu", "12"], /expected a whole number from 68 to 65535/],
    ["a wrong format", [...good, "--format", "txt"], /expected pcap or pcapng/],
  ] as const) {
    it(`answers ${what} with one sentence and exit code 2`, () => {
      const { status, stderr, stdout } = run("forward", ...args);
      assert.equal(status, 2);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
      assert.equal(stdout, "");
    });
  }
});

describe("packetloom demo", () => {
  it("forwards the shipped tables, verifies, and prints plain text where there is no terminal", () => {
    const { status, stdout, stderr } = run("demo", "--seconds", "0.1", "--cores", "1", "--report", path("report.html"));
    assert.equal(status, 0, stderr);
    assert.match(stdout, /564,579 IPv4 and 167,903 IPv6 routes/);
    assert.match(stdout, /verified: sampled output equals the oracle's/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
    assert.doesNotMatch(stdout + stderr, /\x1b/);
    const html = readFileSync(path("report.html"), "utf8");
    assert.match(html, /uPlot/);
    assert.doesNotMatch(html, /(src|href)="http/, "the page is self-contained");
  });

  it("takes another table and prints one JSON object", () => {
    const { status, stdout, stderr } = run("demo", "--routes", path("rib.txt"), "--seconds", "0.1", "--cores", "2", "--json");
    assert.equal(status, 0, stderr);
    const result = JSON.parse(stdout);
    assert.equal(result.routes4, 2);
    assert.equal(result.verified, true);
    assert.ok(result.rows.every((row: { mpps: number; copiedBytesPerPacket: number }) => row.mpps > 0 && row.copiedBytesPerPacket === 0));
  });

  it("shows help with exit code 0", () => {
    assert.equal(run("--help").status, 0);
    assert.equal(run("demo", "--help").status, 0);
    assert.match(run().stdout, /^Usage: packetloom/);
    assert.equal(run().status, 0);
  });

  it("knows what a misspelt command was to be", () => {
    for (const [args, meant] of [
      [["dmo"], "demo"],
      [["forwrd", "--pcap", "in.pcap"], "forward"],
    ] as const) {
      const { status, stdout, stderr } = run(...args);
      assert.equal(status, 2);
      assert.equal(stderr, `error: unknown command '${args[0]}'\n(Did you mean ${meant}?)\n`);
      assert.equal(stdout, "");
    }
    const { status, stderr } = run("nonsense");
    assert.equal(status, 2);
    assert.equal(stderr, "error: unknown command 'nonsense'\n");
  });
});
