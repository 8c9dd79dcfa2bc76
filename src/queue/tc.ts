/**
 * tc's commands on ports of an engine.
 *
 *   const tc = new Tc(engine, { wan: engine.port(1) });
 *   tc.run("tc qdisc add dev wan root fq_codel limit 10240 target 5ms");
 *   tc.run("tc -s qdisc show dev wan");
 *
 * What is said here becomes options of a whole tree, which takes the place of the old one with what waits in it. Clsact's
 * ingress and egress carry filters with `action police`.
 */
import { invalid, LoomError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { planTree } from "./build.ts";
import { type ReadFilter, readFamily, readFilter, setMark } from "./match-words.ts";
import type { Filter, HtbOptions, PrioOptions, QdiscOptions } from "./options.ts";
import { attachPolicers, type Policers } from "./police.ts";
import { attachQueue, type PortQueue, queueOf } from "./queue.ts";
import { showClasses, showFilters, showQdiscs, type Wanted } from "./show.ts";
import { qdiscsJson } from "./show-json.ts";
import { formatId, parseId, parseNumber } from "./units.ts";
import { readClass, readQdisc, Words } from "./words.ts";

/** First of the handles that are given to qdiscs nobody named. */
const FIRST_HANDLE = 0x8001;

type Draft<T> = { -readonly [K in keyof T]: T[K] };
type Direction = "in" | "out";

interface PortState {
  readonly name: string;
  readonly port: Port;
  root: QdiscOptions | undefined;
  /** Somebody has made a place for filters at ingress and egress. */
  hasClsact: boolean;
  readonly policers: Record<Direction, { filters: ReadFilter[]; attached?: Policers }>;
}

/** How something is shown. */
interface Manner {
  statistics: boolean;
  json: boolean;
  pretty: boolean;
}

/** Words in front of the object. */
const MANNERS: Record<string, keyof Manner> = {
  "-s": "statistics",
  "-stats": "statistics",
  "-statistics": "statistics",
  "-j": "json",
  "-json": "json",
  "-p": "pretty",
  "-pretty": "pretty",
};

function readManner(words: Words): Manner {
  const how = { statistics: false, json: false, pretty: false };
  for (let word = words.takeIf(...Object.keys(MANNERS)); word !== undefined; word = words.takeIf(...Object.keys(MANNERS)))
    how[MANNERS[word]] = true;
  return how;
}

/** Which of all is to be shown. */
function readWanted(object: string, words: Words): Wanted & { dev?: string } {
  const wanted: Draft<Wanted> & { dev?: string } = {};
  while (words.next !== undefined) {
    if (words.takeIf("dev")) wanted.dev = words.take("the name");
    else if (words.takeIf("root")) wanted.place = "root";
    else if (object !== "class" && words.takeIf("ingress")) wanted.place = "ingress";
    else if (object === "filter" && words.takeIf("egress")) wanted.place = "egress";
    else if (object === "qdisc" && words.takeIf("clsact")) wanted.place = "ingress";
    else if (words.takeIf("parent")) wanted.parent = parseId(words.take("the parent"));
    else if (words.takeIf(object === "class" ? "classid" : "handle")) wanted.id = parseId(words.take("the id"));
    else throw invalid(`What is "${words.next}"? Try "tc ${object} help".`);
  }
  return wanted;
}

/** Reads commands as they would be run one after the other, and runs none; throws for the first that would fail. */
export function tryCommands(commands: readonly (readonly string[])[], dev: string): void {
  const tc = new Tc(undefined, { [dev]: {} as Port });
  for (const command of commands) tc.run(command);
}

/** Of a link that has not said. */
const USUAL_MTU = 1500;

export class Tc {
  private readonly engine: Engine | undefined;
  private ports: ReadonlyMap<string, PortState> = new Map();
  private nextHandle = FIRST_HANDLE;

  /** Without an engine nothing comes of what is said: commands are tried. */
  constructor(engine: Engine | undefined, ports: Readonly<Record<string, Port>>) {
    this.engine = engine;
    this.use(ports);
  }

  /** The interfaces from now on. What is not among them any more loses its queue and its filters. */
  use(ports: Readonly<Record<string, Port>>): void {
    for (const state of this.ports.values()) {
      // Whoever has the port now has made its queue.
      if (Object.values(ports).includes(state.port)) continue;
      this.queueAt(state.port)?.remove();
      for (const { attached } of Object.values(state.policers)) attached?.remove();
    }
    const kept = (name: string, port: Port) => {
      const state = this.ports.get(name);
      return state?.port === port ? state : this.fresh(name, port);
    };
    this.ports = new Map(Object.entries(ports).map(([name, port]) => [name, kept(name, port)]));
  }

  private queueAt(port: Port): PortQueue | undefined {
    return this.engine && queueOf(this.engine, port);
  }

  private fresh(name: string, port: Port): PortState {
    return {
      name,
      port,
      root: this.queueAt(port)?.options,
      hasClsact: false,
      policers: { in: { filters: [] }, out: { filters: [] } },
    };
  }

  /** Does what a command says; what tc would print. */
  run(command: string | readonly string[]): string {
    const list = typeof command === "string" ? command.split(/\s+/).filter(Boolean) : command;
    const words = new Words(list);
    words.takeIf("tc");
    const how = readManner(words);
    const object = words.take("what it is about (qdisc, class, filter)");
    if (!["qdisc", "class", "filter"].includes(object)) throw invalid(`tc: there is no "${object}"; expected qdisc, class or filter`);
    const verb = words.next === undefined ? "show" : words.take("the command");
    if (verb === "show" || verb === "list" || verb === "ls") return this.show(object, words, how);
    const dev = words.take('"dev"');
    if (dev !== "dev") throw invalid(`tc: "${dev}" stands where "dev NAME" was expected`);
    const state = this.state(words.take("the name of the interface"));
    if (object === "qdisc") this.qdisc(verb, state, words);
    else if (object === "class") this.class(verb, state, words);
    else this.filter(verb, state, words);
    return "";
  }

  private state(name: string): PortState {
    const state = this.ports.get(name);
    if (!state) throw new LoomError("ENODEV", `tc: there is no interface "${name}"; there are ${[...this.ports.keys()].join(", ")}`);
    return state;
  }

  private show(object: string, words: Words, { statistics, json, pretty }: Manner): string {
    const wanted = readWanted(object, words);
    const states = wanted.dev === undefined ? [...this.ports.values()] : [this.state(wanted.dev)];
    const devices = states.map((state) => ({
      dev: wanted.dev === undefined ? state.name : undefined,
      report: this.queueAt(state.port)?.report() ?? [],
      hasClsact: state.hasClsact,
      policers: state.policers,
    }));
    if (object === "class") return devices.map(({ report }) => showClasses(report, wanted, statistics)).join("");
    if (object === "filter") return devices.map((device) => showFilters(device, wanted, statistics)).join("");
    if (!json) return devices.map((device) => showQdiscs(device, wanted, statistics)).join("");
    return `${JSON.stringify(
      devices.flatMap((device) => qdiscsJson(device, wanted, statistics)),
      undefined,
      pretty ? 4 : 0,
    )}\n`;
  }

  /** Makes the port's queue what its state says. */
  private apply(state: PortState, root: QdiscOptions | undefined): void {
    if (!root) this.queueAt(state.port)?.remove();
    else if (this.engine) attachQueue(this.engine, state.port, root);
    else planTree(root, USUAL_MTU);
    state.root = root;
  }

  // ── qdisc ─────────────────────────────────────────────────────────────────────────────────────

  private qdisc(verb: string, state: PortState, words: Words): void {
    let parent: { major: number; minor: number } | undefined;
    let handle: number | undefined;
    for (let word = words.next; ; word = words.next) {
      if (words.takeIf("root")) parent = undefined;
      else if (words.takeIf("parent")) parent = parseId(words.take("the parent"));
      else if (words.takeIf("handle")) handle = parseId(words.take("the handle")).major;
      else if (word === undefined && !isRemoval(verb)) throw invalid("tc: the kind of the qdisc is missing");
      else break;
    }
    if (words.takeIf("clsact", "ingress")) {
      state.hasClsact = !isRemoval(verb);
      if (isRemoval(verb)) for (const side of ["in", "out"] as const) this.police(state, side, []);
      return;
    }
    if (isRemoval(verb)) {
      if (!state.root) throw new LoomError("ENOENT", `tc: ${state.name} has no qdisc`);
      this.apply(state, parent ? this.hang(state, parent, undefined) : undefined);
      return;
    }
    const kind = words.take("the kind");
    const read = readQdisc(kind, words);
    const there = parent ? undefined : state.root;
    if (verb === "add" && there)
      throw new LoomError("EEXIST", `tc: ${state.name} has a root qdisc already; replace it, or delete it first`);
    const before = verb === "change" && there?.kind === kind ? there : undefined;
    if (verb === "change" && !before) throw new LoomError("ENOENT", `tc: there is no ${kind} to change at ${state.name}`);
    const made = { ...before, ...read, handle: handle ?? before?.handle ?? this.nextHandle } as QdiscOptions;
    this.apply(state, parent ? this.hang(state, parent, made) : made);
    if (made.handle === this.nextHandle) this.nextHandle++;
  }

  /** The tree with a qdisc in another place of it. */
  private hang(state: PortState, at: { major: number; minor: number }, qdisc: QdiscOptions | undefined): QdiscOptions {
    return edit(state, at.major, (parent) => {
      if (parent.kind === "htb") {
        const cls = (parent.classes ?? []).find(({ id }) => id === at.minor);
        if (!cls) throw new LoomError("ENOENT", `tc: there is no class ${formatId(at.major, at.minor)}`);
        return { ...parent, classes: (parent.classes ?? []).map((each) => (each === cls ? { ...cls, qdisc } : each)) };
      }
      if (parent.kind === "prio") {
        const children = Array.from({ length: parent.bands ?? 3 }, (_, i) => (i === at.minor - 1 ? qdisc : parent.children?.[i]));
        return { ...parent, children };
      }
      if (parent.kind === "tbf") return { ...parent, child: qdisc };
      throw invalid(`tc: ${parent.kind} has no classes for a qdisc to hang on`);
    });
  }

  // ── class ─────────────────────────────────────────────────────────────────────────────────────

  private class(verb: string, state: PortState, words: Words): void {
    let parent: { major: number; minor: number } | undefined;
    let id: { major: number; minor: number } | undefined;
    for (;;) {
      if (words.takeIf("parent")) parent = parseId(words.take("the parent"));
      else if (words.takeIf("classid")) id = parseId(words.take("the class id"));
      else break;
    }
    if (!id) throw invalid("tc: classid MAJOR:MINOR is missing");
    const { major, minor } = id;
    const tree = edit(state, major, (qdisc) => {
      if (qdisc.kind !== "htb") throw invalid(`tc: classes are of htb; ${formatId(major)} is ${qdisc.kind}`);
      const there = (qdisc.classes ?? []).find((cls) => cls.id === minor);
      const others = (qdisc.classes ?? []).filter((cls) => cls.id !== minor);
      if (isRemoval(verb))
        return { ...qdisc, classes: withoutClass(qdisc, minor), filters: qdisc.filters?.filter((f) => f.class !== minor) };
      if (verb === "add" && there) throw new LoomError("EEXIST", `tc: class ${formatId(major, minor)} exists already`);
      if (verb === "change" && !there) throw new LoomError("ENOENT", `tc: there is no class ${formatId(major, minor)} to change`);
      if (words.take("htb") !== "htb") throw invalid("tc: classes are of htb here");
      const above = parent && parent.minor !== 0 ? parent.minor : there?.parent;
      return { ...qdisc, classes: [...others, { ...there, ...readClass(words), id: minor, parent: above }] };
    });
    this.apply(state, tree);
  }

  // ── filter ────────────────────────────────────────────────────────────────────────────────────

  private filter(verb: string, state: PortState, words: Words): void {
    let parent = state.root?.handle ?? 0;
    let side: Direction | undefined;
    let family: 4 | 6 | undefined;
    let kind: string | undefined;
    let mark: string | undefined;
    let prio: number | undefined;
    while (kind === undefined && words.next !== undefined) {
      if (words.takeIf("parent")) parent = parseId(words.take("the parent")).major;
      else if (words.takeIf("ingress")) side = "in";
      else if (words.takeIf("egress")) side = "out";
      else if (words.takeIf("protocol")) family = readFamily(words.take("the protocol"));
      else if (words.takeIf("prio", "pref")) prio = parseNumber(words.take("the priority"));
      else if (words.takeIf("handle")) mark = words.take("the handle");
      else kind = words.take("the classifier");
    }
    if (isRemoval(verb)) {
      if (side) this.police(state, side, without(state.policers[side].filters, prio));
      else
        this.apply(
          state,
          edit(state, parent, (qdisc) => ({ ...classful(qdisc), filters: without(classful(qdisc).filters ?? [], prio) })),
        );
      return;
    }
    if (kind === undefined) throw invalid("tc: the classifier is missing; expected u32, fw, flower or matchall");
    const read = readFilter(kind, words, family);
    if (mark !== undefined && kind === "fw") setMark(mark, read.match);
    if (side) {
      if (!read.police) throw invalid(`tc: a filter at ${side === "in" ? "ingress" : "egress"} needs "action police" here`);
      this.police(state, side, inOrder(state.policers[side].filters, { ...read, prio }));
      return;
    }
    const { target } = read;
    if (!target) throw invalid("tc: the filter sends nowhere; expected flowid MAJOR:MINOR");
    const filter: Filter = { match: read.match, class: target.minor, prio };
    this.apply(
      state,
      edit(state, parent, (qdisc) => ({ ...classful(qdisc), filters: inOrder(classful(qdisc).filters ?? [], filter) })),
    );
  }

  private police(state: PortState, side: Direction, filters: ReadFilter[]): void {
    const there = state.policers[side];
    const list = filters.flatMap(({ match, police }) => (police ? [{ ...police, match }] : []));
    if (list.length === 0) there.attached?.remove();
    if (list.length > 0) state.hasClsact = true;
    const attached = list.length > 0 && this.engine ? attachPolicers(this.engine, state.port, side, list) : undefined;
    state.policers[side] = { filters, attached };
  }
}

/** What the kernel gives the first filter that names no priority; later ones come before it. */
const FIRST_PRIO = 0xc000;

/** With one more, those with lower priorities first; of one priority, as they were added. */
function inOrder<Kind extends { prio?: number }>(filters: readonly Kind[], added: Kind): Kind[] {
  const lowest = filters.reduce((least, { prio = FIRST_PRIO }) => Math.min(least, prio), FIRST_PRIO + 1);
  const one = { ...added, prio: added.prio || Math.max(1, lowest - 1) };
  return [...filters, one].sort((a, b) => (a.prio ?? FIRST_PRIO) - (b.prio ?? FIRST_PRIO));
}

function without<Kind extends { prio?: number }>(filters: readonly Kind[], prio: number | undefined): Kind[] {
  if (prio === undefined) return [];
  const left = filters.filter((each) => each.prio !== prio);
  if (left.length === filters.length) throw new LoomError("ENOENT", `tc: there is no filter with priority ${prio}`);
  return left;
}

const isRemoval = (verb: string) => verb === "del" || verb === "delete";

function classful(qdisc: QdiscOptions): HtbOptions | PrioOptions {
  if (qdisc.kind === "htb" || qdisc.kind === "prio") return qdisc;
  throw invalid(`tc: ${qdisc.kind} has no classes to send to`);
}

function withoutClass(qdisc: HtbOptions, minor: number): HtbOptions["classes"] {
  const list = qdisc.classes ?? [];
  if (list.some(({ parent }) => parent === minor)) throw new LoomError("EBUSY", `tc: class ${minor.toString(16)} has classes below it`);
  if (!list.some(({ id }) => id === minor)) throw new LoomError("ENOENT", `tc: there is no class ${minor.toString(16)}`);
  return list.filter(({ id }) => id !== minor);
}

/** The tree of a port with the qdisc of this handle changed. */
function edit(state: PortState, handle: number, change: (qdisc: QdiscOptions) => QdiscOptions): QdiscOptions {
  let found = false;
  const visit = (qdisc: QdiscOptions): QdiscOptions => {
    if (qdisc.handle === handle) {
      found = true;
      return change(qdisc);
    }
    const copy = { ...qdisc } as Draft<QdiscOptions>;
    if (copy.kind === "tbf") copy.child = copy.child && visit(copy.child);
    else if (copy.kind === "prio") copy.children = copy.children?.map((each) => each && visit(each));
    else if (copy.kind === "htb") copy.classes = copy.classes?.map((cls) => ({ ...cls, qdisc: cls.qdisc && visit(cls.qdisc) }));
    return copy;
  };
  if (!state.root) throw new LoomError("ENOENT", `tc: ${state.name} has no qdisc`);
  const tree = visit(state.root);
  if (!found) throw new LoomError("ENOENT", `tc: ${state.name} has no qdisc ${formatId(handle)}`);
  return tree;
}
