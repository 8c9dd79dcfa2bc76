/**
 * Policers of a port: what is over a rate is dropped, marked, or given another DSCP, on its way in or out.
 *
 *   const police = attachPolicers(engine, port, "in", [{ kind: "srtcm", rateBps: 10e6, burstBytes: 20_000 }]);
 *   police.stats()[0].red.packets;
 */
import * as abi from "../../assembly/abi.ts";
import {
  amount,
  anything,
  checkArgument,
  checkOptions,
  type Expectation,
  either,
  listOf,
  oneOf,
  shaped,
  whole,
  yesNo,
} from "../base/options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { Image } from "./image.ts";
import { writeMatch } from "./match.ts";
import { type Match, matchOptions } from "./options.ts";
import { bytesOf, NANO } from "./plan.ts";
import { spaceOf } from "./space.ts";

export type PoliceAction = "pass" | "drop" | { mark: number } | { dscp: number };

export interface PolicerOptions {
  /** Single rate (RFC 2697), or two rates (RFC 2698). */
  kind: "srtcm" | "trtcm";
  rateBps: number;
  burstBytes: number;
  /** srtcm: what an idle time may save up beside the burst. Default 0: nothing is yellow. */
  excessBytes?: number;
  /** trtcm. */
  peakBps?: number;
  peakBurstBytes?: number;
  /** A packet comes with a colour: the drop precedence of its DSCP (AFx1 green, AFx2 yellow, AFx3 red). */
  colourAware?: boolean;
  /** What happens to each colour. Defaults: pass, pass, drop. */
  green?: PoliceAction;
  yellow?: PoliceAction;
  red?: PoliceAction;
  /** Which packets; absent: all. */
  match?: Match;
}

export interface ColourStats {
  readonly packets: number;
  readonly bytes: number;
}

export interface PolicerStats {
  readonly green: ColourStats;
  readonly yellow: ColourStats;
  readonly red: ColourStats;
}

const action: Expectation = either(oneOf("pass", "drop"), shaped("action", { mark: whole(0, 2 ** 32 - 1), dscp: whole(0, 63) }));
const OPTIONS: Record<string, Expectation> = {
  kind: oneOf("srtcm", "trtcm"),
  rateBps: amount("bits a second", 8),
  burstBytes: whole(1, 2 ** 32 - 1),
  excessBytes: whole(0, 2 ** 32 - 1),
  peakBps: amount("bits a second", 8),
  peakBurstBytes: whole(1, 2 ** 32 - 1),
  colourAware: yesNo,
  green: action,
  yellow: action,
  red: action,
  match: matchOptions,
};

export interface Policers {
  readonly options: readonly PolicerOptions[];
  stats(): PolicerStats[];
  remove(): void;
}

const attached = new WeakMap<Engine, Map<string, Policers>>();

/** Gives a port policers, instead of those it has in this direction. The first whose match fits decides. */
export function attachPolicers(engine: Engine, port: Port, direction: "in" | "out", list: readonly PolicerOptions[]): Policers {
  checkArgument("policers", "direction", direction, oneOf("in", "out"));
  checkArgument("policers", "list", list, listOf(anything));
  const known = attached.get(engine) ?? new Map<string, Policers>();
  attached.set(engine, known);
  const name = `${port.index} ${direction}`;
  for (const options of list) checkPolicer(options);
  const { memory } = engine;
  const space = spaceOf(engine);
  const image = new Image();
  const offsets = list.map(() => image.take(abi.POLICER_SIZE));
  list.forEach((options, i) => {
    writePolicer(image, offsets[i], options);
    if (i + 1 < list.length) image.pointer(offsets[i] + abi.POLICER_NEXT, offsets[i + 1]);
  });
  const at = image.size === 0 ? 0 : space.take(image.size);
  image.place(memory, at);
  known.get(name)?.remove();
  const word = memory.port(port.index) + (direction === "in" ? abi.PORT_POLICE_IN : abi.PORT_POLICE_OUT);
  memory.setU32(word, at);
  let isThere = true;
  const policers: Policers = {
    options: list,
    stats: () => (isThere ? offsets.map((offset) => readPolicer(engine, at + offset)) : []),
    remove() {
      if (!isThere) return;
      isThere = false;
      memory.setU32(word, 0);
      if (image.size > 0) space.giveLater(at, image.size);
      known.delete(name);
    },
  };
  known.set(name, policers);
  return policers;
}

function checkPolicer(options: PolicerOptions): void {
  const required = ["kind", "rateBps", "burstBytes", ...(options?.kind === "trtcm" ? ["peakBps", "peakBurstBytes"] : [])];
  checkOptions("policer", OPTIONS, options, required);
}

function writePolicer(image: Image, at: number, options: PolicerOptions): void {
  const isTwo = options.kind === "trtcm";
  const excess = (isTwo ? options.peakBurstBytes : options.excessBytes) ?? 0;
  image.u32(at + abi.POLICER_KIND, isTwo ? abi.POLICER_TWO_RATES : abi.POLICER_SINGLE_RATE);
  image.u32(at + abi.POLICER_AWARE, options.colourAware ? 1 : 0);
  image.u64(at + abi.POLICER_RATE, bytesOf(options.rateBps));
  image.u64(at + abi.POLICER_PEAK, bytesOf(options.peakBps ?? 0));
  image.u64(at + abi.POLICER_DEPTH, options.burstBytes * NANO);
  image.u64(at + abi.POLICER_TOKENS, options.burstBytes * NANO);
  image.u64(at + abi.POLICER_EXCESS_DEPTH, excess * NANO);
  image.u64(at + abi.POLICER_EXCESS_TOKENS, excess * NANO);
  const { green = "pass", yellow = "pass", red = "drop" } = options;
  [green, yellow, red].forEach((what, colour) => {
    const [code, value] = codeOf(what);
    image.u8(at + abi.POLICER_ACTIONS + colour, code);
    image.u32(at + abi.POLICER_VALUES + 4 * colour, value);
  });
  if (options.match) writeMatch(image, at + abi.POLICER_FILTER, options.match);
}

function codeOf(what: PoliceAction): [code: number, value: number] {
  if (what === "pass") return [abi.POLICE_PASS, 0];
  if (what === "drop") return [abi.POLICE_DROP, 0];
  return "mark" in what ? [abi.POLICE_MARK, what.mark] : [abi.POLICE_DSCP, what.dscp];
}

function readPolicer({ memory }: Engine, at: number): PolicerStats {
  const colour = (index: number): ColourStats => ({
    packets: memory.getU64(at + abi.POLICER_PACKETS + 8 * index),
    bytes: memory.getU64(at + abi.POLICER_BYTES + 8 * index),
  });
  return { green: colour(abi.COLOUR_GREEN), yellow: colour(abi.COLOUR_YELLOW), red: colour(abi.COLOUR_RED) };
}
