/**
 * The live view: what passes each interface, connections, drops by reason, who talks most. Text only; the terminal is the
 * command line's. Rates are differences between two looks.
 */
import type { Flow } from "../track/flow.ts";
import { PROTOCOL_NAMES } from "../track/flow.ts";
import type { RouterStatus } from "./status.ts";

/** What one look at a router finds. */
export interface Look {
  readonly atMs: number;
  readonly status: RouterStatus;
  /** Bytes of each flow, both ways, by its id and tuple. */
  readonly flows: ReadonlyMap<string, { readonly text: string; readonly bytes: number }>;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

const MOST_FLOWS_LOOKED_AT = 100_000;

/** What flows have carried, by their name. */
export function talk(flows: Iterable<Flow>): Look["flows"] {
  const seen = new Map<string, { text: string; bytes: number }>();
  for (const flow of flows) {
    if (seen.size >= MOST_FLOWS_LOOKED_AT) break;
    const text = flowName(flow);
    seen.set(`${flow.id} ${text}`, { text, bytes: flow.original.bytes + flow.reply.bytes });
  }
  return seen;
}

export function look(atMs: number, status: RouterStatus, flows: Iterable<Flow>): Look {
  return { atMs, status, flows: talk(flows) };
}

function flowName({ protocol, original: { src, dst, sport, dport } }: Flow): string {
  const end = (address: unknown, port: number | undefined) => {
    const text = String(address);
    return port === undefined ? text : text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`;
  };
  return `${PROTOCOL_NAMES[protocol] ?? protocol} ${end(src, sport)} → ${end(dst, dport)}`;
}

/** 1234567 → "1.23M" */
export function short(value: number): string {
  const units = ["", "k", "M", "G", "T"];
  let i = 0;
  let left = value;
  while (left >= 1000 && i < units.length - 1) {
    left /= 1000;
    i++;
  }
  return i === 0 ? String(Math.round(left)) : `${left.toPrecision(3)}${units[i]}`;
}

interface Rates {
  readonly name: string;
  readonly rxBps: number;
  readonly txBps: number;
  readonly rxPps: number;
  readonly txPps: number;
}

/** An interface that was made anew counts from zero: nothing is below it. */
const rise = (now: number, before: number | undefined) => Math.max(0, now - (before ?? now));

function rates(now: Look, before: Look): Rates[] {
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  return now.status.interfaces.map(({ name, stats }) => {
    const old = before.status.interfaces.find((each) => each.name === name)?.stats;
    return {
      name,
      rxBps: (8 * rise(stats.rx.bytes, old?.rx.bytes)) / seconds,
      txBps: (8 * rise(stats.tx.bytes, old?.tx.bytes)) / seconds,
      rxPps: rise(stats.rx.packets, old?.rx.packets) / seconds,
      txPps: rise(stats.tx.packets, old?.tx.packets) / seconds,
    };
  });
}

function drops(now: Look, before: Look): [string, number, number][] {
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  return Object.entries(now.status.drops)
    .map(([reason, count]): [string, number, number] => [reason, count, (count - (before.status.drops[reason] ?? 0)) / seconds])
    .sort((a, b) => b[2] - a[2] || b[1] - a[1]);
}

function talkers(now: Look, before: Look): [string, number][] {
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  return [...now.flows]
    .map(([key, { text, bytes }]): [string, number] => [text, (8 * (bytes - (before.flows.get(key)?.bytes ?? 0))) / seconds])
    .filter(([, bps]) => bps > 0)
    .sort((a, b) => b[1] - a[1]);
}

const uptime = (ms: number) => {
  const seconds = Math.floor(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((each) => String(each).padStart(2, "0")).join(":");
};

/** For where there is no terminal: everything that matters in one line. */
export function topLine(now: Look, before: Look): string {
  const all = rates(now, before).map(
    ({ name, rxBps, txBps, rxPps, txPps }) =>
      `${name} rx ${short(rxBps)}bit/s ${short(rxPps)}p/s tx ${short(txBps)}bit/s ${short(txPps)}p/s`,
  );
  const lost = drops(now, before).reduce((sum, [, , rate]) => sum + rate, 0);
  const { conntrack } = now.status;
  return [
    `up ${uptime(now.status.uptimeMs)}`,
    ...all,
    ...(conntrack ? [`flows ${conntrack.entries}`] : []),
    `drops ${short(lost)}p/s`,
  ].join("; ");
}

/** A screen full, never more: no line longer than the terminal is wide, none below its end. */
export function topScreen(now: Look, before: Look, { columns, rows }: Size): string[] {
  const { status } = now;
  const { conntrack, problems } = status;
  const pad = (text: string, width: number) => text.padStart(width);
  const lines = [
    `packetloom router   up ${uptime(status.uptimeMs)}   flows ${conntrack ? `${short(conntrack.entries)} of ${short(conntrack.max)}` : "not tracked"}   buffers free ${short(status.buffers.free)}   q quits`,
    ...problems.map((each) => `! ${each}`),
    "",
    `${"INTERFACE".padEnd(16)}${["RX bit/s", "RX p/s", "TX bit/s", "TX p/s", "STATE"].map((head) => pad(head, 12)).join("")}`,
    ...rates(now, before).map(({ name, rxBps, rxPps, txBps, txPps }) => {
      const link = status.interfaces.find((each) => each.name === name);
      const state = link?.up ? (link.carrier ? "up" : "no carrier") : "down";
      return `${name.padEnd(16)}${[short(rxBps), short(rxPps), short(txBps), short(txPps), state].map((cell) => pad(cell, 12)).join("")}`;
    }),
    "",
    `${"DROPS".padEnd(40)}${pad("p/s", 10)}${pad("total", 10)}`,
    ...drops(now, before)
      .slice(0, 6)
      .map(([reason, count, rate]) => `${reason.padEnd(40)}${pad(short(rate), 10)}${pad(short(count), 10)}`),
  ];
  if (conntrack) {
    lines.push("", `${"TOP TALKERS".padEnd(Math.max(20, columns - 10))}${pad("bit/s", 10)}`);
    const room = Math.max(0, rows - lines.length);
    const width = Math.max(20, columns - 10);
    for (const [text, bps] of talkers(now, before).slice(0, room))
      lines.push(`${text.slice(0, width - 1).padEnd(width)}${pad(short(bps), 10)}`);
  }
  return lines.slice(0, rows).map((line) => line.slice(0, columns));
}
