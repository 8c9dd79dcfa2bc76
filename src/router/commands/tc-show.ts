/** Qdiscs and classes as tc(8) prints them, with `-s` their statistics. */
import type { HtbClass, QdiscOptions } from "../../queue/options.ts";
import type { QdiscReport } from "../../queue/queue.ts";
import type { ClassStats, QueueStats } from "../../queue/stats.ts";
import { rateText, sizeText, timeText } from "../tc-units.ts";

const hex = (value: number) => value.toString(16);
const Kbit = (bps: number) => rateText(bps);
const Kb = (bytes: number) => (bytes % 1024 === 0 ? sizeText(bytes) : `${bytes}b`);

/** What a qdisc was told, in tc's order; what was left to the defaults is not shown. */
function words(options: QdiscOptions, own: Record<string, number>): string {
  switch (options.kind) {
    case "pfifo":
      return `limit ${options.limitPackets ?? 1000}p`;
    case "bfifo":
      return options.limitBytes === undefined ? "" : `limit ${Kb(options.limitBytes)}`;
    case "prio":
      return `bands ${options.bands ?? 3} priomap ${(options.priomap ?? [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]).join(" ")}`;
    case "tbf": {
      const wait =
        options.latencyMs !== undefined
          ? `lat ${timeText(options.latencyMs)}`
          : options.limitBytes !== undefined
            ? `limit ${Kb(options.limitBytes)}`
            : "";
      const peak = options.peakBps === undefined ? "" : `peakrate ${Kbit(options.peakBps)} `;
      return `rate ${Kbit(options.rateBps)} burst ${Kb(options.burstBytes)} ${peak}${wait}`;
    }
    case "htb":
      return `r2q ${options.r2q ?? 10} default ${options.default ? `0x${hex(options.default)}` : "0"} direct_packets_stat ${own.direct_packets_stat ?? 0} direct_qlen ${options.directPackets ?? 1000}`;
    case "fq":
      return given([
        ["limit", options.limitPackets ?? 10_000, "p"],
        ["flow_limit", options.flowLimitPackets ?? 100, "p"],
        ["buckets", options.buckets ?? 1024],
        ["quantum", options.quantumBytes, "b"],
        ["initial_quantum", options.initialQuantumBytes, "b"],
        ["maxrate", options.maxRateBps === undefined ? undefined : Kbit(options.maxRateBps)],
        ["refill_delay", timeText(options.refillDelayMs ?? 40)],
        ["horizon", timeText(options.horizonMs ?? 10_000)],
      ]);
    case "fq_codel":
      return `${given([
        ["limit", options.limitPackets ?? 10_240, "p"],
        ["flows", options.flows ?? 1024],
        ["quantum", options.quantumBytes ?? 1514],
        ["target", timeText(options.targetMs ?? 5)],
        ["ce_threshold", options.ceThresholdMs === undefined ? undefined : timeText(options.ceThresholdMs)],
        ["interval", timeText(options.intervalMs ?? 100)],
        ["memory_limit", sizeOf(options.memoryBytes ?? 32 << 20)],
      ])}${(options.ecn ?? true) ? " ecn" : ""} drop_batch ${options.dropBatch ?? 64}`;
    case "cake":
      return [
        options.bandwidthBps === undefined ? "bandwidth unlimited" : `bandwidth ${Kbit(options.bandwidthBps)}`,
        options.diffserv ?? "diffserv3",
        options.isolation ?? "triple-isolate",
        "nonat",
        options.wash ? "wash" : "nowash",
        `rtt ${timeText(options.rttMs ?? 100)}`,
        options.overheadBytes === undefined ? "raw" : `${options.cells ?? "noatm"} overhead ${options.overheadBytes}`,
      ].join(" ");
    case "red":
      return `limit ${Kb(options.limitBytes)} min ${Kb(options.minBytes)} max ${Kb(options.maxBytes)}${options.ecn ? " ecn" : ""}${options.harddrop ? " harddrop" : ""}${options.adaptive ? " adaptive" : ""}`;
  }
}

const sizeOf = (bytes: number) => (bytes % (1 << 20) === 0 ? `${bytes >> 20}Mb` : Kb(bytes));

function given(list: readonly (readonly [string, string | number | undefined, string?])[]): string {
  return list
    .filter(([, value]) => value !== undefined)
    .map(([name, value, unit = ""]) => `${name} ${value}${unit}`)
    .join(" ");
}

function sent({ sentBytes, sentPackets, dropped, overlimits, requeues, backlogBytes, backlogPackets }: QueueStats): string[] {
  return [
    ` Sent ${sentBytes} bytes ${sentPackets} pkt (dropped ${dropped}, overlimits ${overlimits} requeues ${requeues}) `,
    ` backlog ${sizeText(backlogBytes)} ${backlogPackets}p requeues ${requeues}`,
  ];
}

/** Numbers that only one kind keeps, as its own lines. */
function ownLines({ options, own, red, tins }: QdiscReport): string[] {
  const of = (...names: string[]) => `  ${names.map((name) => `${name} ${own[name] ?? 0}`).join(" ")}`;
  if (options.kind === "fq_codel")
    return [of("maxpacket", "drop_overlimit", "new_flow_count", "ecn_mark"), of("new_flows_len", "old_flows_len")];
  if (options.kind === "fq")
    return [
      `  flows ${own.flows} (inactive ${own.inactive} throttled ${own.throttled})`,
      `  gc ${own.gc} highprio ${own.highprio} throttled ${own.throttles}${own.flows_plimit ? ` flows_plimit ${own.flows_plimit}` : ""}`,
    ];
  if (options.kind === "red")
    return [`  marked ${own.marked} early ${own.early} pdrop ${own.pdrop} other 0${red ? ` avg ${Math.round(red.average)}b` : ""}`];
  if (options.kind !== "cake") return [];
  const row = (name: string, value: (tin: (typeof tins)[number]) => string | number) =>
    `  ${name.padEnd(9)}${tins.map((tin) => String(value(tin)).padStart(13)).join("")}`;
  return [
    ` memory used: ${sizeText(own.memory_used ?? 0)}`,
    `${" ".repeat(11)}${tins.map(({ name }) => name.padStart(13)).join("")}`,
    row("thresh", (tin) => Kbit(tin.thresholdBps)),
    row("target", (tin) => timeText(tin.targetMs)),
    row("interval", (tin) => timeText(tin.intervalMs)),
    row("pk_delay", (tin) => timeText(tin.peakDelayMs)),
    row("av_delay", (tin) => timeText(tin.averageDelayMs)),
    row("sp_delay", (tin) => timeText(tin.baseDelayMs)),
    row("backlog", (tin) => `${tin.backlogBytes}b`),
    row("pkts", (tin) => tin.packets),
    row("bytes", (tin) => tin.bytes),
    row("way_inds", (tin) => tin.wayIndirectHits),
    row("way_miss", (tin) => tin.wayMisses),
    row("way_cols", (tin) => tin.wayCollisions),
    row("drops", (tin) => tin.drops),
    row("marks", (tin) => tin.marks),
    row("sp_flows", (tin) => tin.sparseFlows),
    row("bk_flows", (tin) => tin.bulkFlows),
    row("max_len", (tin) => tin.maxPacket),
    row("quantum", (tin) => tin.quantum),
  ];
}

export function qdiscText(device: string, report: QdiscReport, withStats: boolean): string {
  const { options, handle, parent, own } = report;
  const place = parent ? `parent ${hex(parent.handle)}:${hex(parent.class)}` : "root refcnt 2";
  const head = `qdisc ${options.kind} ${hex(handle)}: dev ${device} ${place} ${words(options, own)} `;
  return withStats ? [head, ...sent(report), ...ownLines(report)].join("\n") : head;
}

export function classText(device: string, report: QdiscReport, stats: ClassStats, options: HtbClass, withStats: boolean): string {
  const major = hex(report.handle);
  const { id, level } = stats;
  const place = options.parent ? `parent ${major}:${hex(options.parent)}` : "root";
  const leaf = level === 0 && options.qdisc?.handle ? `leaf ${hex(options.qdisc.handle)}: ` : "";
  const { rateBps, ceilBps = rateBps, burstBytes = burst(rateBps), cburstBytes = burst(ceilBps) } = options;
  const head = `class htb ${major}:${hex(id)} dev ${device} ${place} ${leaf}${level === 0 ? `prio ${options.prio ?? 0} ` : ""}rate ${Kbit(rateBps)} ceil ${Kbit(ceilBps)} burst ${Kb(burstBytes)} cburst ${Kb(cburstBytes)} `;
  if (!withStats) return head;
  return [
    head,
    ...sent(stats),
    ` lended: ${stats.lended} borrowed: ${stats.borrowed} giants: ${stats.giants}`,
    ` tokens: ${Math.round(stats.tokens)} ctokens: ${Math.round(stats.ctokens)}`,
    "",
  ].join("\n");
}

/** What tc itself takes where no burst is given: a timer's tick worth and a packet. */
const burst = (bps: number) => Math.round(bps / 8 / 1000 + 1600);
