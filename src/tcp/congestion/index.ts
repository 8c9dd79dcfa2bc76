/** Congestion control by name, as TCP_CONGESTION takes it. */
import { invalid } from "../../base/errors.ts";
import { Bbr } from "./bbr/bbr.ts";
import type { CongestionControl } from "./control.ts";
import { Cubic } from "./cubic.ts";
import { Dctcp } from "./dctcp.ts";
import { Reno } from "./reno.ts";

const KINDS: Record<string, () => CongestionControl> = {
  cubic: () => new Cubic(),
  reno: () => new Reno(),
  bbr: () => new Bbr(),
  dctcp: () => new Dctcp(),
};

export const CONGESTION_NAMES: readonly string[] = Object.keys(KINDS);

export function congestionControl(name: string): CongestionControl {
  const make = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (!make) throw invalid(`"${name}" is no congestion control; expected one of ${CONGESTION_NAMES.join(", ")}`);
  return make();
}
