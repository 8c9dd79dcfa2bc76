/**
 * Qdiscs in tc's words (tc(8), tc-fq_codel(8), tc-cake(8) …):
 *
 *   fq_codel limit 1000 target 5ms ecn
 *
 * One line is the root; with classes it is a list of lines, as `tc` takes them behind the device:
 *
 *   qdisc add root handle 1: htb default 10
 *   class add parent 1: classid 1:10 htb rate 50mbit ceil 100mbit
 *   qdisc add parent 1:10 handle 10: fq_codel
 *   filter add parent 1: handle 7 fw classid 1:10
 */
import { invalid } from "../base/errors.ts";
import type { Filter, HtbClass, HtbOptions, QdiscOptions } from "../queue/options.ts";
import { checkQdisc } from "../queue/options.ts";
import { classId, count, rate, ratio, size, time } from "./tc-units.ts";

type Read = (word: string | undefined, of: string) => unknown;
/** A word's option, and what stands behind the word; without the latter the word alone means `value`. */
type Word = readonly [option: string, read: Read] | readonly [option: string, read: undefined, value: unknown];

const flag = (option: string, value: unknown = true): Word => [option, undefined, value];
const isolation = (name: string): [string, Word] => [name, flag("isolation", name)];

const WORDS: Record<QdiscOptions["kind"], Readonly<Record<string, Word>>> = {
  pfifo: { limit: ["limitPackets", count] },
  bfifo: { limit: ["limitBytes", size] },
  prio: { bands: ["bands", count] },
  tbf: {
    rate: ["rateBps", rate],
    burst: ["burstBytes", size],
    buffer: ["burstBytes", size],
    limit: ["limitBytes", size],
    latency: ["latencyMs", time],
    peakrate: ["peakBps", rate],
    mtu: ["mtuBytes", size],
    minburst: ["mtuBytes", size],
  },
  htb: { default: ["default", (word) => classId(word).minor], r2q: ["r2q", count], direct_qlen: ["directPackets", count] },
  fq: {
    limit: ["limitPackets", count],
    flow_limit: ["flowLimitPackets", count],
    quantum: ["quantumBytes", size],
    initial_quantum: ["initialQuantumBytes", size],
    maxrate: ["maxRateBps", rate],
    buckets: ["buckets", count],
    refill_delay: ["refillDelayMs", time],
    horizon: ["horizonMs", time],
    horizon_drop: flag("horizonDrop"),
    horizon_cap: flag("horizonDrop", false),
    ce_threshold: ["ceThresholdMs", time],
  },
  fq_codel: {
    limit: ["limitPackets", count],
    flows: ["flows", count],
    target: ["targetMs", time],
    interval: ["intervalMs", time],
    quantum: ["quantumBytes", size],
    ecn: flag("ecn"),
    noecn: flag("ecn", false),
    ce_threshold: ["ceThresholdMs", time],
    memory_limit: ["memoryBytes", size],
    drop_batch: ["dropBatch", count],
  },
  cake: {
    bandwidth: ["bandwidthBps", rate],
    unlimited: flag("bandwidthBps", undefined),
    ...Object.fromEntries(["besteffort", "diffserv3", "diffserv4"].map((name) => [name, flag("diffserv", name)])),
    ...Object.fromEntries(
      ["flowblind", "srchost", "dsthost", "hosts", "flows", "dual-srchost", "dual-dsthost", "triple-isolate"].map(isolation),
    ),
    rtt: ["rttMs", time],
    overhead: ["overheadBytes", count],
    mpu: ["mpuBytes", count],
    noatm: flag("cells", "noatm"),
    atm: flag("cells", "atm"),
    ptm: flag("cells", "ptm"),
    raw: flag("overheadBytes", undefined),
    wash: flag("wash"),
    nowash: flag("wash", false),
    memlimit: ["memoryBytes", size],
  },
  red: {
    limit: ["limitBytes", size],
    min: ["minBytes", size],
    max: ["maxBytes", size],
    avpkt: ["avpktBytes", size],
    burst: ["burstPackets", count],
    probability: ["probability", ratio],
    bandwidth: ["bandwidthBps", rate],
    ecn: flag("ecn"),
    harddrop: flag("harddrop"),
    adaptive: flag("adaptive"),
    nodrop: flag("nodrop"),
  },
};

const CLASS_WORDS: Readonly<Record<string, Word>> = {
  rate: ["rateBps", rate],
  ceil: ["ceilBps", rate],
  burst: ["burstBytes", size],
  buffer: ["burstBytes", size],
  cburst: ["cburstBytes", size],
  quantum: ["quantumBytes", size],
  prio: ["prio", count],
};

function readWords(what: string, known: Readonly<Record<string, Word>>, words: readonly string[]): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (let i = 0; i < words.length; i++) {
    const word = Object.hasOwn(known, words[i]) ? known[words[i]] : undefined;
    if (!word) throw invalid(`tc: ${what} has no "${words[i]}"; expected one of ${Object.keys(known).join(", ")}`);
    const [option, read] = word;
    out[option] = read ? read(words[++i], `${what}'s ${words[i - 1]}`) : word[2];
  }
  return out;
}

/** "fq_codel limit 1000": a qdisc by itself, checked. */
function qdiscOf(words: readonly string[], handle?: number): QdiscOptions {
  const [kind, ...rest] = words;
  if (kind === undefined || !Object.hasOwn(WORDS, kind))
    throw invalid(`tc: there is no qdisc "${kind ?? ""}"; expected one of ${Object.keys(WORDS).join(", ")}`);
  const options = { kind, ...readWords(kind, WORDS[kind as QdiscOptions["kind"]], rest), ...(handle && { handle }) } as QdiscOptions;
  checkQdisc(options);
  return options;
}

export const wordsOf = (line: string) => line.trim().split(/\s+/).filter(Boolean);

/** A configuration's text: one qdisc, or lines. */
export function parseQdisc(text: string): QdiscOptions {
  const lines = text
    .split(/[\n;]/)
    .map(wordsOf)
    .filter((words) => words.length > 0);
  const isTree = lines.length > 1 || ["qdisc", "class", "filter"].includes(lines[0]?.[0]);
  if (!isTree) return qdiscOf(lines[0] ?? []);
  const tree = lines.reduce<QdiscOptions | undefined>(
    (now, [object, action, ...words]) => changeTree(now, object, action, words),
    undefined,
  );
  if (!tree) throw invalid("tc: no line makes a root; expected one such as qdisc add root handle 1: htb default 10");
  return tree;
}

/** What a line of tc makes of a tree; undefined: there is none. `words` are those behind the device. */
export function changeTree(
  tree: QdiscOptions | undefined,
  object: string,
  action: string,
  words: readonly string[],
): QdiscOptions | undefined {
  if (object === "qdisc") return changeQdisc(tree, action, words);
  if (object === "class") return changeClass(htbOf(tree), action, words);
  if (object === "filter") return addFilter(tree, action, words);
  throw invalid(`tc: there is no "${object}"; expected qdisc, class or filter`);
}

function changeQdisc(tree: QdiscOptions | undefined, action: string, words: readonly string[]): QdiscOptions | undefined {
  const { place, handle, rest } = placeOf(words);
  if (!["add", "replace", "change", "del", "delete"].includes(action))
    throw invalid(`tc: there is no "tc qdisc ${action}"; expected add, replace, change, del or show`);
  const isGone = action.startsWith("del");
  if (place === "root") {
    if (isGone && !tree) throw invalid("Error: Cannot delete qdisc with handle of zero.");
    if (action === "add" && tree) throw invalid("Error: Exclusivity flag on, cannot modify.");
    return isGone ? undefined : qdiscOf(rest, handle);
  }
  if (!tree) throw invalid("Error: Failed to find specified qdisc.");
  const child = isGone ? undefined : qdiscOf(rest, handle);
  if (tree.kind === "tbf") return { ...tree, child };
  if (tree.kind === "prio") {
    const children = [...(tree.children ?? [])];
    children[place.minor - 1] = child;
    return { ...tree, children };
  }
  const htb = htbOf(tree);
  if (!htb.classes?.some(({ id }) => id === place.minor)) throw invalid("Error: Specified class not found.");
  return { ...htb, classes: htb.classes.map((each) => (each.id === place.minor ? { ...each, qdisc: child } : each)) };
}

function changeClass(htb: HtbOptions, action: string, words: readonly string[]): HtbOptions {
  const { place, rest: all } = placeOf(words);
  const [at, rest] = takeWord(all, "classid");
  const { minor: id } = classId(at);
  const others = (htb.classes ?? []).filter((each) => each.id !== id);
  if (action.startsWith("del")) {
    if (others.length === htb.classes?.length) throw invalid("RTNETLINK answers: No such file or directory");
    return { ...htb, classes: others };
  }
  if (!["add", "change", "replace"].includes(action))
    throw invalid(`tc: there is no "tc class ${action}"; expected add, change, replace or del`);
  const old = htb.classes?.find((each) => each.id === id);
  if (action === "add" && old) throw invalid("RTNETLINK answers: File exists");
  const [kind, ...options] = rest;
  if (kind !== "htb") throw invalid(`tc: ${JSON.stringify(kind ?? "")} has no classes here; expected htb`);
  const parent = place === "root" || place.minor === 0 ? old?.parent : place.minor;
  const made = { ...old, id, ...(parent && { parent }), ...readWords("an htb class", CLASS_WORDS, options) } as HtbClass;
  const changed = { ...htb, classes: [...others, made] };
  checkQdisc(changed);
  return changed;
}

/** By mark: `filter add parent 1: [protocol all] [prio 1] handle 7[/0xff] fw classid 1:10`. */
function addFilter(tree: QdiscOptions | undefined, action: string, words: readonly string[]): QdiscOptions {
  if (action !== "add") throw invalid(`tc: there is no "tc filter ${action}"; expected add`);
  if (tree?.kind !== "htb" && tree?.kind !== "prio") throw invalid("Error: Specified qdisc is not classful.");
  let rest: readonly string[] = placeOf(words, false).rest;
  [, rest] = takeWord(rest, "protocol");
  [, rest] = takeWord(rest, "prio");
  const [given, afterHandle] = takeWord(rest, "handle");
  const [to, left] = takeWord(takeWord(afterHandle, "classid")[0] === undefined ? rename(afterHandle, "flowid") : afterHandle, "classid");
  const [mark, markMask] = (given ?? "").split("/").map(Number);
  if (left.join(" ") !== "fw" || !Number.isInteger(mark)) throw invalid("tc: expected a filter such as: handle 7 fw classid 1:10");
  const made: Filter = { match: { mark, ...(markMask !== undefined && { markMask }) }, class: classId(to).minor };
  const changed = { ...tree, filters: [...(tree.filters ?? []), made] };
  checkQdisc(changed);
  return changed;
}

const rename = (words: readonly string[], from: string) => words.map((word) => (word === from ? "classid" : word));

function htbOf(tree: QdiscOptions | undefined): HtbOptions {
  if (tree?.kind !== "htb") throw invalid("Error: Specified qdisc is not classful.");
  return tree;
}

/** `root` or `parent 1:10`, and `handle 1:`; what is left. */
function placeOf(words: readonly string[], withHandle = true) {
  const [parent, afterParent] = takeWord(words, "parent");
  const [handle, rest] = withHandle ? takeWord(afterParent, "handle") : [undefined, afterParent];
  const isRoot = rest.includes("root");
  if (parent === undefined && !isRoot) throw invalid("tc: expected root, or parent and a handle");
  return {
    place: parent === undefined ? ("root" as const) : classId(parent),
    handle: handle === undefined ? undefined : classId(handle).major,
    rest: rest.filter((word) => word !== "root"),
  };
}

/** The word behind `name`, and the words without the two. */
export function takeWord(words: readonly string[], name: string): [string | undefined, readonly string[]] {
  const at = words.indexOf(name);
  return at < 0 ? [undefined, words] : [words[at + 1] ?? "", [...words.slice(0, at), ...words.slice(at + 2)]];
}
