/**
 * What passed a port, in the shape and under the names of `ip -s link` (Linux's rtnl_link_stats64). The data plane
 * counts what passes it; devices add what came to grief outside.
 */
import * as abi from "../../assembly/abi.ts";
import type { EngineMemory } from "./memory.ts";
import { portStat } from "./port-stat.ts";

export interface LinkStats {
  readonly rx: {
    readonly bytes: number;
    readonly packets: number;
    /** Frames no device should have brought: too short, too long, refused by the kernel. */
    readonly errors: number;
    /** Found no buffer or no place in the ring. */
    readonly dropped: number;
    /** Lost before the device could be read: its own rings were full. */
    readonly missed: number;
    /** Frames to a group, without broadcasts. */
    readonly mcast: number;
  };
  readonly tx: {
    readonly bytes: number;
    readonly packets: number;
    /** Refused by the device, `carrier` included. */
    readonly errors: number;
    /** Found no place in the ring or in the device's. */
    readonly dropped: number;
    /** Left while there was nobody on the other side. */
    readonly carrier: number;
    /** Always 0: no link of ours is shared by taking turns. */
    readonly collsns: number;
  };
}

/** Why a device lost a frame. */
export type LossReason = "rxErrors" | "rxDropped" | "rxMissed" | "txErrors" | "txDropped" | "txCarrier";

const FIELDS: Record<LossReason, number> = {
  rxErrors: abi.PORT_STAT_RX_ERRORS,
  rxDropped: abi.PORT_STAT_RX_DROPPED,
  rxMissed: abi.PORT_STAT_RX_MISSED,
  txErrors: abi.PORT_STAT_TX_ERRORS,
  txDropped: abi.PORT_STAT_TX_LOST,
  txCarrier: abi.PORT_STAT_TX_CARRIER,
};

/** Adds to the calling thread's own counters: it is worker 0. */
export function countLoss(memory: EngineMemory, port: number, reason: LossReason, frames: number, bytes: number): void {
  const at = memory.base(abi.REGION_PORT_STATS) + port * abi.PORT_STAT_SIZE;
  memory.u64[(at + FIELDS[reason]) >>> 3] += BigInt(frames);
  if (bytes > 0) memory.u64[(at + abi.PORT_STAT_UNSENT_BYTES) >>> 3] += BigInt(bytes);
}

export function readLinkStats(memory: EngineMemory, port: number): LinkStats {
  const sum = portStat(memory, port);
  const [refused, carrier, lost] = [abi.PORT_STAT_TX_ERRORS, abi.PORT_STAT_TX_CARRIER, abi.PORT_STAT_TX_LOST].map(sum);
  return {
    rx: {
      bytes: sum(abi.PORT_STAT_RX_BYTES),
      packets: sum(abi.PORT_STAT_RX_PACKETS),
      errors: sum(abi.PORT_STAT_RX_ERRORS),
      dropped: sum(abi.PORT_STAT_RX_DROPPED),
      missed: sum(abi.PORT_STAT_RX_MISSED),
      mcast: sum(abi.PORT_STAT_RX_MULTICAST),
    },
    tx: {
      bytes: sum(abi.PORT_STAT_TX_BYTES) - sum(abi.PORT_STAT_UNSENT_BYTES),
      packets: sum(abi.PORT_STAT_TX_PACKETS) - refused - carrier - lost,
      errors: refused + carrier,
      dropped: sum(abi.PORT_STAT_TX_DROPPED) + lost,
      carrier,
      collsns: 0,
    },
  };
}
