/** What a terminal sees: tables, progress, and one sentence for an error. Control codes only on a TTY. */
import cliProgress from "cli-progress";
import Table from "cli-table3";

export interface Progress {
  set(text: string): void;
  step(text: string): void;
  /** How far the current step is; seen on a terminal only. */
  detail(text: string): void;
  stop(): void;
}

/** A bar on stderr where that is a terminal; elsewhere a line for each step. */
export function progress(total: number, quiet: boolean): Progress {
  if (quiet) return { set() {}, step() {}, detail() {}, stop() {} };
  if (!process.stderr.isTTY) {
    const line = (text: string) => void process.stderr.write(`${text}\n`);
    return { set: line, step() {}, detail() {}, stop() {} };
  }
  const bar = new cliProgress.SingleBar(
    { format: " {bar} {percentage}%  {text}", hideCursor: true, clearOnComplete: true, stream: process.stderr },
    cliProgress.Presets.shades_classic,
  );
  bar.start(total, 0, { text: "" });
  return {
    set: (text) => bar.update({ text }),
    step: (text) => bar.increment(1, { text }),
    detail: (text) => bar.update({ text }),
    stop: () => bar.stop(),
  };
}

/** Numbers to the right, the first column to the left; no colours. */
export function table(head: string[], rows: (string | number)[][]): string {
  const out = new Table({
    head,
    colAligns: head.map((_, i) => (i === 0 ? "left" : "right")),
    style: { head: [], border: [], compact: true },
  });
  out.push(...rows);
  return out.toString();
}

export const decimal = (value: number, digits = 1) => value.toFixed(digits);

/** 1,234,567 */
export const grouped = (value: number) => Math.round(value).toLocaleString("en-US");

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 2 : 1)} MiB`;
}
