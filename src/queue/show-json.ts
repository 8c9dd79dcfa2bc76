/** What `tc -j [-s] qdisc show` prints: iproute2's names, rates in bytes a second and times in microseconds. */
import type { CakeOptions, FqCodelOptions, FqOptions, QdiscOptions, RedOptions, TbfOptions } from "./options.ts";
import { bytesOf, FRAME } from "./plan.ts";
import type { QdiscReport } from "./queue.ts";
import { NOTHING, type ShownDevice, shownQdiscs, showsClsact, showsNothing, type Wanted } from "./show.ts";
import { fqCodelOf, fqOf, PRIOMAP, tbfOf } from "./shown.ts";
import type { QueueStats, TinStats } from "./stats.ts";
import { formatId } from "./units.ts";

type Json = Readonly<Record<string, unknown>>;

const microseconds = (ms: number) => Math.round(ms * 1000);

export function qdiscsJson(device: ShownDevice, wanted: Wanted, statistics: boolean): Json[] {
  const dev = device.dev === undefined ? {} : { dev: device.dev };
  const stats = (of: QueueStats) => (statistics ? statsJson(of) : {});
  const all: Json[] = shownQdiscs(device.report, wanted).map((qdisc) => {
    const { options, handle, parent } = qdisc;
    const where = parent ? { parent: formatId(parent.handle, parent.class) } : { root: true, refcnt: 2 };
    const head = { kind: options.kind, handle: formatId(handle), ...dev, ...where, options: optionsJson(options, qdisc) };
    return { ...head, ...stats(qdisc), ...(statistics && ownJson(qdisc)) };
  });
  if (showsNothing(device, wanted))
    all.push({ kind: "noqueue", handle: "0:", ...dev, root: true, refcnt: 2, options: {}, ...stats(NOTHING) });
  if (showsClsact(device, wanted))
    all.push({ kind: "clsact", handle: "ffff:", ...dev, parent: "ffff:fff1", options: {}, ...stats(NOTHING) });
  return all;
}

function statsJson({ sentBytes, sentPackets, dropped, overlimits, requeues, backlogBytes, backlogPackets }: QueueStats): Json {
  return { bytes: sentBytes, packets: sentPackets, drops: dropped, overlimits, requeues, backlog: backlogBytes, qlen: backlogPackets };
}

function optionsJson(options: QdiscOptions, { own }: QdiscReport): Json {
  switch (options.kind) {
    case "pfifo":
      return { limit: options.limitPackets ?? 1000 };
    case "bfifo":
      return { limit: options.limitBytes ?? 1000 * FRAME };
    case "prio":
      return { bands: options.bands ?? 3, priomap: options.priomap ?? PRIOMAP, multiqueue: false };
    case "htb":
      return {
        r2q: options.r2q ?? 10,
        default: options.default ? `0x${options.default.toString(16)}` : "0",
        direct_packets_stat: own.direct_packets_stat,
        direct_qlen: options.directPackets ?? 1000,
      };
    case "fq_codel":
      return fqCodelJson(options);
    case "tbf":
      return tbfJson(options);
    case "fq":
      return fqJson(options);
    case "red":
      return redJson(options);
    case "cake":
      return cakeJson(options);
  }
}

function tbfJson(options: TbfOptions): Json {
  const { rateBps, burstBytes, peakBps, mtuBytes, latencyMs } = tbfOf(options);
  return {
    rate: bytesOf(rateBps),
    burst: burstBytes,
    ...(peakBps !== undefined && { minburst: mtuBytes }),
    lat: microseconds(latencyMs),
  };
}

function fqCodelJson(options: FqCodelOptions): Json {
  const { limitPackets, flows, quantumBytes, targetMs, intervalMs, memoryBytes, ceThresholdMs, ecn, dropBatch } = fqCodelOf(options);
  return {
    limit: limitPackets,
    flows,
    quantum: quantumBytes,
    target: microseconds(targetMs),
    ...(ceThresholdMs && { ce_threshold: microseconds(ceThresholdMs) }),
    interval: microseconds(intervalMs),
    memory_limit: memoryBytes,
    ...(ecn && { ecn }),
    drop_batch: dropBatch,
  };
}

function fqJson(options: FqOptions): Json {
  const it = fqOf(options);
  return {
    limit: it.limitPackets,
    flow_limit: it.flowLimitPackets,
    buckets: it.buckets,
    quantum: it.quantumBytes,
    initial_quantum: it.initialQuantumBytes,
    ...(it.maxRateBps !== undefined && { maxrate: bytesOf(it.maxRateBps) }),
    refill_delay: microseconds(it.refillDelayMs),
    ...(it.ceThresholdMs && { ce_threshold: microseconds(it.ceThresholdMs) }),
    horizon: microseconds(it.horizonMs),
    [it.horizonDrop ? "horizon_drop" : "horizon_cap"]: null,
  };
}

function redJson(options: RedOptions): Json {
  const { limitBytes, minBytes, maxBytes } = options;
  const flags = (["ecn", "harddrop", "adaptive", "nodrop"] as const).filter((name) => options[name]);
  return { limit: limitBytes, min: minBytes, max: maxBytes, ...Object.fromEntries(flags.map((name) => [name, true])) };
}

function cakeJson(options: CakeOptions): Json {
  const { bandwidthBps, overheadBytes } = options;
  const isRaw = overheadBytes === undefined;
  return {
    bandwidth: bandwidthBps === undefined ? "unlimited" : bytesOf(bandwidthBps),
    diffserv: options.diffserv ?? "diffserv3",
    flowmode: options.isolation ?? "triple-isolate",
    nat: false,
    wash: options.wash ?? false,
    ingress: false,
    "ack-filter": "disabled",
    split_gso: true,
    rtt: microseconds(options.rttMs ?? 100),
    raw: isRaw,
    ...(!isRaw && { atm: options.cells ?? "noatm" }),
    overhead: overheadBytes ?? 0,
    ...(options.mpuBytes && { mpu: options.mpuBytes }),
  };
}

/** The numbers that only one kind keeps. */
function ownJson({ options, own, tins }: QdiscReport): Json {
  const some = (...names: string[]) => Object.fromEntries(names.map((name) => [name, own[name]]));
  const told = (...names: string[]) => some(...names.filter((name) => own[name]));
  switch (options.kind) {
    case "fq_codel":
      return {
        ...some("maxpacket", "drop_overlimit", "new_flow_count", "ecn_mark"),
        ...told("ce_mark"),
        ...(own.drop_overmemory && some("memory_used", "drop_overmemory")),
        ...some("new_flows_len", "old_flows_len"),
      };
    case "fq": {
      const rest = told("flows_plimit", "horizon_drops", "horizon_caps", "ce_mark");
      return { ...some("flows", "inactive", "throttled", "gc", "highprio"), throttled_total: own.throttles, ...rest };
    }
    case "red":
      return { ...some("marked", "early", "pdrop"), other: 0 };
    case "cake":
      return { memory_used: own.memory_used, tins: tins.map(tinJson) };
    default:
      return {};
  }
}

function tinJson(tin: TinStats): Json {
  return {
    threshold_rate: bytesOf(tin.thresholdBps),
    sent_bytes: tin.bytes,
    backlog_bytes: tin.backlogBytes,
    target_us: microseconds(tin.targetMs),
    interval_us: microseconds(tin.intervalMs),
    peak_delay_us: microseconds(tin.peakDelayMs),
    avg_delay_us: microseconds(tin.averageDelayMs),
    base_delay_us: microseconds(tin.baseDelayMs),
    sent_packets: tin.packets,
    way_indirect_hits: tin.wayIndirectHits,
    way_misses: tin.wayMisses,
    way_collisions: tin.wayCollisions,
    drops: tin.drops,
    ecn_mark: tin.marks,
    ack_drops: 0,
    sparse_flows: tin.sparseFlows,
    bulk_flows: tin.bulkFlows,
    unresponsive_flows: 0,
    max_pkt_len: tin.maxPacket,
    flow_quantum: tin.quantum,
  };
}
