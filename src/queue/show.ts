/** What `tc [-s] qdisc show`, `class show` and `filter show` print. */
import { levelOf } from "./htb.ts";
import type { ReadFilter } from "./match-words.ts";
import type { HtbClass, HtbOptions, Match, QdiscOptions } from "./options.ts";
import { bytesOf, FRAME } from "./plan.ts";
import type { Policers } from "./police.ts";
import type { QdiscReport } from "./queue.ts";
import { showOptions, showOwn } from "./show-kinds.ts";
import type { QueueStats } from "./stats.ts";
import { formatId, formatRate, formatSize } from "./units.ts";

/** Of what keeps no count. */
export const NOTHING: QueueStats = {
  sentBytes: 0,
  sentPackets: 0,
  dropped: 0,
  overlimits: 0,
  requeues: 0,
  backlogBytes: 0,
  backlogPackets: 0,
};

/** Lines that every qdisc and class has. */
function showStats(stats: QueueStats): string {
  const { sentBytes, sentPackets, dropped, overlimits, requeues, backlogBytes, backlogPackets } = stats;
  return (
    ` Sent ${sentBytes} bytes ${sentPackets} pkt (dropped ${dropped}, overlimits ${overlimits} requeues ${requeues}) \n` +
    ` backlog ${formatSize(backlogBytes)} ${backlogPackets}p requeues ${requeues}\n`
  );
}

/** A device and what is attached to it; `dev`: its name, where it is told. */
export interface ShownDevice {
  readonly dev: string | undefined;
  readonly report: readonly QdiscReport[];
  readonly hasClsact: boolean;
}

/** What of a device is to be shown: everything, or what is there, below that parent, or of that name. */
export interface Wanted {
  readonly place?: "root" | "ingress" | "egress";
  readonly parent?: { readonly major: number; readonly minor: number };
  readonly id?: { readonly major: number; readonly minor: number };
}

/** Leaves that nobody made have no handle and are not shown. */
export function shownQdiscs(report: readonly QdiscReport[], { place, parent, id }: Wanted): QdiscReport[] {
  return report.filter((qdisc) => {
    if (qdisc.handle === 0 || place === "ingress" || (place === "root" && qdisc.parent)) return false;
    if (parent && !(qdisc.parent?.handle === parent.major && qdisc.parent.class === parent.minor)) return false;
    return !id || qdisc.handle === id.major;
  });
}

/** Whether the place of filters, or that there is no queue, is to be shown among them. */
export const showsClsact = ({ hasClsact }: ShownDevice, { place, parent, id }: Wanted) =>
  hasClsact && place !== "root" && !parent && (!id || id.major === 0xffff);
export const showsNothing = ({ report }: ShownDevice, { place, parent, id }: Wanted) =>
  report.every(({ handle }) => handle === 0) && place !== "ingress" && !parent && !id;

export function showQdiscs(device: ShownDevice, wanted: Wanted, statistics: boolean): string {
  const dev = device.dev === undefined ? "" : ` dev ${device.dev}`;
  const qdiscs = shownQdiscs(device.report, wanted).map((qdisc) => {
    const { options, handle, parent } = qdisc;
    const where = parent ? `parent ${formatId(parent.handle, parent.class)}` : "root refcnt 2";
    const line = `qdisc ${options.kind} ${formatId(handle)}${dev} ${where} ${showOptions(options, qdisc)}\n`;
    return statistics ? line + showStats(qdisc) + showOwn(qdisc) : line;
  });
  const nothing = statistics ? showStats(NOTHING) : "";
  if (showsNothing(device, wanted)) qdiscs.push(`qdisc noqueue 0:${dev} root refcnt 2 \n${nothing}`);
  if (showsClsact(device, wanted)) qdiscs.push(`qdisc clsact ffff:${dev} parent ffff:fff1 \n${nothing}`);
  return qdiscs.join("");
}

export function showClasses(report: readonly QdiscReport[], wanted: Wanted, statistics: boolean): string {
  return report
    .map((qdisc) => {
      if (qdisc.options.kind === "htb") return showHtb(report, qdisc, qdisc.options, wanted, statistics);
      if (qdisc.options.kind === "prio") return showBands(report, qdisc, wanted, statistics);
      return qdisc.options.kind === "tbf" && qdisc.handle !== 0 ? showBucket(report, qdisc, wanted, statistics) : "";
    })
    .join("");
}

/** Is a class of a qdisc asked for? As in Linux all of the parent's qdisc are, and none by `root`. */
function isClassWanted({ place, parent, id }: Wanted, handle: number, minor: number): boolean {
  if (id && !(id.major === handle && id.minor === minor)) return false;
  return place !== "root" && (!parent || parent.major === handle);
}

function leafOf(report: readonly QdiscReport[], handle: number, id: number): string {
  const leaf = report.find(({ parent }) => parent?.handle === handle && parent.class === id);
  return leaf && leaf.handle !== 0 ? `leaf ${formatId(leaf.handle)} ` : "";
}

function showHtb(
  report: readonly QdiscReport[],
  { handle, classes }: QdiscReport,
  options: HtbOptions,
  wanted: Wanted,
  statistics: boolean,
): string {
  const list = options.classes ?? [];
  const byId = new Map(list.map((cls) => [cls.id, cls]));
  const parents = new Set(list.flatMap(({ parent }) => (parent === undefined ? [] : [parent])));
  return classes
    .filter(({ id }) => isClassWanted(wanted, handle, id))
    .map((stats) => {
      const cls = byId.get(stats.id) as HtbClass;
      const ceil = cls.ceilBps ?? cls.rateBps;
      const isLeaf = levelOf(cls, byId, parents) === 0;
      const where = cls.parent === undefined ? "root" : `parent ${formatId(handle, cls.parent)}`;
      const prio = isLeaf ? `${leafOf(report, handle, cls.id)}prio ${cls.prio ?? 0} ` : "";
      const bursts = `burst ${formatSize(cls.burstBytes ?? FRAME + 86)} cburst ${formatSize(cls.cburstBytes ?? FRAME + 86)}`;
      const line = `class htb ${formatId(handle, cls.id)} ${where} ${prio}rate ${formatRate(cls.rateBps)} ceil ${formatRate(ceil)} ${bursts} \n`;
      if (!statistics) return line;
      // The kernel counts tokens in units of 64 ns of the rate.
      const ticks = (bytes: number, bitsPerSecond: number) => Math.floor((bytes * 1e9) / bytesOf(bitsPerSecond) / 64);
      const debts = ` tokens: ${ticks(stats.tokens, cls.rateBps)} ctokens: ${ticks(stats.ctokens, ceil)}\n\n`;
      return `${line}${showStats(stats)} lended: ${stats.lended} borrowed: ${stats.borrowed} giants: ${stats.giants}\n${debts}`;
    })
    .join("");
}

function showBands(report: readonly QdiscReport[], { handle }: QdiscReport, wanted: Wanted, statistics: boolean): string {
  return report
    .filter(({ parent }) => parent?.handle === handle && isClassWanted(wanted, handle, parent.class))
    .map((child) => {
      const id = child.parent?.class ?? 0;
      const line = `class prio ${formatId(handle, id)} parent ${formatId(handle)} ${leafOf(report, handle, id)}\n`;
      return statistics ? line + showStats(child) : line;
    })
    .join("");
}

/** tbf has one class, without statistics. */
function showBucket(report: readonly QdiscReport[], { handle }: QdiscReport, wanted: Wanted, statistics: boolean): string {
  if (!isClassWanted(wanted, handle, 1)) return "";
  return `class tbf ${formatId(handle, 1)} parent ${formatId(handle)} ${leafOf(report, handle, 1)}\n${statistics ? "\n" : ""}`;
}

// ── Filters ─────────────────────────────────────────────────────────────────────────────────────

function showMatch(match: Match): string {
  const range = (ports: Match["sourcePort"]) => (typeof ports === "object" ? ports.join("-") : ports);
  const keys: [string, string | number | undefined][] = [
    ["mark", match.mark === undefined ? undefined : `0x${match.mark.toString(16)}/0x${(match.markMask ?? 0xffffffff).toString(16)}`],
    ["ip_proto", match.protocol],
    ["ip_tos", match.tos === undefined ? undefined : `0x${match.tos.toString(16)}/0x${(match.tosMask ?? 0xff).toString(16)}`],
    ["src_ip", match.source],
    ["dst_ip", match.destination],
    ["src_port", range(match.sourcePort)],
    ["dst_port", range(match.destinationPort)],
  ];
  return keys.map(([key, value]) => (value === undefined ? "" : `  ${key} ${value}\n`)).join("");
}

const familyOf = (match: Match) => (match.family === undefined ? "all" : match.family === 4 ? "ip" : "ipv6");
const prefOf = (prio: number | undefined) => (prio === undefined ? "" : `pref ${prio} `);
const filtersOf = (options: QdiscOptions) => (options.kind === "htb" || options.kind === "prio" ? (options.filters ?? []) : []);

interface Filtered extends ShownDevice {
  readonly policers: Record<"in" | "out", { filters: readonly ReadFilter[]; attached?: Policers }>;
}

/** Of the root, unless another place is asked for. */
export function showFilters({ report: all, policers }: Filtered, { place = "root", parent }: Wanted, statistics: boolean): string {
  const report = place === "root" ? all.filter(({ handle }) => !parent || handle === parent.major) : [];
  const sides = (["in", "out"] as const).filter((side) => place === (side === "in" ? "ingress" : "egress"));
  const classes = report.flatMap(({ handle, options }) =>
    filtersOf(options).map(
      ({ match, class: id, prio }) =>
        `filter parent ${formatId(handle)} protocol ${familyOf(match)} ${prefOf(prio)}flower classid ${formatId(handle, id)}\n${showMatch(match)}`,
    ),
  );
  const polices = sides.flatMap((side) =>
    policers[side].filters.map(({ match, police, prio }, i) => {
      const head = `filter ${side === "in" ? "ingress" : "egress"} protocol ${familyOf(match)} ${prefOf(prio)}flower\n${showMatch(match)}`;
      const stats = policers[side].attached?.stats()[i];
      const rate = `  police rate ${formatRate(police?.rateBps ?? 0)} burst ${formatSize(police?.burstBytes ?? 0)} action ${police?.red ?? "drop"}\n`;
      if (!statistics || !stats) return head + rate;
      const all = [stats.green, stats.yellow, stats.red];
      const sum = (what: "packets" | "bytes") => all.reduce((total, each) => total + each[what], 0);
      const over = stats.red.packets + stats.yellow.packets;
      const dropped = police?.red === "pass" ? 0 : over;
      return `${head}${rate}  Sent ${sum("bytes")} bytes ${sum("packets")} pkt (dropped ${dropped}, overlimits ${over} requeues 0) \n`;
    }),
  );
  return [...classes, ...polices].join("");
}
