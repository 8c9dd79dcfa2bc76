/**
 * The engine: one memory, one data plane, its ports, tables and bridges.
 *
 *   const engine = await Engine.create({ ports: 2 });
 *   const routes = engine.createTable(4);
 *   const hop = routes.addNextHop({ kind: "forward", port: 1, sourceMac, destinationMac });
 *   routes.set("0.0.0.0/0", hop);
 *   engine.port(0).configure({ table4: routes });
 *   engine.start();
 */
import { spawnThread } from "#threads";
import * as abi from "../../assembly/abi.ts";
import { type Clock, realClock } from "../base/clock.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { facts, INSPECT, type Inspect } from "../base/inspect.ts";
import { anything, bytes, callback, checkOptions, type Expectation, either, having, oneOf } from "../base/options.ts";
import { secret } from "../base/random.ts";
import { namesOf } from "./abi-names.ts";
import { Bridge, type BridgeOptions, initBridges } from "./bridge.ts";
import { type Counters, PUNT_NAMES, type PuntReason, readCounters } from "./counters.ts";
import { initFlows } from "./flows.ts";
import { BucketSpace } from "./groups.ts";
import { type EngineSizes, HOST_IDS, layout, MOST_NETWORKS, RSS_KEY, SIZE_NAMES, SYMMETRIC_RSS_KEY, writeHeader } from "./layout.ts";
import { LookupRules } from "./lookup-rules.ts";
import { EngineMemory } from "./memory.ts";
import { type Build, canShare, compile, createMemory, type DataPlane, type Instance, instantiate } from "./module.ts";
import { Network } from "./network.ts";
import { copyChain, Port } from "./port.ts";
import { RouteTable } from "./route-table.ts";
import { Runner, type RunnerState } from "./runner.ts";
import { SlabPool } from "./slabs.ts";
import type { SpawnThread, Thread } from "./threads.ts";

export interface EngineOptions extends EngineSizes {
  /** Which build: "shared" where other threads use the engine's memory, "plain" elsewhere. "auto" takes shared with `threads` alone. */
  build?: Build | "auto";
  /** A module compiled by the caller (streamed from a file); must be of the build chosen. */
  module?: WebAssembly.Module;
  /** Time. Default: the runtime's. */
  clock?: Clock;
  /** Eight bytes that key the flow hash; random unless given (give them to repeat a run bit for bit). */
  secret?: Uint8Array;
  /** Key of the Toeplitz hash: Microsoft's, a symmetric one, or 40 to 52 bytes. Default "microsoft". */
  rssKey?: "microsoft" | "symmetric" | Uint8Array;
  /** How threads are made. Default: the runtime's way. */
  spawn?: SpawnThread;
}

/** A device moves frames between the outside and a port; polled by the engine, in budgets. */
export interface Device {
  readonly name: string;
  /** Moves up to `budget` frames each way and returns how many moved. Never blocks. */
  poll(budget: number): number;
  close?(): void;
  /** False while nobody is on the other side. Absent: somebody always is. */
  readonly carrier?: boolean;
  /** MTU of what is behind the device, where somebody else may change it: the port follows. */
  readonly mtu?: number;
  /** The port's MTU, MAC or state changed while it runs: devices with another side to it pass that on. */
  changed?(): void;
}

/** A packet that needs thought. It belongs to the handler's side until `release` or `send`. */
export interface Punt {
  readonly id: number;
  readonly reason: PuntReason;
  /** The next hop that was chosen, where one was. */
  readonly nextHop: number;
  readonly ingress: Port;
  /** A copy of the whole frame. */
  bytes(): Uint8Array;
  /** Sends the packet out by a port, as it is. */
  send(port: Port): void;
  release(): void;
}

/** Who gets the packets of a port that need thought, by id: without an object for each. */
export interface PuntReceiver {
  /** The packet belongs to the receiver from now on. `reason` is one of abi.PUNT_*. */
  receive(id: number, reason: number, nextHop: number, port: number): void;
}

export interface PoolUse {
  readonly total: number;
  readonly free: number;
  readonly inFlight: number;
}

/** Punts that say in DESC_LOG_OUT by which port the packet would leave. */
const OF_RULES: ReadonlySet<number> = new Set([abi.PUNT_REJECT, abi.PUNT_LOG, abi.PUNT_QUEUE, abi.PUNT_TRACE]);
const BUDGET = 4096;
/** Flows that are ended in one round, at most: a hundredth of a second's worth. */
const FLOWS_PER_TURN = 4096;
const STATES: Record<number, RunnerState> = {
  [abi.STATE_POLLING]: "polling",
  [abi.STATE_SLEEPING]: "sleeping",
  [abi.STATE_FAILED]: "failed",
};

export class Engine {
  readonly memory: EngineMemory;
  /** The data plane's own functions; for devices and tools that know the ABI. */
  readonly plane: DataPlane;
  /** The function table that ingress programs go into. */
  readonly programs: WebAssembly.Table;
  readonly build: Build;
  readonly clock: Clock;
  /** The application's region (appBytes) in slabs; one pool for all hosts of this engine. */
  readonly slabs: SlabPool;
  private readonly wasm: { module: WebAssembly.Module; memory: WebAssembly.Memory };
  private readonly ports: Port[] = [];
  private readonly tables: RouteTable[] = [];
  private readonly bridges: (Bridge | undefined)[] = [];
  private readonly devices: Device[] = [];
  private readonly threads: Thread[] = [];
  private readonly runner: Runner;
  private readonly space: BucketSpace;
  private readonly puntRecords = new Uint32Array(HOST_IDS / 4);
  /** Entries of the function table whose programs were removed, and the epoch in which that was. */
  private readonly unused: { readonly entry: number; readonly epoch: number }[] = [];
  private readonly receivers: (PuntReceiver | undefined)[] = [];
  private onPunt: ((punt: Punt) => void) | undefined;
  private readonly closers = new Set<() => Promise<void>>();
  private closing: Promise<void> | undefined;
  /** Calls of `poll` so far: devices are given several turns in one. */
  rounds = 0;
  /** It was started or polled, if only once. */
  private hasRun = false;
  /** So many networks with rules were ever made, and those of them that are nobody's any more. */
  private networks = 0;
  private readonly freeNetworks: number[] = [];
  private readonly firstRun: (() => void)[] = [];
  /** Tables that were given back: empty, their numbers and memory wait for the next of their family. */
  private readonly spare: RouteTable[] = [];

  private constructor(memory: EngineMemory, instance: Instance, build: Build, clock: Clock, wasm: Engine["wasm"]) {
    this.memory = memory;
    this.plane = instance.plane;
    this.programs = instance.table;
    this.build = build;
    this.clock = clock;
    this.wasm = wasm;
    this.slabs = new SlabPool(memory);
    this.space = new BucketSpace(memory);
    this.runner = new Runner(
      clock,
      () => this.poll(),
      () => this.nextDeparture(),
    );
    const scratch = memory.base(abi.REGION_HOST);
    for (let i = 0; i < memory.layout.sizes.ports; i++)
      this.ports.push(new Port(memory, this.plane, i, scratch, (port) => this.refreshMtu(port)));
    initBridges(memory);
  }

  /** Sizes the memory once, compiles, lays everything out, and starts the threads that were asked for (paused). */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    checkOptions("engine", ENGINE, options);
    const map = layout(options);
    const build = chooseBuild(options, map.workers);
    const memory = createMemory(map.bytes, build);
    const key = options.secret ?? secret(8);
    if (key.length < 8) throw invalid(`secret has ${key.length} bytes; expected 8`);
    writeHeader(memory.buffer, map, key, rssKeyOf(options.rssKey));
    const module = options.module ?? (await compile(build));
    const instance = await instantiate(module, memory).catch((error: Error) => {
      throw error instanceof LoomError
        ? error
        : new LoomError("EINVAL", `the module is not the ${build} build; pass the build it is of (${error.message})`);
    });
    const fib = map.regions[abi.REGION_FIB].size;
    instance.plane.init(map.limbo, fib, map.ribArenaBytes);
    initFlows(memory.buffer, map.regions[abi.REGION_FLOWS].base, map.sizes, map.workers, key);
    const engine = new Engine(new EngineMemory(memory.buffer, map), instance, build, options.clock ?? realClock, { module, memory });
    for (let w = 0; w < map.workers; w++) engine.assignPorts(w, engine.allPorts());
    for (let w = 1; w < map.workers; w++) await engine.startThread(w, options.spawn ?? spawnThread);
    // With threads the caller handles devices, punts and what it sends itself; the threads forward the rest.
    if (map.workers > 1) engine.spreadQueues(Array.from({ length: map.workers - 1 }, (_, i) => i + 1));
    return engine;
  }

  private async startThread(worker: number, spawn: SpawnThread): Promise<void> {
    const { module, memory } = this.wasm;
    this.threads.push(await spawn({ module, memory, worker, at: this.memory.worker(worker), now: this.clock.now() }));
  }

  private refreshMtu(port: number): void {
    for (const table of this.tables) table.refreshMtu(port);
    for (const bridge of this.bridges) bridge?.refreshMtu();
  }

  private allPorts(): number[] {
    return this.ports.map((port) => port.index);
  }

  // ── Parts ─────────────────────────────────────────────────────────────────────────────────────

  /** Ports that interfaces may have: those of bridges are not among them. */
  get portCount(): number {
    return this.ports.length - this.memory.layout.sizes.bridges;
  }

  port(index: number): Port {
    const port = index < this.portCount ? this.ports[index] : undefined;
    if (!port) throw new LoomError("ENOENT", `there is no port ${index}; this engine has ports 0 to ${this.portCount - 1}`);
    return port;
  }

  /** A routing table; one that shares another's next hops knows them by the same numbers. */
  createTable(family: 4 | 6, hopsOf?: RouteTable): RouteTable {
    const { tables } = this.memory.layout.sizes;
    const used = this.spare.findIndex((table) => table.family === family);
    if (used >= 0) {
      const [{ index }] = this.spare.splice(used, 1);
      const stage = this.memory.base(abi.REGION_HOST) + HOST_IDS;
      const table = new RouteTable(this.memory, this.plane, index, family, this.space, stage, hopsOf, true);
      this.tables[index] = table;
      return table;
    }
    if (this.tables.length >= tables) throw new LoomError("ENOMEM", `all ${tables} tables are in use; raise tables`);
    const stage = this.memory.base(abi.REGION_HOST) + HOST_IDS;
    const table = new RouteTable(this.memory, this.plane, this.tables.length, family, this.space, stage, hopsOf);
    this.tables.push(table);
    return table;
  }

  /** Takes an empty table back for a later `createTable`; nothing may refer to it any more. Throws EBUSY while it has routes. */
  releaseTable(table: RouteTable): void {
    if (table.size > 0) throw new LoomError("EBUSY", `table ${table.index} has ${table.size} routes; withdraw them first`);
    if (this.tables[table.index] === table && !this.spare.includes(table)) this.spare.push(table);
  }

  /** Rules by which ports may look up what comes in, beside their tables. */
  createLookupRules(family: 4 | 6): LookupRules {
    return new LookupRules(this.memory, this.plane, this.space, family);
  }

  /** A network with rules: ports that are added to it meet them. */
  createNetwork(): Network {
    const free = this.freeNetworks.shift();
    if (free !== undefined) return new Network(this.memory, free);
    if (this.networks >= MOST_NETWORKS)
      throw new LoomError(
        "ENOMEM",
        `all ${MOST_NETWORKS} networks with rules of this engine are in use; hosts that were closed give theirs back`,
      );
    return new Network(this.memory, this.networks++);
  }

  /** Takes a network back for a later `createNetwork`, that one last. Its rules are gone, and its flows. */
  releaseNetwork(network: Network): void {
    network.release();
    this.freeNetworks.push(network.index);
  }

  createBridge(options: BridgeOptions = {}): Bridge {
    const { bridges, ports } = this.memory.layout.sizes;
    let index = 0;
    while (index < bridges && this.bridges[index]) index++;
    if (index === bridges) throw new LoomError("ENOMEM", `all ${bridges} bridges are in use; raise bridges`);
    const own = this.ports[ports - bridges + index];
    const bridge = new Bridge(this.memory, this.plane, index, own, options, () => this.seconds());
    this.bridges[index] = bridge;
    return bridge;
  }

  /** Takes a bridge back for a later `createBridge`; its members leave it. */
  releaseBridge(bridge: Bridge): void {
    if (this.bridges[bridge.index] !== bridge) return;
    bridge.release();
    this.bridges[bridge.index] = undefined;
  }

  attach(device: Device): this {
    this.devices.push(device);
    this.runner.wake();
    return this;
  }

  detach(device: Device): void {
    const at = this.devices.indexOf(device);
    if (at >= 0) this.devices.splice(at, 1);
    device.close?.();
  }

  /** Which ports a worker polls (port affinity). Every worker has queues of its own on every port. */
  assignPorts(worker: number, ports: readonly number[]): void {
    const at = this.memory.worker(worker);
    ports.forEach((port, i) => this.memory.setU16(at + abi.WORKER_PORTS + 2 * i, (this.ports[port] ?? this.port(port)).index));
    this.memory.setU32(at + abi.WORKER_PORT_COUNT, ports.length);
  }

  /** Which workers' queues received flows are spread over (RSS). */
  spreadQueues(workers: readonly number[]): void {
    if (workers.length === 0) throw invalid("flows must be spread over at least one worker");
    const at = abi.HEADER + abi.HEADER_RSS_QUEUES;
    for (let i = 0; i < abi.RSS_QUEUES; i++) this.memory.u8[at + i] = workers[i % workers.length];
  }

  // ── Work ──────────────────────────────────────────────────────────────────────────────────────

  /** One round on the calling thread: devices in, packets through, punts up, devices out. Returns packets handled. */
  poll(budget = BUDGET): number {
    if (!this.hasRun) this.noteRun();
    this.rounds++;
    let moved = this.pollDevices(budget);
    const now = this.clock.now();
    const handled = this.plane.pollHosted(0, now / 1000, budget);
    if (this.memory.layout.sizes.flows !== 0) this.plane.flowsTurn(0, now >>> 0, FLOWS_PER_TURN);
    moved += handled + this.handlePunts();
    if (handled !== 0) moved += this.pollDevices(budget);
    return moved;
  }

  /** When a queue of a port has something to send next (ms of the engine's clock); Infinity for never. */
  nextDeparture(): number {
    return this.plane.queuesNext(0) * 1000;
  }

  /** Calls `then` when the engine is started or polled for the first time; at once when it was. */
  whenRun(then: () => void): void {
    if (this.hasRun) then();
    else this.firstRun.push(then);
  }

  private noteRun(): void {
    this.hasRun = true;
    for (const then of this.firstRun.splice(0)) then();
  }

  /** Gives devices a turn and does nothing else: what waits in the rings leaves, nothing is handled. */
  drainDevices(): void {
    this.pollDevices(BUDGET);
  }

  private pollDevices(budget: number): number {
    let moved = 0;
    for (const device of this.devices) moved += device.poll(budget);
    if (moved !== 0 && this.threads.length !== 0) this.wakeThreads();
    return moved;
  }

  /** There is work: an idle engine looks at once instead of after its nap. */
  wake(): void {
    this.runner.wake();
  }

  /** Polls by itself from now on, threads included; `stop` ends it. */
  start(): void {
    if (!this.hasRun) this.noteRun();
    this.setRun(abi.RUN_POLLING);
    this.runner.start();
  }

  /** The process may end while the engine polls, unless something open holds it; as `unref` of Node's timers. */
  unref(): this {
    this.runner.keepAlive(false);
    return this;
  }

  /** Undoes `unref`: the process lives as long as the engine polls, which is what it does at first. */
  ref(): this {
    this.runner.keepAlive(true);
    return this;
  }

  /** Something is open that keeps the process even after `unref`; each call is undone by one of `letGo`. */
  hold(): void {
    this.runner.hold(1);
  }

  letGo(): void {
    this.runner.hold(-1);
  }

  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { ports, buffers } = this.memory.layout.sizes;
    const state = {
      build: this.build,
      threads: this.threads.length,
      ports,
      buffers,
      memory: this.memory.buffer.byteLength,
      rounds: this.rounds,
    };
    return facts("Engine", state, depth, options, inspect);
  }

  async stop(): Promise<void> {
    this.setRun(abi.RUN_PAUSED);
    await this.runner.stop();
    for (let w = 1; w < this.memory.layout.workers; w++) {
      while (this.workerState(w) === "polling" || this.workerState(w) === "sleeping") await this.clock.turn();
    }
  }

  /** Why a worker's state is "failed". */
  workerFailure(worker: number): string | undefined {
    return this.threads[worker - 1]?.failure();
  }

  /** Puts a function into the table that ingress programs are called through; returns its entry for `Port.setProgram`. */
  addProgram(program: (...args: never[]) => unknown): number {
    if (this.threads.length)
      throw new LoomError("ENOTSUP", "each thread has a function table of its own; programs need an engine without threads");
    const at = this.unused.findIndex(({ epoch }) => this.plane.epochPassed(epoch) !== 0);
    const entry = at < 0 ? this.programs.grow(1) : this.unused.splice(at, 1)[0].entry;
    this.programs.set(entry, program);
    return entry;
  }

  /** Takes a function out of the table again once no burst can be calling it; nothing may name its entry any more. */
  removeProgram(entry: number): void {
    this.unused.push({ entry, epoch: this.plane.epochEnd() });
  }

  /** The memory, for modules that are compiled over it. */
  get wasmMemory(): WebAssembly.Memory {
    return this.wasm.memory;
  }

  /** What is to be closed before the engine: called once, by `close`, unless what is returned is called first. */
  beforeClose(close: () => Promise<void>): () => void {
    this.closers.add(close);
    return () => this.closers.delete(close);
  }

  /** Closes what runs on the engine, then ends threads and devices. It cannot be used afterwards; a second close does nothing. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    for (const close of this.closers) await close();
    await this.stop();
    this.setRun(abi.RUN_ENDED);
    await Promise.all(this.threads.map((thread) => thread.end()));
    for (const device of [...this.devices]) this.detach(device);
    for (const port of this.ports) port.drain();
  }

  private setRun(value: number): void {
    const at = (abi.HEADER + abi.HEADER_RUN) / 4;
    Atomics.store(this.memory.i32, at, value);
    if (this.build === "shared") Atomics.notify(this.memory.i32, at);
    this.wakeThreads();
  }

  private wakeThreads(): void {
    if (this.build !== "shared") return;
    const at = (abi.HEADER + abi.HEADER_WAKE) / 4;
    Atomics.add(this.memory.i32, at, 1);
    Atomics.notify(this.memory.i32, at);
  }

  /** What a worker is doing now; 0 is the calling thread. */
  workerState(worker: number): RunnerState {
    if (worker === 0) return this.runner.state;
    const state = Atomics.load(this.memory.i32, (this.memory.worker(worker) + abi.WORKER_STATE) / 4);
    return STATES[state] ?? "stopped";
  }

  // ── Punts ─────────────────────────────────────────────────────────────────────────────────────

  /** Who gets packets that need thought. Without a handler they are released. */
  set punted(handler: ((punt: Punt) => void) | undefined) {
    this.onPunt = handler;
  }

  /** Who gets what needs thought of the packets that came in by a port; before `punted`. */
  setReceiver(port: Port, receiver: PuntReceiver | undefined): void {
    this.receivers[port.index] = receiver;
  }

  private handlePunts(): number {
    const at = this.memory.base(abi.REGION_HOST);
    const n = this.plane.puntPop(at, HOST_IDS / abi.PUNT_SIZE);
    if (n === 0) return 0;
    // Copied first: a handler may send, and sending uses the same scratch.
    const records = this.puntRecords;
    records.set(this.memory.u32.subarray(at / 4, (at + n * abi.PUNT_SIZE) / 4));
    const step = abi.PUNT_SIZE / 4;
    let i = 0;
    try {
      for (; i < n; i++) this.handlePunt(records, i * step);
    } finally {
      // A handler that throws loses its own packet to itself; the rest of the batch is given back.
      for (i++; i < n; i++) this.plane.packetRelease(0, records[i * step + abi.PUNT_ID / 4]);
    }
    return n;
  }

  private handlePunt(records: Uint32Array, at: number): void {
    const id = records[at + abi.PUNT_ID / 4];
    if (id >= this.memory.layout.descriptors) return;
    const reason = records[at + abi.PUNT_REASON / 4];
    const nextHop = records[at + abi.PUNT_ARGUMENT / 4];
    const d = this.memory.descriptor(id);
    const ingress = this.memory.getU16(d + abi.DESC_INGRESS);
    // What a host has sent, and its own rules reject, log, follow or make wait, belongs to who has the port by which it would leave.
    const port = ingress === abi.NO_PORT && OF_RULES.has(reason) ? this.memory.getU16(d + abi.DESC_LOG_OUT) : ingress;
    const receiver = this.receivers[port];
    if (receiver) receiver.receive(id, reason, nextHop, port);
    else if (!this.onPunt) this.plane.packetRelease(0, id);
    else this.onPunt(this.puntOf(id, reason, nextHop));
  }

  private puntOf(id: number, reason: number, nextHop: number): Punt {
    const { memory, plane } = this;
    const d = memory.descriptor(id);
    return {
      id,
      reason: PUNT_NAMES.get(reason) as PuntReason,
      nextHop,
      ingress: this.ports[memory.getU16(d + abi.DESC_INGRESS)],
      bytes() {
        const out = new Uint8Array(Math.min(memory.getU32(d + abi.DESC_PACKET_LENGTH), 2 ** 20));
        return out.subarray(0, copyChain(memory, id, out));
      },
      send: (port) => plane.packetSend(0, port.index, id),
      release: () => plane.packetRelease(0, id),
    };
  }

  // ── State ─────────────────────────────────────────────────────────────────────────────────────

  counters(): Counters {
    return readCounters(this.memory);
  }

  /** Buffers (or bare descriptors): at rest, free + in flight = total, and in flight is what rings and handlers hold. */
  pool(which: "buffers" | "bare" = "buffers"): PoolUse {
    const { memory } = this;
    const bare = which === "bare";
    const field = bare ? abi.WORKER_BARE_COUNT : abi.WORKER_BUFFER_COUNT;
    let free = this.plane.reserveCount(bare ? 1 : 0);
    for (let w = 0; w < memory.layout.workers; w++) free += memory.getU32(memory.worker(w) + field);
    const total = bare ? memory.layout.sizes.bareDescriptors : memory.layout.sizes.buffers;
    return { total, free, inFlight: total - free };
  }

  /** Bytes in use by the tries (hot) and by the routes they are made from (cold). */
  tableMemory(): { hot: number; cold: number } {
    const used = (region: number) => this.memory.getU32(this.memory.base(region) + abi.ARENA_USED);
    return { hot: used(abi.REGION_FIB), cold: used(abi.REGION_RIB) };
  }

  /** Every region of the memory by name, in bytes. */
  regions(): Record<string, number> {
    return Object.fromEntries(namesOf("REGION").map(([name, i]) => [name, this.memory.size(i)]));
  }

  private seconds(): number {
    return Math.floor(this.clock.now() / 1000);
  }
}

/** Sizes are checked by `layout`. */
const ENGINE: Record<string, Expectation> = {
  ...Object.fromEntries(SIZE_NAMES.map((name) => [name, anything])),
  build: oneOf("auto", "plain", "shared"),
  module: (value) => (value instanceof WebAssembly.Module ? undefined : "a WebAssembly.Module"),
  clock: having("a clock (now, sleep, turn)", "now", "sleep", "turn"),
  secret: bytes,
  rssKey: either(oneOf("microsoft", "symmetric"), bytes),
  spawn: callback,
};

/**
 * Memory is shared with threads alone: V8 copies out of and into shared memory word by word, so that nobody sees half a word
 * (there and back 95 Gbit/s in pieces of 64 KiB, 255 in memory of one's own; `tcp-bulk-gso` 36 → 43 Gbit/s).
 */
function chooseBuild(options: EngineOptions, workers: number): Build {
  const build = options.build ?? "auto";
  if (build === "plain" && workers > 1) throw invalid("threads need the shared build");
  if (build !== "auto") return build;
  if (workers === 1) return "plain";
  if (canShare()) return "shared";
  throw new LoomError("ENOTSUP", "threads need SharedArrayBuffer; in a browser the page must be cross-origin isolated");
}

function rssKeyOf(key: EngineOptions["rssKey"] = "microsoft"): Uint8Array {
  if (key === "microsoft") return RSS_KEY;
  if (key === "symmetric") return SYMMETRIC_RSS_KEY;
  if (key.length < 40) throw invalid(`rssKey has ${key.length} bytes; expected 40 to ${abi.RSS_KEY_SIZE}`);
  return key;
}
