/** Helpers: what FTP and SIP say about connections to come, read, expected, and written anew where addresses change on the way. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import { IpAddress } from "../src/base/ip-address.ts";
import { mapEnds, mapSession, parseSip, sipText, withBody } from "../src/track/helpers/sip-text.ts";
import { flowText } from "../src/track/index.ts";
import { helperRules, lanAndServer, until } from "./nat-rig.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (words: string) => new TextEncoder().encode(words);
const crlf = (lines: readonly string[]) => lines.map((line) => `${line}\r\n`).join("");

const SESSION = (address: string, port: number) =>
  crlf([
    "v=0",
    `o=alice 1 1 IN IP4 ${address}`,
    "s=-",
    `c=IN IP4 ${address}`,
    "t=0 0",
    `m=audio ${port} RTP/AVP 0`,
    `a=rtcp:${port + 1}`,
    "m=video 0 RTP/AVP 31",
  ]);
function invite(address: string, port: number, body: string): string {
  return `${crlf([
    "INVITE sip:bob@192.0.2.2 SIP/2.0",
    `Via: SIP/2.0/UDP ${address}:${port};branch=z9hG4bKnashds8;rport`,
    `From: "Alice" <sip:alice@${address}:${port}>;tag=1`,
    "To: <sip:bob@192.0.2.2>",
    `m: <sip:alice@${address}:${port};transport=udp>`,
    "Call-ID: 1@client",
    "CSeq: 1 INVITE",
    `Subject: reach me at ${address}:${port}`,
    "Content-Type: application/sdp",
    `Content-Length: ${body.length}`,
    "",
  ])}${body}`;
}

describe("the text of SIP", () => {
  const outside = { address: IpAddress.parse("203.0.113.9"), port: 40_000 };
  const map = (address: IpAddress, port = 5060) => (address.equals(IpAddress.parse("10.0.0.2")) && port === 5070 ? outside : undefined);

  it("changes ends where they stand, and nothing else", () => {
    const before = parseSip(invite("10.0.0.2", 5070, ""));
    assert.ok(before);
    const after = sipText(mapEnds(before, map));
    assert.equal(after, invite("203.0.113.9", 40_000, "").replace(/at 203.0.113.9:40000/, "at 10.0.0.2:5070"));
  });

  it("changes what the other side has seen of us back", () => {
    const line = "Via: SIP/2.0/UDP 10.0.0.2:5070;received=192.0.2.1;rport=40000;branch=1\r\n";
    const message = parseSip(`SIP/2.0 200 OK\r\n${line}\r\n`);
    assert.ok(message);
    const back = mapEnds(message, (address, port) =>
      address.equals(IpAddress.parse("192.0.2.1")) && port === 40_000 ? { address: IpAddress.parse("10.0.0.2"), port: 5070 } : undefined,
    );
    assert.equal(back.lines[1], "Via: SIP/2.0/UDP 10.0.0.2:5070;received=10.0.0.2;rport=5070;branch=1\r\n");
  });

  it("keeps addresses that only begin like one, folded lines and short names", () => {
    const lines = [
      "OPTIONS sip:10.0.0.2.example:5070 SIP/2.0",
      "v: SIP/2.0/UDP 10.0.0.2:5070",
      "f: <sip:a@10.0.0.22:5070>,",
      " <sip:10.0.0.2:5070>",
    ];
    const message = parseSip(`${crlf(lines)}\r\n`);
    assert.ok(message);
    assert.deepEqual(mapEnds(message, map).lines, [
      "OPTIONS sip:10.0.0.2.example:5070 SIP/2.0\r\n",
      "v: SIP/2.0/UDP 203.0.113.9:40000\r\n",
      "f: <sip:a@10.0.0.22:5070>,\r\n <sip:203.0.113.9:40000>\r\n",
    ]);
  });

  it("writes sessions with addresses of the whole and of single media, and their length", () => {
    const session = SESSION("10.0.0.2", 4000) + crlf(["m=audio 4010 RTP/AVP 8", "c=IN IP4 10.0.0.3", "m=audio 4020/2 RTP/AVP 8"]);
    const asked: string[] = [];
    const own = IpAddress.parse("10.0.0.2");
    const body = mapSession(session, own, outside.address, (address, port) => {
      asked.push(`${address}:${port}`);
      return address.equals(own) ? { address: outside.address, port: port + 100 } : undefined;
    });
    assert.deepEqual(asked, ["10.0.0.2:4000", "10.0.0.3:4010"]);
    assert.equal(body, SESSION("203.0.113.9", 4100) + crlf(["m=audio 4010 RTP/AVP 8", "c=IN IP4 10.0.0.3", "m=audio 4020/2 RTP/AVP 8"]));
    const message = parseSip(invite("10.0.0.2", 5070, session));
    assert.ok(message);
    assert.match(sipText(withBody(message, body)), new RegExp(`Content-Length: ${body.length}\r\n`));
  });

  it("takes what is no whole message for none", () => {
    for (const wrong of ["", "\r\n\r\n", "INVITE sip:a SIP/2.0\r\n", "GET / HTTP/1.1\r\n\r\n", `SIP/2.0 2000 OK\r\n\r\n`])
      assert.equal(parseSip(wrong), undefined);
  });
});

describe("FTP over IPv6 through a router that masquerades", () => {
  it("data connections that were announced come in, and are of the one that announced them", async () => {
    const { lab, client, router, server } = await lanAndServer(helperRules("ftp", "tcp", 21).replace("table ip t", "table inet t"));
    const control = server.listen({ port: 21 });
    const [, near] = await until(lab, Promise.all([control.accept(), client.connect({ hostname: "2001:db8::2", port: 21 })]));
    const data = client.listen({ port: 4000 });
    await near.write(bytes("EPRT |2|fd00::2|4000|\r\n"));
    await lab.run(200);
    const [expected] = [...router.conntrack.expectations()];
    assert.equal(`${expected.dst} ${expected.dport}`, "2001:db8::1 4000");
    const [came] = await until(lab, Promise.all([data.accept(), server.connect({ hostname: "2001:db8::1", port: 4000 })]));
    assert.equal(came.remoteAddress.address, "2001:db8::2");
    assert.deepEqual([...router.conntrack.expectations()], []);
  });
});

describe("SIP through a router that masquerades", () => {
  it("media come in from the other end of the call, under the addresses that were written", async () => {
    const { lab, client, router, server } = await lanAndServer(helperRules("sip", "udp", 5060));
    const [phone, proxy] = [client.datagram({ port: 5070 }), server.datagram({ port: 5060 })];
    const rtp = client.datagram({ port: 4000 });
    phone.send(bytes(invite("10.0.0.2", 5070, SESSION("10.0.0.2", 4000))), { address: "192.0.2.2", port: 5060 });
    await lab.run(50);
    let heard = "";
    proxy.tryReceiveMany((data) => {
      heard = text(data);
    });
    const seen = invite("192.0.2.1", 5070, SESSION("192.0.2.1", 4000)).replace("at 192.0.2.1:5070", "at 10.0.0.2:5070");
    assert.equal(heard, seen);
    const media = server.datagram({ port: 6000 });
    media.send(bytes("voice"), { address: "192.0.2.1", port: 4000 });
    server.datagram({ port: 6001 }).send(bytes("report"), { address: "192.0.2.1", port: 4001 });
    media.send(bytes("nobody asked"), { address: "192.0.2.1", port: 4002 });
    await lab.run(50);
    const got: string[] = [];
    rtp.tryReceiveMany((data) => got.push(text(data)));
    assert.deepEqual(got, ["voice"]);
    const related = [...router.conntrack.list()].filter(({ status }) => (status & abi.IPS_EXPECTED) !== 0);
    assert.deepEqual(related.map(({ original, reply }) => [original.dport, `${reply.src}`, reply.sport]).sort(), [
      [4000, "10.0.0.2", 4000],
      [4001, "10.0.0.2", 4001],
    ]);
    // The answer comes back with the inner addresses.
    proxy.send(
      bytes(`SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;received=192.0.2.1;rport=5070\r\nContact: <sip:bob@192.0.2.2>\r\n\r\n`),
      {
        address: "192.0.2.1",
        port: 5070,
      },
    );
    await lab.run(50);
    phone.tryReceiveMany((data) => {
      heard = text(data);
    });
    assert.equal(
      heard,
      "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2:5070;received=10.0.0.2;rport=5070\r\nContact: <sip:bob@192.0.2.2>\r\n\r\n",
    );
  });

  it("a second phone with the same media port gets another one", async () => {
    const { lab, client, router, server } = await lanAndServer(helperRules("sip", "udp", 5060));
    const proxy = server.datagram({ port: 5060 });
    for (const port of [5070, 5071]) {
      client.datagram({ port }).send(bytes(invite("10.0.0.2", port, SESSION("10.0.0.2", 4000))), { address: "192.0.2.2", port: 5060 });
    }
    await lab.run(50);
    const ports: string[] = [];
    proxy.tryReceiveMany((data) => ports.push(/m=audio (\d+)/.exec(text(data))?.[1] ?? ""));
    assert.deepEqual(ports, ["4000", "4002"]);
    assert.equal(router.conntrack.count, 2);
    // Of a pair whose second port is taken, the first is not expected either.
    client.datagram({ port: 5072 }).send(bytes(invite("10.0.0.2", 5072, SESSION("10.0.0.2", 3999))), { address: "192.0.2.2", port: 5060 });
    await lab.run(50);
    proxy.tryReceiveMany((data) => ports.push(/m=audio (\d+)/.exec(text(data))?.[1] ?? ""));
    const { memory } = router.engine;
    assert.deepEqual([ports[2], memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_EXPECTATION_COUNT)], ["4005", 6]);
  });

  it("calls reach a registered phone as long as its registration holds", async () => {
    const { lab, client, router, server } = await lanAndServer(helperRules("sip", "udp", 5060));
    const [phone, registrar] = [client.datagram({ port: 5070 }), server.datagram({ port: 5060 })];
    const register = (contact: string) =>
      crlf([
        "REGISTER sip:192.0.2.2 SIP/2.0",
        `Via: SIP/2.0/UDP ${contact};branch=1`,
        `Contact: <sip:a@${contact}>;expires=1000`,
        "Call-ID: 7",
        "CSeq: 3 REGISTER",
        "",
      ]);
    phone.send(bytes(register("10.0.0.2:5070")), { address: "192.0.2.2", port: 5060 });
    await lab.run(50);
    const heard: string[] = [];
    registrar.tryReceiveMany((data) => heard.push(text(data)));
    assert.deepEqual(heard, [register("192.0.2.1:5070")]);
    registrar.send(bytes("SIP/2.0 200 OK\r\nCall-ID: 7\r\nCSeq: 3 REGISTER\r\nContact: <sip:a@192.0.2.1:5070>;expires=600\r\n\r\n"), {
      address: "192.0.2.1",
      port: 5070,
    });
    await lab.run(50);
    phone.tryReceiveMany(() => undefined);
    // From another port of the registrar: no answer to the flow there is, but what was expected.
    const caller = server.datagram({ port: 7000 });
    const call = async () => {
      caller.send(bytes("OPTIONS sip:a@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:7000\r\n\r\n"), {
        address: "192.0.2.1",
        port: 5070,
      });
      await lab.run(50);
      const calls: string[] = [];
      phone.tryReceiveMany((data) => calls.push(text(data)));
      router.conntrack.delete({ sport: 7000 });
      return calls;
    };
    const reached = ["OPTIONS sip:a@10.0.0.2:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:7000\r\n\r\n"];
    assert.deepEqual(await call(), reached);
    assert.deepEqual(await call(), reached, "a registration is for more than one call");
    await lab.run(601_000);
    assert.deepEqual(await call(), []);
  });

  it("a flow keeps its helper when rules change: calls still reach the phone", async () => {
    const rules = helperRules("sip", "udp", 5060);
    const { lab, client, router, server } = await lanAndServer(rules);
    const [phone, proxy] = [client.datagram({ port: 5070 }), server.datagram({ port: 5060 })];
    phone.send(bytes("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5070\r\n\r\n"), { address: "192.0.2.2", port: 5060 });
    await lab.run(50);
    proxy.tryReceiveMany(() => undefined);
    router.firewall.apply(`flush ruleset\n${rules.replace(/ct helper h \{[^}]*\}/, "").replace(/chain pre \{[^}]*\}/, "")}`);
    phone.send(bytes(invite("10.0.0.2", 5070, SESSION("10.0.0.2", 4000))), { address: "192.0.2.2", port: 5060 });
    await lab.run(50);
    let heard = "";
    proxy.tryReceiveMany((data) => {
      heard = text(data);
    });
    assert.equal(heard, invite("192.0.2.1", 5070, SESSION("192.0.2.1", 4000)).replace(/at 192.0.2.1:5070/, "at 10.0.0.2:5070"));
    assert.match(flowText([...router.conntrack.list()][0]), / mark=0 helper=sip use=1$/);
  });

  it("refuses to load a helper that there is not, and takes those of the kernel that announce nothing here", async () => {
    await assert.rejects(
      lanAndServer(helperRules("h324", "tcp", 1720)),
      /table ip t, ct helper h: there is no helper "h324"; expected one of ftp, tftp, sip, amanda/,
    );
    await lanAndServer(helperRules("h323", "tcp", 1720));
  });
});
