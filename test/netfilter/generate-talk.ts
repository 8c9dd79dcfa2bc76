/**
 * Conversations by chance: TCP from its handshake to one of its many ends, UDP, echoes, other protocols; each packet now and then
 * wrong in a way that a tracker must notice. A conversation says its next packet from the view of the end that sends it.
 */
import type { Dice } from "./dice.ts";
import { portTowards, type View } from "./views.ts";
import { CLIENTS4, CLIENTS6, INNER4, INNER6, ROUTER4, ROUTER6, SERVERS4, SERVERS6, SERVICES } from "./vocabulary.ts";

export type Side = "client" | "server";

export interface Said {
  readonly side: Side;
  /** Layers behind the IP header; ports are filled in from the view. */
  readonly layers: (view: View) => string;
  /** Words of the IP header. */
  readonly header?: string;
}

export interface Talk {
  readonly protocol: number;
  readonly client: View;
  next(): Said;
}

const other = (side: Side): Side => (side === "client" ? "server" : "client");
const data = (length: number) => (length > 0 ? ` / data ${length}` : "");

interface End {
  seq: number;
  ack: number;
  scale: number;
}

class TcpTalk implements Talk {
  readonly protocol = 6;
  readonly client: View;
  private readonly dice: Dice;
  private readonly ends: Record<Side, End>;
  private readonly options: string;
  private said: Said[] = [];
  private readonly script: (() => void)[];

  constructor(dice: Dice, client: View) {
    this.dice = dice;
    this.client = client;
    this.ends = { client: { seq: dice.random.u32(), ack: 0, scale: 0 }, server: { seq: dice.random.u32(), ack: 0, scale: 0 } };
    this.options = dice.pick(["", " mss 1460", " mss 1460 sackok", " mss 1460 ws 7", " mss 1460 sackok ts 100 0 ws 3"]);
    this.script = this.plan();
  }

  /** Acts in the order in which they are played; what comes after the last is more of the same. */
  private plan(): (() => void)[] {
    const { dice } = this;
    const open = dice.weighted<(() => void)[]>([
      [10, [() => this.syn("client"), () => this.synAck("server"), () => this.ack("client")]],
      [1, [() => this.syn("client"), () => this.reset("server")]],
      [1, [() => this.syn("client"), () => this.syn("server"), () => this.synAck("client"), () => this.synAck("server")]],
      [1, [() => this.pickUp()]],
      [1, [() => this.syn("client"), () => this.ack("client")]],
      [1, [() => this.synAck("server"), () => this.ack("client")]],
    ]);
    const middle = Array.from({ length: dice.between(1, 6) }, () => () => this.middle());
    const close = dice.weighted<(() => void)[]>([
      [4, [() => this.fin("client"), () => this.ack("server"), () => this.fin("server"), () => this.ack("client")]],
      [2, [() => this.fin("server"), () => this.fin("client"), () => this.ack("server"), () => this.ack("client")]],
      [2, [() => this.fin("client"), () => this.data("client"), () => this.data("server"), () => this.fin("server")]],
      [2, [() => this.reset("client")]],
      [2, [() => this.reset("server")]],
      [2, []],
    ]);
    const again = [() => this.syn(dice.chance(0.8) ? "client" : "server"), () => this.synAck("server"), () => this.ack("client")];
    return [...open, ...middle, ...close, ...(dice.chance(0.4) ? again : [])];
  }

  next(): Said {
    while (this.said.length === 0) (this.script.shift() ?? (() => this.middle()))();
    const [first] = this.said.splice(0, 1);
    return first;
  }

  private say(side: Side, flags: string, length = 0, words = "", seq = this.ends[side].seq, ack = this.ends[side].ack): void {
    const window = this.dice.weighted([
      [6, 502],
      [3, 65535],
      [1, 0],
      [1, 29200],
    ]);
    const bad = this.dice.chance(0.03) ? " badsum" : "";
    const ackWord = /A/.test(flags) || this.dice.chance(0.02) ? ` ack ${ack >>> 0}` : "";
    this.said.push({
      side,
      layers: ({ sport, dport }) =>
        `tcp ${sport} > ${dport} ${flags} seq ${seq >>> 0}${ackWord} win ${window}${words}${bad}${data(length)}`,
    });
    if (this.dice.chance(0.06)) this.said.push(this.said[this.said.length - 1]);
  }

  private syn(side: Side): void {
    if (this.ends.client.ack !== 0 && side === "client")
      this.ends.client.seq = (this.ends.client.seq + this.dice.between(1000, 400_000)) >>> 0;
    this.say(side, this.dice.chance(0.1) ? "SEC" : "S", 0, this.options);
    this.advance(side, 1);
  }
  private synAck(side: Side): void {
    this.say(side, "SA", 0, this.options, this.ends[side].seq);
    this.advance(side, 1);
  }
  private ack(side: Side): void {
    this.say(side, "A");
  }
  private pickUp(): void {
    this.ends.client.ack = this.ends.server.seq;
    this.ends.server.ack = this.ends.client.seq;
    this.data(this.dice.pick(["client", "server"]));
  }
  private data(side: Side): void {
    const length = this.dice.pick([1, 10, 100, 1000]);
    this.say(side, "PA", length);
    this.advance(side, length);
  }
  private fin(side: Side): void {
    const length = this.dice.chance(0.3) ? 5 : 0;
    this.say(side, "FA", length);
    this.advance(side, length + 1);
  }
  private reset(side: Side): void {
    const end = this.ends[side];
    const seq = this.dice.weighted([
      [6, end.seq],
      [2, end.seq + 100],
      [1, end.seq + 10_000_000],
      [1, end.seq - 1],
    ]);
    this.say(side, this.dice.pick(["R", "RA", "RA"]), 0, "", seq);
  }
  private advance(side: Side, count: number): void {
    this.ends[side].seq = (this.ends[side].seq + count) >>> 0;
    this.ends[other(side)].ack = this.ends[side].seq;
  }

  private middle(): void {
    const { dice } = this;
    const side = dice.pick<Side>(["client", "server"]);
    const { seq } = this.ends[side];
    dice.weighted<() => void>([
      [6, () => this.data(side)],
      [4, () => this.ack(side)],
      [1, () => this.say(side, "PA", 10, "", seq - 10)],
      [1, () => this.say(side, "PA", 100, "", seq + dice.pick([1000, 70_000, 5_000_000, 1_000_000_000]))],
      [1, () => this.say(side, "A", 0, "", seq, this.ends[side].ack + dice.pick([1, 70_000, 3_000_000]))],
      [1, () => this.say(side, "A", 1, "", seq - 1)],
      [1, () => this.say(side, dice.pick([".", "SF", "SR", "FSRPAU", "F", "U", "SPA", "PAU", "FPU"]))],
      [1, () => this.say(side, "S", 0, this.options, seq + 5000)],
      [1, () => this.say(side, "A", 0, ` doff ${dice.pick([4, 15])}`)],
      [1, () => this.say(side, "A", 0, ` sack ${(this.ends[side].ack - 50) >>> 0} ${this.ends[side].ack}`)],
    ])();
  }
}

class SimpleTalk implements Talk {
  readonly protocol: number;
  readonly client: View;
  private readonly dice: Dice;
  private turn = 0;

  constructor(dice: Dice, client: View, protocol: number) {
    this.dice = dice;
    this.client = client;
    this.protocol = protocol;
  }

  next(): Said {
    const { dice } = this;
    const side: Side = this.turn++ === 0 || dice.chance(0.5) ? "client" : "server";
    const length = dice.pick([0, 1, 8, 100, 600]);
    const bad = dice.weighted([
      [30, ""],
      [1, " badsum"],
    ]);
    const header = dice.weighted([
      [20, ""],
      [1, " ttl 1"],
      [1, " tos 8"],
      [1, " ttl 2 id 77 df"],
    ]);
    switch (this.protocol) {
      case 17: {
        const odd = dice.weighted([
          [30, bad],
          [1, " sum 0"],
          [1, ` len ${dice.pick([4, 8, 400])}`],
        ]);
        return { side, header, layers: ({ sport, dport }) => `udp ${sport} > ${dport}${odd}${data(length)}` };
      }
      case 1:
      case 58: {
        const [ask, answer] = this.protocol === 1 ? [8, 0] : [128, 129];
        const type = dice.weighted([
          [20, side === "client" ? ask : answer],
          [1, ask],
          [1, answer],
          [1, dice.pick([13, 9, 133, 130, 42])],
        ]);
        const name = this.protocol === 1 ? "icmp" : "icmp6";
        return { side, header, layers: ({ sport }) => `${name} ${type} 0 id ${sport} seq ${this.turn}${bad}${data(length)}` };
      }
      default:
        return { side, header, layers: () => `proto ${this.protocol} / data ${length + 8}` };
    }
  }
}

/** A conversation between somebody and somebody, or the router; its client's port is its own in the case. */
export function generateTalk(dice: Dice, number: number): Talk {
  const six = dice.chance(0.3);
  const [clients, servers, inner, router] = six ? [CLIENTS6, SERVERS6, INNER6, ROUTER6] : [CLIENTS4, SERVERS4, INNER4, ROUTER4];
  const [from, to] = dice.weighted<() => [string, string]>([
    [6, () => [dice.pick(clients), dice.pick(servers)]],
    [3, () => [dice.pick(clients), dice.pick(inner)]],
    [4, () => [dice.pick(servers), router[1]]],
    [2, () => [dice.pick(inner), dice.pick(servers)]],
    [1, () => [dice.pick(clients), router[dice.between(0, 1)]]],
    [1, () => [dice.pick(servers), dice.pick(inner)]],
    [1, () => [dice.pick(servers), dice.pick(clients)]],
  ])();
  const protocol = dice.weighted([
    [10, 6],
    [7, 17],
    [4, six ? 58 : 1],
    [1, 132],
    [1, 47],
    [1, 50],
    [1, 99],
  ]);
  const echo = protocol === 1 || protocol === 58;
  const id = 1000 + number;
  const [sport, dport] = echo ? [id, id] : [dice.pick([40_000, 1024, 2000]) + number, dice.pick(SERVICES)];
  const client = { port: portTowards(from), from, to, sport, dport };
  return protocol === 6 ? new TcpTalk(dice, client) : new SimpleTalk(dice, client, protocol);
}
