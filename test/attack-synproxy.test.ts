/** SYNPROXY with a client and a server that are put together segment by segment: lost ones, repeated ones, old ones, forged ones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { Host } from "../src/host/index.ts";
import { IpAddress, Lab } from "../src/index.ts";
import { checksum, pseudoSum } from "../src/wire/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { SEED } from "./support.ts";

const [SYN, RST, PSH, ACK] = [2, 4, 8, 16];
const CLIENT = { address: [192, 0, 2, 2], mac: [2, 0, 0, 0, 0, 0x22], link: "wan" };
const SERVER = { address: [10, 0, 0, 2], mac: [2, 0, 0, 0, 0, 0x11], link: "lan" };
type End = typeof CLIENT;

const rules = (states = "invalid,untracked") => `table inet f {
  chain raw { type filter hook prerouting priority raw; iifname "wan" tcp dport 80 tcp flags syn ${states.includes("new") ? "accept" : "notrack"}; }
  chain forward { type filter hook forward priority filter; policy drop
    iifname "wan" tcp dport 80 ct state ${states} synproxy mss 1460 wscale 7 timestamp sack-perm
    ct state established,related accept
  }
}`;

interface Segment {
  readonly port?: number;
  readonly sequence: number;
  readonly acknowledgement?: number;
  readonly flags: number;
  readonly text?: string;
  readonly tos?: number;
  readonly isBroken?: boolean;
}
type Seen = { sequence: number; acknowledgement: number; flags: number; text: string; tos: number };

async function world({ states, loose = false }: { states?: string; loose?: boolean } = {}) {
  const lab = await Lab.create({ seed: SEED, interfaces: 8, memory: { flows: 512, filterBytes: 8 << 20 } });
  const router = await lab.host({
    forwarding: true,
    interfaces: [
      { name: "lan", addresses: ["10.0.0.1/24"] },
      { name: "wan", addresses: ["192.0.2.1/24"] },
    ],
  });
  for (const { link, address, mac } of [CLIENT, SERVER]) {
    router.ip.neighbours.setPermanent(router.ip.interface(link), IpAddress.parse(address.join(".")), Uint8Array.from(mac));
  }
  router.conntrack.configure({ tcpLoose: loose });
  router.firewall.apply(rules(states));
  await lab.run(3000);
  return new World(lab, router);
}

class World {
  constructor(
    readonly lab: Lab,
    readonly router: Host,
  ) {}

  private port(end: End) {
    return this.router.ip.interface(end.link).port;
  }

  /** Sends a segment, and what comes out at both ends. */
  async send(from: End, { port = 5000, sequence, acknowledgement = 0, flags, text = "", tos = 0, isBroken }: Segment) {
    const to = from === CLIENT ? SERVER : CLIENT;
    const options = flags & SYN ? [2, 4, 5, 0xb4] : [];
    const frame = new Uint8Array(54 + options.length + text.length);
    const view = new DataView(frame.buffer);
    frame.set(this.port(from).macBytes);
    frame.set([...from.mac, 8, 0, 0x45, tos, 0, frame.length - 14, 0, 0, 0x40, 0, 64, 6, 0, 0, ...from.address, ...to.address], 6);
    view.setUint16(24, checksum(frame.subarray(14, 34)));
    view.setUint16(34, from === CLIENT ? port : 80);
    view.setUint16(36, from === CLIENT ? 80 : port);
    view.setUint32(38, sequence);
    view.setUint32(42, acknowledgement);
    view.setUint32(46, ((20 + options.length) << 26) | (flags << 16) | 8192);
    frame.set([...options, ...new TextEncoder().encode(text)], 54);
    const sum = checksum(frame.subarray(34), pseudoSum(frame.subarray(26, 30), frame.subarray(30, 34), 6, frame.length - 34));
    view.setUint16(50, isBroken ? sum ^ 1 : sum);
    this.port(from).receive(frame);
    const seen: { client: Seen[]; server: Seen[] } = { client: [], server: [] };
    for (let i = 0; i < 5; i++) {
      await this.lab.run(1);
      this.collect(CLIENT, seen.client);
      this.collect(SERVER, seen.server);
    }
    return seen;
  }

  private collect(end: End, into: Seen[]): void {
    this.port(end).transmitted((frame: Uint8Array) => {
      const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
      if (view.getUint16(12) !== 0x0800 || frame[23] !== 6) return;
      const whole = frame.subarray(34);
      assert.equal(checksum(whole, pseudoSum(frame.subarray(26, 30), frame.subarray(30, 34), 6, whole.length)), 0, "a checksum is wrong");
      const text = new TextDecoder().decode(whole.subarray((whole[12] >>> 4) * 4));
      into.push({ sequence: view.getUint32(38), acknowledgement: view.getUint32(42), flags: frame[47], text, tos: frame[15] });
    });
  }

  /** The number that a SYN is answered by. */
  async cookie(sequence: number, more: Partial<Segment> = {}): Promise<number> {
    const { client } = await this.send(CLIENT, { sequence, flags: SYN, ...more });
    assert.deepEqual([client[0]?.flags, client[0]?.acknowledgement], [SYN | ACK, sequence + 1]);
    return client[0].sequence;
  }

  /** A connection: both ends hear that it stands. The server's numbers begin at 777,000. */
  async establish(sequence = 1000, server = 777_000, port = 5000): Promise<number> {
    const cookie = await this.cookie(sequence, { port });
    const shown = await this.send(CLIENT, { port, sequence: sequence + 1, acknowledgement: cookie + 1, flags: ACK });
    assert.deepEqual([shown.server[0]?.flags, shown.server[0]?.sequence], [SYN, sequence]);
    const answered = await this.send(SERVER, { port, sequence: server, acknowledgement: sequence + 1, flags: SYN | ACK });
    assert.deepEqual([answered.server[0]?.flags, answered.server[0]?.acknowledgement], [ACK, server + 1]);
    assert.deepEqual([answered.client[0]?.flags, answered.client[0]?.sequence], [ACK, cookie + 1]);
    return cookie;
  }
}

describe("SYNPROXY, segment by segment", () => {
  it("follows windows in the numbers of each side: idle connections live for days, blind resets end none", async () => {
    const made = await world();
    const cookie = await made.establish();
    const up = await made.send(CLIENT, { sequence: 1001, acknowledgement: cookie + 1, flags: ACK | PSH, text: "hi" });
    assert.deepEqual([up.server[0].acknowledgement, up.server[0].text], [777_001, "hi"]);
    const down = await made.send(SERVER, { sequence: 777_001, acknowledgement: 1003, flags: ACK | PSH, text: "ho" });
    assert.deepEqual([down.client[0].sequence, down.client[0].text], [cookie + 1, "ho"]);
    await made.send(CLIENT, { sequence: 1003, acknowledgement: cookie + 3, flags: ACK });
    for (const forged of [
      { sequence: 0x4000_0000, flags: RST },
      { sequence: 0x4000_0000, acknowledgement: cookie + 3, flags: ACK | PSH, text: "evil" },
      { sequence: 1003, acknowledgement: cookie + 900_000, flags: ACK | PSH, text: "evil" },
    ])
      assert.deepEqual((await made.send(CLIENT, forged)).server, [], JSON.stringify(forged));
    await made.lab.run(86_400_000);
    assert.equal(made.router.conntrack.count, 1);
    const late = await made.send(SERVER, { sequence: 777_003, acknowledgement: 1003, flags: ACK | PSH, text: "later" });
    assert.deepEqual([late.client[0]?.sequence, late.client[0]?.text], [cookie + 3, "later"]);
    auditFlows(made.router.engine);
  });

  it("lets a client begin again with the same port: rebooted, or when the old connection is over", async () => {
    const made = await world();
    const cookie = await made.establish();
    await made.send(CLIENT, { sequence: 1001, acknowledgement: cookie + 1, flags: ACK | PSH, text: "hi" });
    const again = await made.establish(900_000_000, 88_000);
    const up = await made.send(CLIENT, { sequence: 900_000_001, acknowledgement: again + 1, flags: ACK | PSH, text: "new" });
    assert.deepEqual([up.server[0]?.acknowledgement, up.server[0]?.text], [88_001, "new"]);
    await made.send(CLIENT, { sequence: 900_000_004, acknowledgement: again + 1, flags: RST | ACK });
    await made.establish(900_000_500, 99_000);
    assert.equal(made.router.conntrack.count, 1);
    auditFlows(made.router.engine);
  });

  it("believes who asks whether its window is still closed, and answers no answer to another SYN", async () => {
    const made = await world();
    const cookie = await made.cookie(1000);
    // The ACK was lost: what comes is a probe with a number that was acknowledged.
    const probe = await made.send(CLIENT, { sequence: 1000, acknowledgement: cookie + 1, flags: ACK });
    assert.deepEqual([probe.server[0]?.flags, probe.server[0]?.sequence], [SYN, 1000]);
    const other = await made.send(SERVER, { sequence: 5, acknowledgement: 901, flags: SYN | ACK });
    assert.deepEqual([other.client, other.server], [[], []]);
    assert.equal(made.router.conntrack.count, 0);
    const [again] = (await made.send(CLIENT, { sequence: 1000, acknowledgement: cookie + 1, flags: ACK })).server;
    assert.deepEqual([again?.flags, again?.sequence], [SYN, 1000]);
    const right = await made.send(SERVER, { sequence: 777_000, acknowledgement: 1001, flags: SYN | ACK });
    assert.deepEqual([right.client[0]?.sequence, right.server[0]?.acknowledgement], [cookie + 1, 777_001]);
  });

  it("answers nothing that is broken, and says of congestion what nobody said", async () => {
    const made = await world();
    assert.deepEqual((await made.send(CLIENT, { sequence: 1000, flags: SYN, isBroken: true })).client, []);
    const cookie = await made.cookie(1000, { tos: 0x2b });
    const broken = await made.send(CLIENT, { sequence: 1001, acknowledgement: cookie + 1, flags: ACK, isBroken: true });
    assert.deepEqual(broken.server, []);
    const { client } = await made.send(CLIENT, { sequence: 1000, flags: SYN, tos: 0x2b });
    assert.equal(client[0].tos, 0x28);
    assert.equal(made.router.conntrack.count, 0);
  });

  it("leaves no record behind, also where packets had flows before the rule", async () => {
    const made = await world({ states: "invalid,untracked,new", loose: true });
    for (let port = 2000; port < 2700; port++) await made.establish(port * 100, port * 7, port).catch(() => {});
    await made.lab.run(6 * 86_400_000);
    const { memory } = made.router.engine;
    assert.equal(made.router.conntrack.count, 0);
    assert.ok(memory.getU32(memory.base(abi.REGION_FLOWS) + abi.FLOWS_USED) < 10);
    auditFlows(made.router.engine);
  });

  it("lets newcomers in where a full table has flows to spare", async () => {
    const made = await world();
    let asked = 0;
    for (let port = 2000; port < 2600; port++) {
      const cookie = await made.cookie(port * 100, { port });
      const { server } = await made.send(CLIENT, { port, sequence: port * 100 + 1, acknowledgement: cookie + 1, flags: ACK });
      if (port >= 2512) asked += server.length;
    }
    assert.equal(asked, 88);
  });

  it("is refused where it cannot work, or with what no segment can say", async () => {
    const { router } = await world();
    for (const [text, expected] of [
      ["table ip t { chain c { type filter hook prerouting priority 0; synproxy mss 1460; }; }", /hooks input and forward/],
      ["table netdev t { chain c { type filter hook ingress device wan priority 0; synproxy mss 1460; }; }", /hooks input and forward/],
      ["table ip t { chain c { type filter hook input priority 0; synproxy wscale 15; }; }", /wscale 15 scales no window/],
      ["table ip t { synproxy s { mss 1460; wscale 200; }; }", /wscale 200 scales no window/],
    ] as const)
      assert.throws(() => router.firewall.apply(text), expected, text);
  });
});
