/** Linux's union tcp_cc_info (include/uapi/linux/inet_diag.h): what a congestion control tells of itself, as bytes. */
import type { CongestionControl } from "../tcp/congestion/control.ts";
import { intBytes } from "./options.ts";

/** Linux's BBR_UNIT and DCTCP_MAX_ALPHA: one, in its fractions. */
const GAIN_UNIT = 256;
const ALPHA_UNIT = 1024;

/** Of those that have nothing to tell, none. */
export function encodeControlInfo(control: CongestionControl): Uint8Array {
  const state = control.state();
  const of = (name: string) => Number(state[name] ?? 0);
  if (control.name === "bbr") {
    // Bytes a second in two words, microseconds, gains.
    const bandwidth = BigInt(Math.round(of("bw")));
    const words = [Number(bandwidth & 0xffff_ffffn), Number(bandwidth >> 32n), Math.round(of("min_rtt") * 1000)];
    return intBytes(...words, Math.round(of("pacing_gain") * GAIN_UNIT), Math.round(of("cwnd_gain") * GAIN_UNIT));
  }
  if (control.name !== "dctcp") return new Uint8Array(0);
  // Enabled, and whether the last segment was marked: two halves of a word.
  return intBytes(1, Math.round(of("alpha") * ALPHA_UNIT), of("window_marked"), of("window_bytes"));
}
