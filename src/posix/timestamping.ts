/**
 * SO_TIMESTAMP, SO_TIMESTAMPNS and SO_TIMESTAMPING (Documentation/networking/timestamping.rst): when what is read came, and
 * when what was sent left and was acknowledged. Software's times only: there is no hardware below.
 */
import type { Host } from "../host/host.ts";
import * as c from "./constants.ts";
import { EINVAL, EOPNOTSUPP } from "./errno.ts";
import type { ControlMessage } from "./message.ts";
import type { Settings } from "./settings.ts";

/** All bits up to SOF_TIMESTAMPING_TX_COMPLETION (Linux 6.18). */
const KNOWN = 2 * c.SOF_TIMESTAMPING_TX_COMPLETION - 1;
/** What a control message of one send may ask for (SOF_TIMESTAMPING_TX_RECORD_MASK). */
const RECORDED =
  c.SOF_TIMESTAMPING_TX_HARDWARE |
  c.SOF_TIMESTAMPING_TX_SOFTWARE |
  c.SOF_TIMESTAMPING_TX_SCHED |
  c.SOF_TIMESTAMPING_TX_ACK |
  c.SOF_TIMESTAMPING_TX_COMPLETION;
/** What software can tell of a send. */
const TOLD = c.SOF_TIMESTAMPING_TX_SOFTWARE | c.SOF_TIMESTAMPING_TX_SCHED | c.SOF_TIMESTAMPING_TX_ACK;
const NANOSECONDS = 1_000_000_000n;

/** 0, or why these flags cannot be. */
export function checkTimestamping(flags: number): number {
  if (flags & ~KNOWN) return -EINVAL;
  if (flags & c.SOF_TIMESTAMPING_OPT_ID_TCP && !(flags & c.SOF_TIMESTAMPING_OPT_ID)) return -EINVAL;
  if (!(flags & c.SOF_TIMESTAMPING_OPT_STATS)) return 0;
  return flags & c.SOF_TIMESTAMPING_OPT_TSONLY ? -EOPNOTSUPP : -EINVAL;
}

/** What one send is to be told of: the socket's flags, or those of its control message; or a negative error. */
export function sendFlags(settings: Settings, control: readonly ControlMessage[] | undefined): number {
  let flags = settings.timestamping;
  for (const { level, type, data } of control ?? []) {
    if (level !== c.SOL_SOCKET || type !== c.SO_TIMESTAMPING) continue;
    const asked = data.length === 4 ? new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true) : ~0;
    if (asked & ~RECORDED) return -EINVAL;
    flags = (flags & ~RECORDED) | asked;
  }
  return flags & TOLD;
}

/** Nanoseconds since 1970 of a time of the stack; on a virtual clock since its beginning. */
function wallTime(host: Host, ms: number): bigint {
  return BigInt(Math.round((ms + (host.engine.clock.epoch ?? 0)) * 1e6));
}

/** struct timespec, or with `unit` 1000 struct timeval. */
function timespec(at: bigint, unit = 1n): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setBigInt64(0, at / NANOSECONDS, true);
  view.setBigInt64(8, (at % NANOSECONDS) / unit, true);
  return out;
}

/** struct scm_timestamping: software's time, and two that are hardware's. */
export function scmTimestamping(host: Host, ms: number): ControlMessage {
  const data = new Uint8Array(48);
  data.set(timespec(wallTime(host, ms)));
  return { level: c.SOL_SOCKET, type: c.SO_TIMESTAMPING, data };
}

/** When what is read came, as the socket wants to know it. */
export function tellArrival(control: ControlMessage[], settings: Settings, host: Host, ms: number): void {
  const { stamps, timestamping } = settings;
  if (stamps === "us") control.push({ level: c.SOL_SOCKET, type: c.SO_TIMESTAMP, data: timespec(wallTime(host, ms), 1000n) });
  if (stamps === "ns") control.push({ level: c.SOL_SOCKET, type: c.SO_TIMESTAMPNS, data: timespec(wallTime(host, ms)) });
  const both = c.SOF_TIMESTAMPING_RX_SOFTWARE | c.SOF_TIMESTAMPING_SOFTWARE;
  if ((timestamping & both) === both) control.push(scmTimestamping(host, ms));
}
