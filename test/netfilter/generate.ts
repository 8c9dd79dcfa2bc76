/**
 * Cases by chance. Rules, then several conversations at once, spoken through a router (the kernel), because what an end sends depends on what
 * reached it: answers go to the translated address, ICMP errors cite what was seen on the wire.
 */
import { type Case, type Event, type Frame, frameIn } from "./case.ts";
import { describeFrame } from "./describe.ts";
import type { Dice } from "./dice.ts";
import { fragmentsOf } from "./fragments.ts";
import { generateRules } from "./generate-rules.ts";
import { generateTalk, type Said, type Side, type Talk } from "./generate-talk.ts";
import { packet } from "./packet.ts";
import type { Router } from "./router.ts";
import { type PortName, portOf } from "./topology.ts";
import { portTowards, turned, type View, viewOf } from "./views.ts";
import { ROUTER4, ROUTER6 } from "./vocabulary.ts";
import { toHex } from "./words.ts";

interface Speaker {
  readonly talk: Talk;
  readonly views: Record<Side, View>;
}

const MTU_OF_ALL = 1300;
const isRouters = (address: string) => [...ROUTER4, ...ROUTER6].includes(address);

class CaseMaker {
  private readonly dice: Dice;
  private readonly router: Router;
  private readonly events: Event[] = [];
  /** What came out, for errors to cite. */
  private readonly seen: Frame[] = [];
  private fragmentId = 1;

  constructor(dice: Dice, router: Router) {
    this.dice = dice;
    this.router = router;
  }

  async make(steps: number): Promise<Event[]> {
    const { dice } = this;
    const speakers = Array.from({ length: dice.between(1, 5) }, (_, i) => this.speaker(generateTalk(dice, i)));
    while (this.events.length < steps) {
      if (this.seen.length > 0 && dice.chance(0.08)) await this.sendError();
      else await this.speak(dice.pick(speakers));
      if (dice.chance(0.06)) await this.show();
    }
    await this.show();
    return this.events;
  }

  private speaker(talk: Talk): Speaker {
    const natural = turned(talk.client);
    // Who answers for an address of the router is behind it, if anybody: until a packet says so, nobody.
    return { talk, views: { client: talk.client, server: { ...natural, port: portTowards(talk.client.to) } } };
  }

  private async speak(speaker: Speaker): Promise<void> {
    const said = speaker.talk.next();
    const view = speaker.views[said.side];
    // The router's own address as a source is a martian for it: cases/martians.txt.
    if (isRouters(view.from)) return;
    const bytes = packet(this.line(view, said));
    const pieces = this.dice.chance(0.05) && bytes.length > 120 ? fragmentsOf(this.dice, bytes, this.fragmentId++) : [bytes];
    let out: Frame[] = [];
    for (const piece of pieces) out = await this.send(view.port, piece);
    if (said.side === "client") this.learn(speaker, view, out);
  }

  /** A server knows the client as its packets arrive. */
  private learn(speaker: Speaker, sent: View, out: readonly Frame[]): void {
    const arrived = out.length > 0 ? viewOf(out[out.length - 1]) : undefined;
    const isAnswer = arrived && arrived.port === sent.port && arrived.to === sent.from;
    if (arrived && !isAnswer && arrived.protocol === speaker.talk.protocol) speaker.views.server = turned(arrived);
  }

  private line(view: View, { layers, header = "" }: Said): string {
    const six = view.from.includes(":");
    const words = six ? header.replace(/ id \d+| df/g, "") : header;
    const extension = six && this.dice.chance(0.05) ? ` / ${this.dice.pick(["hop", "dst", "route"])}` : "";
    const inner = layers(view);
    const [said, ...rest] = inner.split(" / ");
    const head = `${six ? "ip6" : "ip"} ${view.from} > ${view.to}${words}`;
    // Protocols without words of their own are said in the header before them.
    if (said.startsWith("proto"))
      return extension ? `${head}${extension} ${said} / ${rest.join(" / ")}` : `${head} ${said} / ${rest.join(" / ")}`;
    return `${head}${extension} / ${inner}`;
  }

  private async send(port: PortName, bytes: Uint8Array): Promise<Frame[]> {
    const frame = { port, frame: frameIn(portOf(port), bytes) };
    const [out] = await this.router.send([frame]);
    this.events.push({ kind: "packet", in: frame, out });
    this.seen.push(...out.filter((sent) => viewOf(sent)));
    return out;
  }

  /** An ICMP error of somebody who saw a packet, or says so. */
  private async sendError(): Promise<void> {
    const { dice } = this;
    const cited = dice.pick(this.seen.slice(-12));
    const view = viewOf(cited);
    if (!view || view.protocol === 58 || view.protocol === 1) return;
    const six = view.from.includes(":");
    const inner = describeFrame(cited.frame);
    if (inner.startsWith("hex")) return;
    const whole = packet(inner);
    const cut = whole
      .slice(
        0,
        dice.weighted([
          [4, whole.length],
          [2, (six ? 40 : 20) + 8],
          [1, (six ? 40 : 20) + 3],
        ]),
      )
      .slice(0, MTU_OF_ALL - 100);
    if (dice.chance(0.1)) cut[(six ? 40 : 20) + dice.between(0, 3)] ^= 1;
    const from = dice.pick(six ? [view.to, "2001:db8:ff::1", ROUTER6[0]] : [view.to, "198.51.100.1", ROUTER4[0]]);
    const kind = dice.pick(
      six ? ["1 4", "1 0", "3 0", "2 0 mtu 1280", "4 1"] : ["3 3", "3 1", "11 0", "3 4 mtu 1200", "12 0", "5 1", "4 0"],
    );
    const bad = dice.chance(0.08) ? " badsum" : "";
    const line = `${six ? "ip6" : "ip"} ${from} > ${view.from} / ${six ? "icmp6" : "icmp"} ${kind}${bad} / hex ${toHex(cut)}`;
    if (!isRouters(from) && from !== view.from) await this.send(cited.port, packet(line));
  }

  private async show(): Promise<void> {
    this.events.push({ kind: "show", connections: await this.router.connections() });
  }
}

const SYSCTLS: readonly (readonly [weight: number, values: Record<string, number>])[] = [
  [8, {}],
  [1, { "netfilter/nf_conntrack_tcp_be_liberal": 1 }],
  [1, { "netfilter/nf_conntrack_tcp_loose": 0 }],
  [1, { "netfilter/nf_conntrack_checksum": 0 }],
  [1, { "netfilter/nf_conntrack_udp_timeout": 44, "netfilter/nf_conntrack_tcp_timeout_established": 1000 }],
];

/** Begins with rules that the router takes: what nft refuses is left out, line by line. */
async function begin(router: Router, ruleset: string, sysctls: Record<string, number>): Promise<string> {
  for (;;) {
    try {
      await router.begin(ruleset, sysctls);
      return ruleset;
    } catch (error) {
      const line = Number(/:(\d+):\d+-?\d*: Error/.exec((error as Error).message)?.[1]) - 1;
      const lines = ruleset.split("\n");
      if (!(line > 0 && line <= lines.length) || /^(table| {2}(chain|set)| {4}type| {1,2}})/.test(lines[line - 1])) throw error;
      ruleset = lines.filter((_, i) => i !== line - 1).join("\n");
    }
  }
}

/** A case as a router answers it; undefined when nft refuses the rules. */
export async function generate(dice: Dice, router: Router, title: string): Promise<Case | undefined> {
  const sysctls = dice.weighted(SYSCTLS);
  let ruleset: string;
  try {
    ruleset = await begin(router, generateRules(dice), sysctls);
  } catch {
    return undefined;
  }
  const events = await new CaseMaker(dice, router).make(dice.between(6, 24));
  return { title, comments: [], varies: false, sysctls, ruleset, events, counters: await router.counters() };
}
