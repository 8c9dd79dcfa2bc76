/** What tc prints of each kind: its options behind the handle, and the numbers that only it keeps. */
import type { CakeOptions, FqCodelOptions, FqOptions, QdiscOptions, RedOptions, TbfOptions } from "./options.ts";
import { FRAME } from "./plan.ts";
import type { QdiscReport } from "./queue.ts";
import { fqCodelOf, fqOf, PRIOMAP, tbfOf } from "./shown.ts";
import type { TinStats } from "./stats.ts";
import { formatRate, formatSize, formatTime } from "./units.ts";

export function showOptions(options: QdiscOptions, report: QdiscReport): string {
  switch (options.kind) {
    case "pfifo":
      return `limit ${options.limitPackets ?? 1000}p`;
    case "bfifo":
      return `limit ${formatSize(options.limitBytes ?? 1000 * FRAME)}`;
    case "prio":
      return `bands ${options.bands ?? 3} priomap ${(options.priomap ?? PRIOMAP).join(" ")}`;
    case "htb": {
      const usual = options.default ? `0x${options.default.toString(16)}` : "0";
      const direct = `direct_packets_stat ${report.own.direct_packets_stat} direct_qlen ${options.directPackets ?? 1000}`;
      return `r2q ${options.r2q ?? 10} default ${usual} ${direct}`;
    }
    case "fq_codel":
      return showFqCodel(options);
    case "tbf":
      return showTbf(options);
    case "fq":
      return showFq(options);
    case "red":
      return showRed(options);
    case "cake":
      return showCake(options);
  }
}

function showFqCodel(options: FqCodelOptions): string {
  const { limitPackets, flows, quantumBytes, targetMs, intervalMs, memoryBytes, ceThresholdMs, ecn, dropBatch } = fqCodelOf(options);
  const ce = ceThresholdMs ? `ce_threshold ${formatTime(ceThresholdMs)} ` : "";
  const head = `limit ${limitPackets}p flows ${flows} quantum ${quantumBytes} target ${formatTime(targetMs)} ${ce}interval ${formatTime(intervalMs)}`;
  return `${head} memory_limit ${formatSize(memoryBytes)} ${ecn ? "ecn " : ""}drop_batch ${dropBatch} `;
}

function showTbf(options: TbfOptions): string {
  const { rateBps, burstBytes, peakBps, mtuBytes, latencyMs } = tbfOf(options);
  const peak = peakBps === undefined ? "" : `peakrate ${formatRate(peakBps)} minburst ${formatSize(mtuBytes)} `;
  return `rate ${formatRate(rateBps)} burst ${formatSize(burstBytes)} ${peak}lat ${formatTime(latencyMs)} `;
}

function showFq(options: FqOptions): string {
  const { limitPackets, flowLimitPackets, buckets, quantumBytes, initialQuantumBytes, ...rest } = fqOf(options);
  const rate = rest.maxRateBps === undefined ? "" : `maxrate ${formatRate(rest.maxRateBps)} `;
  const ce = rest.ceThresholdMs ? `ce_threshold ${formatTime(rest.ceThresholdMs)} ` : "";
  const head = `limit ${limitPackets}p flow_limit ${flowLimitPackets}p buckets ${buckets}`;
  const tail = `refill_delay ${formatTime(rest.refillDelayMs)} horizon ${formatTime(rest.horizonMs)}`;
  return `${head} quantum ${quantumBytes}b initial_quantum ${initialQuantumBytes}b ${rate}${ce}${tail} ${rest.horizonDrop ? "horizon_drop" : "horizon_cap"}`;
}

function showRed(options: RedOptions): string {
  const flags = (["ecn", "harddrop", "adaptive", "nodrop"] as const).filter((name) => options[name]).join(" ");
  return `limit ${formatSize(options.limitBytes)} min ${formatSize(options.minBytes)} max ${formatSize(options.maxBytes)} ${flags}${flags && " "}`;
}

function showCake(options: CakeOptions): string {
  const bandwidth = options.bandwidthBps === undefined ? "unlimited" : formatRate(options.bandwidthBps);
  const link = options.overheadBytes === undefined ? "raw" : `${options.cells ?? "noatm"} overhead ${options.overheadBytes}`;
  const words = [
    `bandwidth ${bandwidth}`,
    options.diffserv ?? "diffserv3",
    options.isolation ?? "triple-isolate",
    options.wash ? "wash" : "nowash",
    "no-ack-filter split-gso",
    `rtt ${formatTime(options.rttMs ?? 100)}`,
    link,
  ];
  if (options.mpuBytes) words.push(`mpu ${options.mpuBytes}`);
  return `${words.join(" ")} `;
}

// ── Numbers of their own ────────────────────────────────────────────────────────────────────────

export function showOwn({ options, own, tins }: QdiscReport): string {
  const line = (...names: string[]) => `  ${names.map((name) => `${name} ${own[name]}`).join(" ")}\n`;
  switch (options.kind) {
    case "fq_codel": {
      const memory = own.drop_overmemory ? ` memory_used ${own.memory_used} drop_overmemory ${own.drop_overmemory}` : "";
      const marks = own.ce_mark ? ` ce_mark ${own.ce_mark}` : "";
      const first = line("maxpacket", "drop_overlimit", "new_flow_count", "ecn_mark").trimEnd();
      return `${first}${marks}${memory}\n${line("new_flows_len", "old_flows_len")}`;
    }
    case "fq":
      return `  flows ${own.flows} (inactive ${own.inactive} throttled ${own.throttled})\n  gc ${own.gc} highprio ${own.highprio} throttled ${own.throttles} flows_plimit ${own.flows_plimit} horizon_drops ${own.horizon_drops} horizon_caps ${own.horizon_caps} ce_mark ${own.ce_mark}\n`;
    case "red":
      return `  marked ${own.marked} early ${own.early} pdrop ${own.pdrop} other 0\n`;
    case "cake":
      return ` memory used: ${formatSize(own.memory_used)}\n\n${showTins(tins)}`;
    default:
      return "";
  }
}

function showTins(tins: readonly TinStats[]): string {
  const rows: [string, (tin: TinStats) => string | number][] = [
    ["", ({ name }) => name],
    ["thresh", ({ thresholdBps }) => formatRate(thresholdBps)],
    ["target", ({ targetMs }) => formatTime(targetMs)],
    ["interval", ({ intervalMs }) => formatTime(intervalMs)],
    ["pk_delay", ({ peakDelayMs }) => formatTime(peakDelayMs)],
    ["av_delay", ({ averageDelayMs }) => formatTime(averageDelayMs)],
    ["sp_delay", ({ baseDelayMs }) => formatTime(baseDelayMs)],
    ["backlog", ({ backlogBytes }) => formatSize(backlogBytes)],
    ["pkts", ({ packets }) => packets],
    ["bytes", ({ bytes }) => bytes],
    ["way_inds", ({ wayIndirectHits }) => wayIndirectHits],
    ["way_miss", ({ wayMisses }) => wayMisses],
    ["way_cols", ({ wayCollisions }) => wayCollisions],
    ["drops", ({ drops }) => drops],
    ["marks", ({ marks }) => marks],
    ["sp_flows", ({ sparseFlows }) => sparseFlows],
    ["bk_flows", ({ bulkFlows }) => bulkFlows],
    ["max_len", ({ maxPacket }) => maxPacket],
    ["quantum", ({ quantum }) => quantum],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(8)}${tins.map((tin) => String(value(tin)).padStart(15)).join("")}\n`).join("");
}
