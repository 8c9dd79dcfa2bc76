/** Lines of logged packets, against what the kernel's nf_log writes for the same packets. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatLog, logLine } from "../src/router/log.ts";

const bytes = (hex: string) => Uint8Array.from(hex.replace(/\s/g, "").match(/../g) ?? [], (each) => Number.parseInt(each, 16));
const ETHERNET = "020000000001 020000000002 0800";
/** 10.0.0.2:40000 > 192.0.2.1:443, SYN. */
const SYN =
  "4500003c 1c46 4000 40 06 0000 0a000002 c0000201 9c4001bb 00000001 00000000 a002faf0 00000000 020405b4 0402080a 00000000 00000000 01030307";
const packet = (frame: string, hasEthernet = true) => ({ prefix: "refused: ", in: "lan", out: "wan", frame: bytes(frame), hasEthernet });

describe("lines of logged packets", () => {
  it("TCP", () => {
    assert.equal(
      logLine(packet(ETHERNET + SYN)),
      "refused: IN=lan OUT=wan MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=10.0.0.2 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=7238 DF PROTO=TCP SPT=40000 DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0",
    );
  });

  it("UDP over IPv6, without an Ethernet header", () => {
    const ip6 =
      "60000000 0010 11 40 fd000000000000000000000000000002 20010db8000000000000000000000001 9c40 0035 0010 0000 0102030405060708";
    assert.equal(
      logLine({ ...packet(ip6, false), in: "", mark: 7 }),
      "refused: IN= OUT=wan SRC=fd00:0000:0000:0000:0000:0000:0000:0002 DST=2001:0db8:0000:0000:0000:0000:0000:0001 LEN=56 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=UDP SPT=40000 DPT=53 LEN=16  MARK=0x7",
    );
  });

  it("ICMP, fragments, and what is cut off", () => {
    const echo = `${ETHERNET}45000054 0001 0000 40 01 0000 0a000002 c0000201 0800 0000 002a 0003`;
    assert.match(logLine(packet(echo)), /PROTO=ICMP TYPE=8 CODE=0 ID=42 SEQ=3$/);
    const fragment = `${ETHERNET}45000054 0001 2005 40 11 0000 0a000002 c0000201 0102030405060708`;
    assert.match(logLine(packet(fragment)), /ID=1 MF FRAG:5 PROTO=UDP$/);
    for (let length = 0; length < 74; length++) {
      const line = logLine({ ...packet(""), frame: bytes(ETHERNET + SYN).subarray(0, length) });
      assert.match(line, /^refused: IN=lan OUT=wan/);
    }
    assert.match(logLine({ ...packet(""), frame: bytes(ETHERNET + SYN).subarray(0, 40) }), /INCOMPLETE \[6 bytes\]$/);
  });

  it("as syslog and as JSON", () => {
    const [syslog, json] = (["syslog", "json"] as const).map((format) => formatLog(packet(ETHERNET + SYN), format, "gate", 0));
    assert.match(syslog, /^<4>1 1970-01-01T00:00:00\.000Z gate kernel - - - refused: IN=lan OUT=wan MAC=/);
    assert.equal(JSON.parse(json).in, "lan");
  });
});
