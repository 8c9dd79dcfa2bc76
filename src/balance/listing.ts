/** Services as a terminal shows them: ipvsadm's three listings (`-L`, `--stats`, `--rate`), with the states of backends. */
import type { ServiceStats } from "./stats.ts";

export type Listing = "state" | "stats" | "rate";

type Row = Pick<
  ServiceStats,
  "activeConns" | "conns" | "inPkts" | "outPkts" | "inBytes" | "outBytes" | "cps" | "inPps" | "outPps" | "inBps" | "outBps"
>;

const COLUMNS: Record<Exclude<Listing, "state">, readonly (readonly [string, (row: Row) => number])[]> = {
  stats: [
    ["Conns", (row) => row.conns],
    ["InPkts", (row) => row.inPkts],
    ["OutPkts", (row) => row.outPkts],
    ["InBytes", (row) => row.inBytes],
    ["OutBytes", (row) => row.outBytes],
  ],
  rate: [
    ["CPS", (row) => row.cps],
    ["InPPS", (row) => row.inPps],
    ["OutPPS", (row) => row.outPps],
    ["InBPS", (row) => row.inBps],
    ["OutBPS", (row) => row.outBps],
  ],
};

export function listServices(services: readonly ServiceStats[], what: Listing = "state"): string {
  const columns = what === "state" ? [] : COLUMNS[what];
  const numbers = (row: Row) => columns.map(([, value]) => String(Math.round(value(row))));
  const rows: string[][] = [
    what === "state"
      ? ["Prot LocalAddress:Port", "Scheduler", "Forward", "Weight", "ActiveConn", "State"]
      : ["Prot LocalAddress:Port", ...columns.map(([name]) => name)],
  ];
  for (const service of services) {
    const [protocol, address] = service.name.split(" ");
    const title = `${protocol.toUpperCase().padEnd(4)} ${address}`;
    rows.push(
      what === "state" ? [title, service.scheduler, service.mode, "", String(service.activeConns), ""] : [title, ...numbers(service)],
    );
    for (const backend of service.backends) {
      const { name, weight, fraction, activeConns, state } = backend;
      const shown = state === "slow-start" ? `${state} ${Math.round(100 * fraction)} %` : state;
      rows.push([
        `  -> ${name}`,
        ...(what === "state" ? ["", service.mode, String(weight), String(activeConns), shown] : numbers(backend)),
      ]);
    }
  }
  return aligned(rows, what === "state" ? [0, 1, 2, 5] : [0]);
}

/** Columns of text to the left, numbers to the right. */
function aligned(rows: readonly string[][], left: readonly number[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const cell = (text: string, column: number) => (left.includes(column) ? text.padEnd(widths[column]) : text.padStart(widths[column]));
  return rows.map((row) => `${row.map(cell).join("  ").trimEnd()}\n`).join("");
}
