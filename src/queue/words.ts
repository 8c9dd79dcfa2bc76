/** The words behind a kind in tc's commands, as options. */
import { invalid } from "../base/errors.ts";
import type { HtbClass, QdiscOptions } from "./options.ts";
import { parseId, parseNumber, parseRate, parseShare, parseSize, parseTime } from "./units.ts";

/** Words that are read one after the other. */
export class Words {
  private readonly words: readonly string[];
  private at = 0;

  constructor(words: readonly string[]) {
    this.words = words;
  }

  get next(): string | undefined {
    return this.words[this.at];
  }

  take(what: string): string {
    const word = this.words[this.at++];
    if (word === undefined) throw invalid(`tc: ${what} is missing at the end of "${this.words.join(" ")}"`);
    return word;
  }

  /** Takes the next word if it is one of these. */
  takeIf(...words: readonly string[]): string | undefined {
    return this.next !== undefined && words.includes(this.next) ? this.words[this.at++] : undefined;
  }
}

/** Name of an option and how its value is read; or a fixed value for a word that stands alone. */
type Word = readonly [option: string, read: (text: string) => unknown] | readonly [option: string, read: undefined, value: unknown];

const minor = (text: string) => (text.includes(":") ? parseId(text).minor : Number.parseInt(text.replace(/^0x/, ""), 16));
const rate = (option: string): Word => [option, parseRate];
const size = (option: string): Word => [option, parseSize];
const time = (option: string): Word => [option, parseTime];
const number = (option: string): Word => [option, parseNumber];
const is = (option: string, value: unknown): Word => [option, undefined, value];

const KINDS: Record<QdiscOptions["kind"], Record<string, Word>> = {
  pfifo: { limit: number("limitPackets") },
  bfifo: { limit: size("limitBytes") },
  prio: { bands: number("bands") },
  tbf: {
    rate: rate("rateBps"),
    burst: size("burstBytes"),
    buffer: size("burstBytes"),
    maxburst: size("burstBytes"),
    limit: size("limitBytes"),
    latency: time("latencyMs"),
    peakrate: rate("peakBps"),
    mtu: size("mtuBytes"),
    minburst: size("mtuBytes"),
  },
  htb: { default: ["default", minor], r2q: number("r2q"), direct_qlen: number("directPackets") },
  fq: {
    limit: number("limitPackets"),
    flow_limit: number("flowLimitPackets"),
    quantum: size("quantumBytes"),
    initial_quantum: size("initialQuantumBytes"),
    maxrate: rate("maxRateBps"),
    buckets: number("buckets"),
    refill_delay: time("refillDelayMs"),
    horizon: time("horizonMs"),
    horizon_drop: is("horizonDrop", true),
    horizon_cap: is("horizonDrop", false),
    ce_threshold: time("ceThresholdMs"),
  },
  fq_codel: {
    limit: number("limitPackets"),
    flows: number("flows"),
    target: time("targetMs"),
    interval: time("intervalMs"),
    quantum: size("quantumBytes"),
    ecn: is("ecn", true),
    noecn: is("ecn", false),
    ce_threshold: time("ceThresholdMs"),
    memory_limit: size("memoryBytes"),
    drop_batch: number("dropBatch"),
  },
  cake: {
    bandwidth: rate("bandwidthBps"),
    unlimited: is("bandwidthBps", undefined),
    besteffort: is("diffserv", "besteffort"),
    diffserv3: is("diffserv", "diffserv3"),
    diffserv4: is("diffserv", "diffserv4"),
    rtt: time("rttMs"),
    overhead: ["overheadBytes", Number],
    mpu: number("mpuBytes"),
    raw: is("overheadBytes", undefined),
    noatm: is("cells", "noatm"),
    atm: is("cells", "atm"),
    ptm: is("cells", "ptm"),
    wash: is("wash", true),
    nowash: is("wash", false),
    memlimit: size("memoryBytes"),
    ...Object.fromEntries(
      ["flowblind", "srchost", "dsthost", "hosts", "flows", "dual-srchost", "dual-dsthost", "triple-isolate"].map((name) => [
        name,
        is("isolation", name),
      ]),
    ),
  },
  red: {
    limit: size("limitBytes"),
    min: size("minBytes"),
    max: size("maxBytes"),
    avpkt: size("avpktBytes"),
    burst: number("burstPackets"),
    probability: ["probability", parseShare],
    bandwidth: rate("bandwidthBps"),
    ecn: is("ecn", true),
    harddrop: is("harddrop", true),
    adaptive: is("adaptive", true),
    nodrop: is("nodrop", true),
  },
};

const CLASS: Record<string, Word> = {
  rate: rate("rateBps"),
  ceil: rate("ceilBps"),
  burst: size("burstBytes"),
  buffer: size("burstBytes"),
  cburst: size("cburstBytes"),
  quantum: size("quantumBytes"),
  prio: number("prio"),
};

function read(words: Words, known: Record<string, Word>, what: string): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  while (words.next !== undefined) {
    const name = words.take("a word");
    if (name === "priomap" && what === "prio") {
      options.priomap = Array.from({ length: 16 }, () => parseNumber(words.take("the priomap's next band")));
      continue;
    }
    const word = known[name];
    if (!word) throw invalid(`tc: "${name}" is no word of ${what}; expected one of ${Object.keys(known).join(", ")}`);
    options[word[0]] = word[1] ? word[1](words.take(`the value of ${name}`)) : word[2];
  }
  return options;
}

/** Everything behind a kind's name. */
export function readQdisc(kind: string, words: Words): QdiscOptions {
  const known = KINDS[kind as QdiscOptions["kind"]];
  if (!known) throw invalid(`tc: there is no qdisc "${kind}"; expected one of ${Object.keys(KINDS).join(", ")}`);
  return { kind, ...read(words, known, kind) } as QdiscOptions;
}

export function readClass(words: Words): Omit<HtbClass, "id" | "parent"> {
  const options = read(words, CLASS, "htb's class") as unknown as HtbClass;
  if (options.rateBps === undefined) throw invalid('tc: a class of htb needs a "rate"');
  return options;
}
