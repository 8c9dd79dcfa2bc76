/**
 * Options become a tree of qdiscs in one block of memory (QDISC_*), and a list of what stands where in it, for statistics
 * and for tc's listing. Defaults are the kernel's. The larger kinds have files of their own.
 */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import { writeCake } from "./cake.ts";
import { writeHtb } from "./htb.ts";
import { Image } from "./image.ts";
import type {
  BfifoOptions,
  FqCodelOptions,
  FqOptions,
  PfifoOptions,
  PrioOptions,
  QdiscOptions,
  RedOptions,
  TbfOptions,
} from "./options.ts";
import { bytesOf, NANO, type Node, type Place, type Plan, writeFilters, writeFlows } from "./plan.ts";

const ROOT_HANDLE = 0x8001;
const UNLIMITED = 0xffffffff;
const DEFAULT_PRIOMAP = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
export function planTree(options: QdiscOptions, mtu: number): Plan {
  const plan: Plan = { image: new Image(), nodes: [], split: UNLIMITED };
  writeQdisc(plan, options, undefined, mtu);
  return plan;
}

const SIZES: Record<QdiscOptions["kind"], [kind: number, bytes: number]> = {
  pfifo: [abi.QKIND_FIFO, 128],
  bfifo: [abi.QKIND_FIFO, 128],
  prio: [abi.QKIND_PRIO, abi.QPRIO_SIZE],
  tbf: [abi.QKIND_TBF, abi.QTBF_SIZE],
  htb: [abi.QKIND_HTB, abi.QHTB_SIZE],
  fq: [abi.QKIND_FQ, abi.QFQ_SIZE],
  fq_codel: [abi.QKIND_FQ_CODEL, abi.QFC_SIZE],
  cake: [abi.QKIND_CAKE, abi.QCAKE_SIZE],
  red: [abi.QKIND_RED, abi.QRED_SIZE],
};

/** Writes a qdisc and everything below it; its offset. */
export function writeQdisc(plan: Plan, options: QdiscOptions, place: Place | undefined, mtu: number): number {
  const { image } = plan;
  const [kind, bytes] = SIZES[options.kind];
  const at = image.take(bytes);
  const handle = options.handle ?? (place ? 0 : ROOT_HANDLE);
  const parent = place && { handle: place.parent.handle, class: place.classId };
  const node: Node = { options, handle, parent, at, classes: [], tins: [] };
  plan.nodes.push(node);
  image.u32(at + abi.QDISC_KIND, kind);
  image.u32(at + abi.QDISC_HANDLE, (handle << 16) >>> 0);
  if (place) image.pointer(at + abi.QDISC_PARENT, place.parent.at);
  if (place?.classAt !== undefined) image.pointer(at + abi.QDISC_CLASS, place.classAt);
  image.u32(at + abi.QDISC_MOST_PACKETS, UNLIMITED);
  image.u32(at + abi.QDISC_MOST_BYTES, UNLIMITED);
  image.u32(at + abi.QDISC_FIRST, abi.NONE);
  writeKind(plan, node, mtu);
  return at;
}

function writeKind(plan: Plan, node: Node, mtu: number): void {
  const { options } = node;
  if (options.kind === "red") writeRed(plan, node, options);
  else if (options.kind === "prio") writePrio(plan, node, options, mtu);
  else if (options.kind === "tbf") writeTbf(plan, node, options, mtu);
  else if (options.kind === "htb") writeHtb(plan, node, options, mtu, writeQdisc);
  else if (options.kind === "fq") writeFq(plan, node, options, mtu);
  else if (options.kind === "fq_codel") writeFqCodel(plan, node, options, mtu);
  else if (options.kind === "cake") writeCake(plan, node, options);
  else writeFifo(plan, node, options, mtu);
}

function writeFifo({ image }: Plan, { at }: Node, options: PfifoOptions | BfifoOptions, mtu: number): void {
  if (options.kind === "pfifo") image.u32(at + abi.QDISC_MOST_PACKETS, options.limitPackets ?? 1000);
  else image.u32(at + abi.QDISC_MOST_BYTES, options.limitBytes ?? 1000 * (mtu + 14));
}

function writePrio(plan: Plan, node: Node, options: PrioOptions, mtu: number): void {
  const { image } = plan;
  const { at } = node;
  const { bands = 3, priomap = DEFAULT_PRIOMAP, children = [] } = options;
  if (priomap.length !== 16 || priomap.some((band) => band >= bands))
    throw invalid(`prio: the priomap is ${priomap.join(" ")}; expected 16 bands from 0 to ${bands - 1}`);
  image.u32(at + abi.QPRIO_BANDS, bands);
  image.bytes(at + abi.QPRIO_MAP, Uint8Array.from(priomap));
  const offsets: number[] = [];
  for (let band = 0; band < bands; band++) {
    const child = writeQdisc(plan, children[band] ?? { kind: "pfifo" }, { parent: node, classId: band + 1 }, mtu);
    offsets.push(child);
    image.pointer(at + abi.QPRIO_CHILDREN + 4 * band, child);
  }
  writeFilters(plan, node, options.filters, (id) => {
    if (id > bands) throw invalid(`prio: a filter sends to band ${id}; there are bands 1 to ${bands}`);
    return offsets[id - 1];
  });
}

function writeTbf(plan: Plan, node: Node, options: TbfOptions, mtu: number): void {
  const { image } = plan;
  const { at } = node;
  const rate = bytesOf(options.rateBps);
  const burst = options.burstBytes;
  const peakMtu = options.mtuBytes ?? mtu + 14;
  if (options.peakBps !== undefined && options.peakBps <= options.rateBps) throw invalid("tbf: peakBps must be greater than rateBps");
  const limit = options.limitBytes ?? (rate * (options.latencyMs ?? 50)) / 1000 + burst;
  image.u64(at + abi.QTBF_RATE, rate);
  image.u64(at + abi.QTBF_DEPTH, burst * NANO);
  image.u64(at + abi.QTBF_TOKENS, burst * NANO);
  if (options.peakBps !== undefined) {
    image.u64(at + abi.QTBF_PEAK, bytesOf(options.peakBps));
    image.u64(at + abi.QTBF_PEAK_DEPTH, peakMtu * NANO);
    image.u64(at + abi.QTBF_PEAK_TOKENS, peakMtu * NANO);
  }
  const most = options.peakBps === undefined ? burst : Math.min(burst, peakMtu);
  image.u32(at + abi.QTBF_MOST, most);
  image.u32(at + abi.QTBF_HAND, abi.NONE);
  plan.split = Math.min(plan.split, most);
  const child: QdiscOptions = options.child ?? { kind: "bfifo", limitBytes: Math.min(Math.round(limit), UNLIMITED - 1) };
  image.pointer(at + abi.QTBF_CHILD, writeQdisc(plan, child, { parent: node, classId: 1 }, mtu));
}

const powerOfTwo = (n: number) => 2 ** Math.ceil(Math.log2(n));

function writeFq({ image }: Plan, { at }: Node, options: FqOptions, mtu: number): void {
  const buckets = powerOfTwo(options.buckets ?? 1024);
  const flows = options.flows ?? 4096;
  image.u32(at + abi.QDISC_MOST_PACKETS, options.limitPackets ?? 10_000);
  image.u32(at + abi.QFQ_QUANTUM, options.quantumBytes ?? 2 * (mtu + 14));
  image.u32(at + abi.QFQ_INITIAL, options.initialQuantumBytes ?? 10 * (mtu + 14));
  image.u32(at + abi.QFQ_FLOW_LIMIT, options.flowLimitPackets ?? 100);
  image.u32(at + abi.QFQ_HORIZON_DROP, (options.horizonDrop ?? true) ? 1 : 0);
  image.u64(at + abi.QFQ_HORIZON, (options.horizonMs ?? 10_000) * 1e6);
  image.u64(at + abi.QFQ_REFILL, (options.refillDelayMs ?? 40) * 1e6);
  image.u64(at + abi.QFQ_CE_THRESHOLD, (options.ceThresholdMs ?? 0) * 1e6);
  if (options.maxRateBps !== undefined) image.u64(at + abi.QFQ_MAX_RATE, bytesOf(options.maxRateBps));
  image.u32(at + abi.QFQ_CONTROL_FIRST, abi.NONE);
  image.u32(at + abi.QFQ_FLOW_COUNT, flows);
  image.u32(at + abi.QFQ_MASK, buckets - 1);
  image.pointer(at + abi.QFQ_FLOWS, image.take(flows * abi.QFLOW_SIZE));
  image.pointer(at + abi.QFQ_BUCKETS, image.take(buckets * 4));
  image.pointer(at + abi.QFQ_HEAP, image.take(flows * 4));
}

function writeFqCodel({ image }: Plan, { at }: Node, options: FqCodelOptions, mtu: number): void {
  const flows = options.flows ?? 1024;
  const codel = at + abi.QFC_CODEL;
  image.u32(at + abi.QDISC_MOST_PACKETS, options.limitPackets ?? 10_240);
  image.u64(codel + abi.CODEL_TARGET, (options.targetMs ?? 5) * 1e6);
  image.u64(codel + abi.CODEL_INTERVAL, (options.intervalMs ?? 100) * 1e6);
  image.u64(codel + abi.CODEL_CE_THRESHOLD, (options.ceThresholdMs ?? 0) * 1e6);
  image.u32(codel + abi.CODEL_ECN, (options.ecn ?? true) ? 1 : 0);
  image.u32(at + abi.QFC_QUANTUM, options.quantumBytes ?? mtu + 14);
  image.u32(at + abi.QFC_BATCH, options.dropBatch ?? 64);
  image.u32(at + abi.QFC_MOST_MEMORY, options.memoryBytes ?? 32 << 20);
  image.u32(at + abi.QFC_FLOW_COUNT, flows);
  image.pointer(at + abi.QFC_FLOWS, writeFlows(image, flows));
}

/** Weight of the average: the smallest power of two below which `burst` packets at once are not yet noticed (Floyd and Jacobson §6). */
export function redLog({ minBytes, maxBytes, avpktBytes, burstPackets }: RedOptions): number {
  const burst = burstPackets ?? (2 * minBytes + maxBytes) / (3 * avpktBytes);
  const least = burst + 1 - minBytes / avpktBytes;
  if (least < 1)
    throw invalid(`red: burstPackets is ${burst}; expected more than ${Math.ceil(minBytes / avpktBytes)} (minBytes / avpktBytes)`);
  let log = 1;
  while (log < 31 && least > (1 - (1 - 2 ** -log) ** burst) * 2 ** log) log++;
  return log;
}

function writeRed({ image }: Plan, { at }: Node, options: RedOptions): void {
  const { minBytes, maxBytes, avpktBytes, limitBytes, probability = 0.02, bandwidthBps = 10e6 } = options;
  if (!(minBytes < maxBytes && maxBytes <= limitBytes)) throw invalid("red: expected minBytes < maxBytes <= limitBytes");
  image.u32(at + abi.QDISC_MOST_BYTES, limitBytes);
  const flags: [boolean | undefined, number][] = [
    [options.ecn, abi.QRED_ECN],
    [options.harddrop, abi.QRED_HARD_DROP],
    [options.adaptive, abi.QRED_ADAPTIVE],
    [options.nodrop, abi.QRED_NO_DROP],
  ];
  image.u32(
    at + abi.QRED_FLAGS,
    flags.reduce((all, [on, bit]) => (on ? all | bit : all), 0),
  );
  image.u32(at + abi.QRED_SINCE, 0xffffffff);
  image.f64(at + abi.QRED_LEAST, minBytes);
  image.f64(at + abi.QRED_MOST, maxBytes);
  image.f64(at + abi.QRED_PROBABILITY, probability);
  image.f64(at + abi.QRED_WEIGHT, 2 ** -redLog(options));
  image.f64(at + abi.QRED_MEAN, avpktBytes);
  image.f64(at + abi.QRED_MEAN_TIME, (avpktBytes * 8 * NANO) / bandwidthBps);
}
