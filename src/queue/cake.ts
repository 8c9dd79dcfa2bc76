/** cake's tins, in memory: which DSCP goes where, and what share of the rate each tin has (Høiland-Jørgensen and others, 2018, §3.3). */
import * as abi from "../../assembly/abi.ts";
import type { CakeIsolation, CakeOptions } from "./options.ts";
import { bytesOf, FRAME, type Node, type Plan, writeFlows } from "./plan.ts";

interface Tin {
  name: string;
  /** Share of the rate below which it goes first. */
  share: number;
  dscps: readonly number[];
}

const BEST_EFFORT: Tin = { name: "Best Effort", share: 1, dscps: [] };
/** CS1, and the "lower effort" of RFC 8622. */
const BULK: Tin = { name: "Bulk", share: 1 / 16, dscps: [8, 1] };

/** The last tin that is within its share goes first; the first takes every DSCP that no other names. */
export const TINS: Record<NonNullable<CakeOptions["diffserv"]>, readonly Tin[]> = {
  besteffort: [{ ...BEST_EFFORT, name: "Tin 0" }],
  // Voice: TOS4, VA, EF, CS6, CS7.
  diffserv3: [BEST_EFFORT, BULK, { name: "Voice", share: 1 / 4, dscps: [4, 44, 46, 48, 56] }],
  diffserv4: [
    BEST_EFFORT,
    BULK,
    // CS2, CS3 and AF2x to AF4x.
    { name: "Video", share: 1 / 2, dscps: [16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38] },
    { name: "Voice", share: 1 / 4, dscps: [4, 40, 44, 46, 48, 56] },
  ],
};

const ISOLATION: Record<CakeIsolation, number> = {
  flowblind: 0,
  srchost: abi.QCAKE_BY_SOURCE,
  dsthost: abi.QCAKE_BY_DESTINATION,
  hosts: abi.QCAKE_BY_SOURCE | abi.QCAKE_BY_DESTINATION,
  flows: abi.QCAKE_FLOWS,
  "dual-srchost": abi.QCAKE_FLOWS | abi.QCAKE_BY_SOURCE,
  "dual-dsthost": abi.QCAKE_FLOWS | abi.QCAKE_BY_DESTINATION,
  "triple-isolate": abi.QCAKE_FLOWS | abi.QCAKE_BY_SOURCE | abi.QCAKE_BY_DESTINATION,
};
const CELLS = { noatm: abi.QCAKE_NO_CELLS, atm: abi.QCAKE_ATM, ptm: abi.QCAKE_PTM };
const ETHERNET = 14;
const LEAST_MEMORY = 4 << 20;
/** A turn of a flow: a frame, or less on a slow link. */
const LEAST_TURN = 300;

export interface TinParameters {
  rateBps: number;
  targetNs: number;
  intervalNs: number;
  turn: number;
}

/** What a tin's rate makes of target, interval and turn: a target shorter than one and a half packets would only drop. */
export function tinParameters(bandwidthBps: number | undefined, tinShare: number, rttMs: number): TinParameters {
  const rateBps = (bandwidthBps ?? 0) * tinShare;
  const interval = rttMs * 1e6;
  const target = interval / 20;
  if (bandwidthBps === undefined) return { rateBps: 0, targetNs: target, intervalNs: interval, turn: FRAME };
  const packet = (FRAME * 8e9) / rateBps;
  const targetNs = Math.max(1.5 * packet, target);
  const turn = Math.max(Math.min(Math.floor(bytesOf(rateBps) / 4096), FRAME), LEAST_TURN);
  return { rateBps, targetNs, intervalNs: Math.max(interval + targetNs - target, 2 * targetNs), turn };
}

export function writeCake(plan: Plan, node: Node, options: CakeOptions): void {
  const { image } = plan;
  const { at } = node;
  const { bandwidthBps, rttMs = 100, overheadBytes } = options;
  const tins = TINS[options.diffserv ?? "diffserv3"];
  const flows = 2 ** Math.ceil(Math.log2(options.flows ?? 1024));
  if (bandwidthBps !== undefined) image.u64(at + abi.QCAKE_RATE, bytesOf(bandwidthBps));
  image.u32(at + abi.QCAKE_OVERHEAD, overheadBytes === undefined ? 0 : overheadBytes - ETHERNET);
  image.u32(at + abi.QCAKE_LEAST, options.mpuBytes ?? 0);
  image.u32(at + abi.QCAKE_CELLS, CELLS[options.cells ?? "noatm"]);
  image.u32(at + abi.QCAKE_ISOLATION, ISOLATION[options.isolation ?? "triple-isolate"]);
  image.u32(at + abi.QCAKE_TINS, tins.length);
  image.u32(at + abi.QCAKE_WASH, options.wash ? 1 : 0);
  const memory = bandwidthBps === undefined ? 32 << 20 : Math.max(bytesOf(bandwidthBps) * (rttMs / 1000) * 4, LEAST_MEMORY);
  image.u32(at + abi.QCAKE_MOST_MEMORY, Math.min(options.memoryBytes ?? memory, 0xffff_ffff));
  tins.forEach((tin, i) => {
    for (const dscp of tin.dscps) image.u8(at + abi.QCAKE_TIN_OF + dscp, i);
    const offset = writeTin(plan, tin, flows, tinParameters(bandwidthBps, tin.share, rttMs));
    image.pointer(at + abi.QCAKE_TIN + 4 * i, offset);
    node.tins.push(offset);
  });
  // Large segments are cut, so that flows take turns by packets.
  plan.split = 0;
}

function writeTin({ image }: Plan, tin: Tin, flows: number, { rateBps, targetNs, intervalNs, turn }: TinParameters): number {
  const at = image.take(abi.QTIN_SIZE);
  image.u64(at + abi.CODEL_TARGET, targetNs);
  image.u64(at + abi.CODEL_INTERVAL, intervalNs);
  image.u32(at + abi.CODEL_ECN, 1);
  if (rateBps > 0) image.u64(at + abi.QTIN_RATE, bytesOf(rateBps));
  image.u32(at + abi.QTIN_QUANTUM, turn);
  image.u32(at + abi.QTIN_WEIGHT, Math.round(16 * FRAME * tin.share));
  image.u32(at + abi.QTIN_FLOW_COUNT, flows);
  image.pointer(at + abi.QTIN_FLOWS, writeFlows(image, flows));
  image.pointer(at + abi.QTIN_SOURCES, image.take(flows * abi.QHOST_SIZE));
  image.pointer(at + abi.QTIN_DESTINATIONS, image.take(flows * abi.QHOST_SIZE));
  return at;
}
