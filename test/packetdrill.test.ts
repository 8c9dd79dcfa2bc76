/** The interpreter of packetdrill scripts, held to what it must refuse; then all our own scripts. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { ScriptOption } from "./packetdrill/script.ts";
import { judge, judgeText, type Verdict } from "./packetdrill/verdict.ts";

const ROOT = fileURLToPath(new URL("../../test/packetdrill/scripts", import.meta.url));
const V4: ScriptOption[] = [{ name: "ip_version", value: "ipv4" }];

/** A server with a connection, descriptor 4, MSS 1000, no options but that. */
const SERVER = `
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 65535 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 65535
   +0 accept(3, ..., ...) = 4
`;

const run = (text: string, strict = false): Promise<Verdict> => judgeText(text, "test.pkt", { options: V4, strict });

async function passes(text: string, strict = false): Promise<void> {
  const verdict = await run(text, strict);
  assert.equal(verdict.status, "pass", verdict.message);
}

async function fails(text: string, message: RegExp, strict = false): Promise<void> {
  const verdict = await run(text, strict);
  assert.equal(verdict.status, "fail", `${verdict.status} ${verdict.message ?? ""}`);
  assert.match(verdict.message ?? "", message);
}

describe("packetdrill scripts that must fail", () => {
  const DATA = `${SERVER}  +.1 < P. 1:1001(1000) ack 1 win 65535\n`;
  const cases: [string, string, RegExp][] = [
    ["a wrong acknowledgement", `${DATA}   +0 > . 1:1(0) ack 1002\n`, /differs: {2}ack: expected 1002, got 1001/],
    ["a wrong sequence number", `${DATA}   +0 > . 2:2(0) ack 1001\n`, /differs: {2}seq: expected 2, got 1/],
    ["a wrong window", `${DATA}   +0 > . 1:1(0) ack 1001 win 17\n`, /differs: {2}win: expected 17, got \d+/],
    ["other flags", `${DATA}   +0 > F. 1:1(0) ack 1001\n`, /differs: {2}flags: expected F\., got \./],
    [
      "an option too many",
      `${DATA}   +0 > . 1:1(0) ack 1001 <nop,nop,sack 5:6>\n`,
      /options \(.*sack.*\): expected <nop,nop,sack 5:6>, got <>/,
    ],
    ["another ECN mark", `${DATA}   +0 > [ect0] . 1:1(0) ack 1001\n`, /differs: {2}ECN: expected 2, got 0/],
    ["a packet that comes too early", `${DATA} +.5 > . 1:1(0) ack 1001\n`, /time: expected 0\.8\d+ s, got 0\.3\d+ s/],
    [
      "a packet that comes too late",
      `${SERVER}   +0 write(4, ..., 10) = 10\n   +0 > P. 1:11(10) ack 1\n   +0 > P. 1:11(10) ack 1\n`,
      /time: expected .* got .*tolerance 0\.004/,
    ],
    [
      "a packet outside its range",
      `${SERVER}   +0 write(4, ..., 10) = 10\n   +0 > P. 1:11(10) ack 1\n +.01~+.02 > P. 1:11(10) ack 1\n`,
      /time: expected .*~.* got/,
    ],
    ["a packet that never comes", `${SERVER}   +0 > . 1:1(0) ack 1\n`, /no packet was sent/],
    [
      "data that is too short",
      `${SERVER}   +0 write(4, ..., 10) = 10\n   +0 > P. 1:21(20) ack 1\n`,
      /payload: expected 20, got 10|continue/,
    ],
    ["data that is too long", `${SERVER}   +0 write(4, ..., 20) = 20\n   +0 > P. 1:11(10) ack 1\n`, /payload: expected 10, got 20/],
    [
      "a packet before the expected one",
      `${DATA}  +.1 < P. 1001:2001(1000) ack 1 win 65535\n   +0 > . 1:1(0) ack 2001\n`,
      /ack: expected 2001, got 1001/,
    ],
    ["another result", `${DATA}   +0 > . 1:1(0) ack 1001\n   +0 read(4, ..., 2000) = 999\n`, /read\(\) returned 1000; expected 999/],
    [
      "another error",
      `${SERVER}   +0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n   +0 read(4, ..., 10) = -1 EPIPE (Broken pipe)\n`,
      /read\(\) returned -1 EAGAIN; expected -1 EPIPE/,
    ],
    ["a call that would wait", `${SERVER}   +0 read(4, ..., 10) = 0\n`, /read\(\) waits/],
    [
      "a call that returns too late",
      `${SERVER}   +0...0.050 read(4, ..., 10) = 10\n  +.2 < P. 1:11(10) ack 1 win 65535\n   +0 > . 1:1(0) ack 11\n`,
      /time: expected to return at 0\.25.* s, got 0\.40/,
    ],
    ["a call that never returns", `${SERVER}   +0...0.050 read(4, ..., 10) = 10\n`, /read\(\) of line 10 still waits/],
    ["another option value", `${SERVER}   +0 getsockopt(4, SOL_SOCKET, SO_ERROR, [9], [4]) = 0\n`, /the option: expected 9, got 0/],
    [
      "an assertion",
      `${SERVER}   +0 %{ assert tcpi_state == TCP_CLOSE, tcpi_state }%\n`,
      /assertion failed: tcpi_state == TCP_CLOSE.*tcpi_state = 1/,
    ],
    [
      "other readiness",
      `${SERVER}   +0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1\n`,
      /revents of entry 0: expected POLLIN, got POLLOUT/,
    ],
    ["an inbound packet without a window", `${SERVER}   +0 < . 1:1(0) ack 1\n`, /needs a window/],
  ];
  for (const [name, text, message] of cases) it(name, () => fails(text, message));

  it("names file and line, and shows both packets", async () => {
    const verdict = await run(`${DATA}   +0 > . 1:1(0) ack 7\n`);
    assert.equal(verdict.line, 11);
    assert.match(verdict.message ?? "", /expected: 0\.300\d+ > \. 1:1\(0\) ack 7\n {2}seen: {5}0\.300\d+ > \. 1:1\(0\) ack 1001 win/);
  });

  it("a packet at the end that nobody expects, and another echo, when asked to be strict", async () => {
    await passes(DATA);
    await fails(DATA, /a packet that the script does not expect: .* ack 1001/, true);
  });

  it("a syntax error, by line", async () => {
    const verdict = await run("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 < Q 0:0(0) win 1\n");
    assert.equal(verdict.status, "fail");
    assert.equal(verdict.line, 2);
  });

  it("a range that does not add up", () => fails(`${SERVER}   +0 < . 1:11(9) ack 1 win 1\n`, /has 10 bytes, not 9/));
});

describe("packetdrill scripts that are not understood", () => {
  const cases: [string, string, RegExp][] = [
    ["an unknown command", "`reboot -f`\n", /the command "reboot -f" is not known/],
    ["an unknown sysctl", "`sysctl -q net.ipv4.tcp_make_it_fast=1`\n", /tcp_make_it_fast=1 is not known/],
    ["a value that the stack has no setting for", "`sysctl -q net.ipv4.tcp_abort_on_overflow=1`\n", /tcp_abort_on_overflow=1/],
    ["an unknown constant", "+0 getsockopt(4, SOL_SOCKET, SO_NONSENSE, [9], [4]) = 0\n", /SO_NONSENSE is not known/],
    ["an unknown call", "+0 reboot(1) = 0\n", /reboot\(\) is not known/],
    ["a field that nobody counts", "+0 %{ assert tcpi_nonsense == 0 }%\n", /tcpi_nonsense, which has no value/],
    ["code that is not understood", "+0 %{ for x in y: print(x) }%\n", /not understood/],
  ];
  for (const [name, text, message] of cases) {
    it(name, async () => {
      const verdict = await run(`${SERVER}${text}`);
      assert.equal(verdict.status, "unsupported", verdict.message);
      assert.match(verdict.message ?? "", message);
    });
  }
});

describe("the language of packetdrill", () => {
  it("comments, defines, wildcards, ranges and absolute times", () =>
    passes(`--define=PORTION=1000
// a comment
/* and one
   over lines */
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
0.000 bind(3, ..., ...) = 0
0.0 listen(3, 1) = 0
0.1 < S 0:0(0) win 65535 <mss 1000> // behind
0.1~0.2 > S. 0:0(0) ack 1 <...>
0.2 < . 1:1(0) ack 1 win 65535
0.2 accept(3, ..., ...) = 4
0.3 write(4, ..., PORTION) = PORTION
* > P. 1:1001(1000) ack 1
`));

  it("segments of a wire as the one that was handed down", () =>
    passes(`${SERVER}   +0 write(4, ..., 3500) = 3500\n   +0 > P. 1:3501(3500) ack 1\n`));

  it("which --strict_segments forbids", () =>
    fails(
      `--strict_segments\n${SERVER}   +0 write(4, ..., 3500) = 3500\n   +0 > P. 1:3501(3500) ack 1\n`,
      /payload: expected 3500, got 1000/,
    ));

  it("inbound segments that no wire would carry whole", () =>
    passes(`${SERVER}  +.1 < P. 1:20001(20000) ack 1 win 65535\n   +0 > . 1:1(0) ack 20001\n   +0 read(4, ..., 30000) = 20000\n`));

  it("UDP, and errors about it", () =>
    passes(`
    0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
   +0 bind(3, ..., ...) = 0
   +0 connect(3, ..., ...) = 0
   +0 write(3, ..., 1000) = 1000
   +0 > udp (1000)
  +.1 < udp (500)
   +0 read(3, ..., 2000) = 500
   +0 send(3, ..., 10, 0) = 10
   +0 > udp (10)
  +.1 < icmp unreachable port_unreachable [udp (10)]
   +0 read(3, ..., 2000) = -1 ECONNREFUSED (Connection refused)
`));

  it("packets that may differ, when the script says so", () =>
    passes(`--non_fatal=packet\n${SERVER}  +.1 < P. 1:1001(1000) ack 1 win 65535\n   +0 > . 1:1(0) ack 7\n   +0 read(4, ..., 9) = 9\n`));

  it("calls that wait while packets come", () =>
    passes(`${SERVER}   +0...0.200 read(4, ..., 10) = 10\n  +.2 < P. 1:11(10) ack 1 win 65535\n   +0 > . 1:1(0) ack 11\n`));

  it("code with names of its own, formats and chains", () =>
    passes(`${SERVER}   +0 %{
x = 3
x += 2; assert x == 5 and not x != 5, 'x=%d' % x
assert 1 <= x < 6   # a chain
assert (x & 4) | 1 == 5 or x ** 2 == 25 // 1
assert tcpi_state == TCP_ESTABLISHED, tcpi_state
}%\n   +0 %{ assert x == 5 }%\n`));

  it("sysctls by any of their spellings", () =>
    passes(
      SERVER.replace(
        "0 socket",
        "`sysctl -q net.ipv4.tcp_sack=0\n ./set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0`\n0 socket",
      ).replace("win 65535 <mss 1000>", "win 65535 <mss 1000,sackOK,TS val 1 ecr 0>"),
    ));
});

// Each waits a little for its engine: several at a time.
describe("our scripts", { concurrency: 8 }, () => {
  for (const name of readdirSync(ROOT, { recursive: true, encoding: "utf8" })
    .filter((each) => each.endsWith(".pkt"))
    .sort()) {
    it(name.replace(/\.pkt$/, ""), async () => {
      const verdict = await judge(join(ROOT, name), { strict: true });
      assert.equal(verdict.status, "pass", `${name}:${verdict.line} [${verdict.ipVersion}] ${verdict.message}`);
    });
  }
});
