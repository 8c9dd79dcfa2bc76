/** Options of a qdisc with what is left out, as they are shown. */
import type { FqCodelOptions, FqOptions, TbfOptions } from "./options.ts";
import { bytesOf, FRAME } from "./plan.ts";

export const PRIOMAP = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];

export function fqCodelOf(options: FqCodelOptions) {
  const { limitPackets = 10_240, flows = 1024, quantumBytes = FRAME, targetMs = 5, intervalMs = 100, memoryBytes = 32 << 20 } = options;
  const { ceThresholdMs = 0, ecn = true, dropBatch = 64 } = options;
  return { limitPackets, flows, quantumBytes, targetMs, intervalMs, memoryBytes, ceThresholdMs, ecn, dropBatch };
}

export function fqOf(options: FqOptions) {
  const { limitPackets = 10_000, flowLimitPackets = 100, buckets = 1024, quantumBytes = 2 * FRAME } = options;
  const {
    initialQuantumBytes = 10 * FRAME,
    maxRateBps,
    ceThresholdMs = 0,
    refillDelayMs = 40,
    horizonMs = 10_000,
    horizonDrop = true,
  } = options;
  const sizes = { limitPackets, flowLimitPackets, buckets, quantumBytes, initialQuantumBytes };
  return { ...sizes, maxRateBps, ceThresholdMs, refillDelayMs, horizonMs, horizonDrop };
}

/** tc shows the latency that a limit stands for. */
export function tbfOf({ rateBps, burstBytes, limitBytes, latencyMs = 50, peakBps, mtuBytes = FRAME }: TbfOptions) {
  const limit = limitBytes ?? (bytesOf(rateBps) * latencyMs) / 1000 + burstBytes;
  return { rateBps, burstBytes, peakBps, mtuBytes, latencyMs: Math.max(((limit - burstBytes) / bytesOf(rateBps)) * 1000, 0) };
}
