/**
 * Hosts over links in one engine and one virtual time: nothing waits, nothing is left to chance but by the seed, so a
 * run with one seed is the same run every time.
 */
import { realClock, VirtualClock } from "../base/clock.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { anything, checkOptions, type Shape, shown, whole } from "../base/options.ts";
import { Random } from "../base/random.ts";
import { Engine, type EngineOptions } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import { Host, type HostOptions } from "../host/host.ts";
import { joinPorts } from "../link/pair.ts";
import { checkImpairment, ImpairedLink, type Impairment } from "./link.ts";

export interface LabOptions {
  /** Of all chance; the same seed gives the same run. Default 1. */
  seed?: number;
  /** Most interfaces and hosts. Defaults 8 and 4. */
  interfaces?: number;
  hosts?: number;
  memory?: EngineOptions;
}

const OPTIONS: Shape<LabOptions> = { seed: whole(0, 2 ** 32 - 1), interfaces: whole(1, 256), hosts: whole(1, 1000), memory: anything };

/** Rounds without the time moving, at most: more is a loop. */
const MOST_ROUNDS = 1_000_000;

export class Lab {
  readonly clock: VirtualClock;
  readonly engine: Engine;
  readonly random: Random;
  readonly hosts: Host[] = [];
  readonly links: ImpairedLink[] = [];
  private readonly linked = new Set<Port>();
  private nextPort = 0;

  private constructor(engine: Engine, clock: VirtualClock, seed: number) {
    this.engine = engine;
    this.clock = clock;
    this.random = new Random(seed);
  }

  static async create(options: LabOptions = {}): Promise<Lab> {
    checkOptions("lab", OPTIONS, options);
    const { seed = 1 } = options;
    const clock = new VirtualClock();
    const engine = await Engine.create({
      ports: options.interfaces ?? 8,
      tables: 2 * (options.hosts ?? 4),
      buffers: 8192,
      ringCapacity: 2048,
      puntCapacity: 8192,
      bareDescriptors: 16_384,
      nextHops: 1024,
      routes4: 4000,
      routes6: 4000,
      appBytes: 64 << 20,
      secret: new Random(seed).fill(new Uint8Array(8)),
      clock,
      ...options.memory,
    });
    return new Lab(engine, clock, seed);
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    return facts("Lab", { now: this.clock.now(), hosts: this.hosts, links: this.links.length }, depth, options, inspect);
  }

  async host(options: Omit<HostOptions, "engine" | "seed"> = {}): Promise<Host> {
    const interfaces = (options.interfaces ?? []).map((each) => ({ ...each, port: each.port ?? this.engine.port(this.nextPort++) }));
    const host = await Host.create({ ...options, interfaces, engine: this.engine, seed: this.random.u32() });
    this.hosts.push(host);
    return host;
  }

  /** Joins interfaces of two hosts by a link with these properties. */
  link(a: Host, b: Host, impairment: Impairment = {}, names: [string, string] = ["eth0", "eth0"]): ImpairedLink {
    checkImpairment(impairment);
    const [from, to] = [this.portOf(a, names[0]), this.portOf(b, names[1])];
    this.claim(from, to);
    const link = new ImpairedLink(this.engine, from, to, new Random(this.random.u32()), impairment);
    this.engine.attach(link);
    this.links.push(link);
    return link;
  }

  /** Joins them without a link in between: large segments and open checksums cross as they are. */
  join(a: Host, b: Host): void {
    const [from, to] = [this.portOf(a, "eth0"), this.portOf(b, "eth0")];
    this.claim(from, to);
    joinPorts(this.engine, from, to);
  }

  /** Takes a link away, with what is on its way; its interfaces may be linked to others. */
  unlink(link: ImpairedLink): void {
    const at = this.links.indexOf(link);
    if (at < 0) throw invalid("this link is not one of the lab's");
    this.links.splice(at, 1);
    this.engine.detach(link);
    for (const port of link.ends) this.linked.delete(port);
  }

  private portOf(host: Host, name: string): Port {
    if (!(host instanceof Host)) throw invalid("a link joins two hosts; expected what `await lab.host({ … })` gave");
    return host.ip.interface(name).port;
  }

  /** An interface has one link: two would take each other's frames. */
  private claim(...ports: readonly Port[]): void {
    if (ports[0] === ports[1]) throw invalid("an interface cannot be linked to itself");
    for (const port of ports) {
      if (!this.linked.has(port)) continue;
      throw new LoomError("EBUSY", "the interface has a link already; `link.set` changes what it does, `lab.unlink` takes it away");
    }
    for (const port of ports) this.linked.add(port);
  }

  /** When something will happen (ms). */
  private next(): number {
    let next = this.engine.nextDeparture();
    for (const { ip } of this.hosts) next = Math.min(next, ip.timers.next());
    for (const { timers } of this.links) next = Math.min(next, timers.next());
    return next;
  }

  /** Works until nothing is left to do at this moment. */
  settle(): void {
    for (let round = 0; this.engine.poll() > 0; round++) {
      if (round > MOST_ROUNDS) throw new Error("the lab does not come to rest");
    }
  }

  /** The same at once and several times faster, for programs of callbacks: no promise gets a turn before it returns. */
  runNow(ms: number, done?: () => boolean): void {
    checkTime(ms);
    const end = this.clock.now() + ms;
    for (;;) {
      this.settle();
      if (done?.() || this.clock.now() >= end) return;
      this.clock.skip(Math.max(Math.min(this.next(), end) - this.clock.now(), 0));
    }
  }

  /** Lets `ms` milliseconds pass, or fewer when `done` says so. Programs' promises run in between. */
  async run(ms: number, done?: () => boolean): Promise<void> {
    checkTime(ms);
    const end = this.clock.now() + ms;
    for (;;) {
      this.settle();
      // What the programs do because of it, however many promises that takes: only a macrotask comes after them all.
      await realClock.turn();
      if (this.engine.poll() > 0) continue;
      if (done?.() || this.clock.now() >= end) return;
      const next = Math.min(this.next(), end);
      await this.clock.advance(Math.max(next - this.clock.now(), 0));
    }
  }
}

function checkTime(ms: unknown): void {
  if (typeof ms !== "number" || !(ms >= 0)) throw invalid(`${shown(ms)} is no time to run; expected milliseconds, 0 or more`);
}
