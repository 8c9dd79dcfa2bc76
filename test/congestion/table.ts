/** Throughput over RTT × loss × congestion control in virtual time, as a table in Markdown that can be read back. */
import { Flows } from "./flows.ts";

/** 10 Mbit/s, and a queue of what the path holds, 30 KB at least. */
export const RATE = 10e6;
export const RTTS = [10, 40, 100, 200] as const;
export const LOSSES = [0, 0.001, 0.01, 0.03] as const;
export const CONTROLS = ["reno", "cubic", "bbr"] as const;
export const MSS = 1448;
/** Of each frame of 1514 bytes 1448 are data. */
export const GOODPUT = (RATE * MSS) / 1514;
const SEED = 3;
/** Milliseconds at least, and so many losses at Reno's rate, that chance evens out; a quarter of it before that is not counted. */
const MEASURED = 10_000;
const LOSSES_SEEN = 40;

export interface Row {
  rtt: number;
  loss: number;
  /** Mbit/s of data: what Reno's window should give, and what there was, by congestion control. */
  theory: number;
  measured: number[];
}

/**
 * Bits a second that AIMD by one segment and a half gives: the mean window in segments is 1.31 / √loss when losses come at
 * random (Ott, Kemperman and Mathis 1996), 1.22 / √loss when they come at equal distances (Mathis et al. 1997).
 */
export function renoRate(rtt: number, loss: number, constant = 1.31): number {
  return (constant * MSS * 8000) / (rtt * Math.sqrt(loss));
}

/** RFC 9438 §5.1, equation 6 with C = 0.4 and β = 0.7: losses at equal distances; bits a second. */
export function cubicRate(rtt: number, loss: number): number {
  return (1.054 * ((rtt / 1000) ** 0.75 / loss ** 0.75) * MSS * 8000) / rtt;
}

/** What Reno should give. */
function theory(rtt: number, loss: number): number {
  return Math.min(GOODPUT * (1 - loss), loss > 0 ? renoRate(rtt, loss) : GOODPUT);
}

async function measure(congestion: string, rtt: number, loss: number): Promise<number> {
  const held = ((RATE / 8) * rtt) / 1000;
  const flows = await Flows.create({ rtt, rate: RATE, queue: Math.max(held, 30_000), loss }, SEED);
  flows.add({ congestion });
  const packets = theory(rtt, loss) / 8 / MSS;
  let ms = MEASURED;
  // BBR changes its mind every two to three seconds; the others with every loss.
  if (congestion === "bbr" && loss > 0.01) ms *= 3;
  else if (congestion !== "bbr" && loss > 0) ms = Math.max(ms, (1000 * LOSSES_SEEN) / (packets * loss));
  flows.measure(Math.max(4000, ms / 4));
  const [rate] = flows.measure(ms);
  return rate / 1e6;
}

export async function measureAll(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const rtt of RTTS) {
    for (const loss of LOSSES) {
      const measured: number[] = [];
      for (const congestion of CONTROLS) measured.push(await measure(congestion, rtt, loss));
      rows.push({ rtt, loss, theory: theory(rtt, loss) / 1e6, measured });
    }
  }
  return rows;
}

export function render(rows: readonly Row[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["RTT, ms", "loss, %", "theory for Reno", ...CONTROLS]),
    line(Array(3 + CONTROLS.length).fill("---:")),
    ...rows.map(({ rtt, loss, theory, measured }) =>
      line([`${rtt}`, `${100 * loss}`, theory.toFixed(2), ...measured.map((rate) => rate.toFixed(2))]),
    ),
  ].join("\n");
}

/** Rows of the table in a document. */
export function read(markdown: string): Row[] {
  return [...markdown.matchAll(/^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|(.*)\|$/gm)].map(([, rtt, loss, theory, rest]) => ({
    rtt: Number(rtt),
    loss: Number(loss) / 100,
    theory: Number(theory),
    measured: rest.split("|").map(Number),
  }));
}
