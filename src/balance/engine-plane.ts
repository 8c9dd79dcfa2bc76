/**
 * The tables of load balancing in an engine's memory (BALANCE_* in abi.ts, assembly/table/balance.ts).
 *
 * What packets read is never changed under them: a pick table is written to one that nobody reads, then its address is swapped;
 * records of what is gone are used again when every worker has left the burst in which it could have seen them.
 */
import * as abi from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Engine } from "../engine/engine.ts";
import { awaitPassed } from "../engine/epochs.ts";
import { HOST_SEGMENT } from "../engine/layout.ts";
import type { EngineMemory } from "../engine/memory.ts";
import type { DataPlane } from "../engine/module.ts";
import { type BackendRecord, type BalancePlane, type Mode, type ServiceRecord, serviceExists, type Traffic } from "./plane.ts";
import type { PickRule, Scheduler } from "./scheduler.ts";

const RULES: Record<PickRule, number> = { hash: abi.PICK_HASH, turn: abi.PICK_TURN, least: abi.PICK_LEAST };
const MODES: Record<Mode, number> = { nat: abi.BALANCE_NAT, dsr: abi.BALANCE_DSR, ipip: abi.BALANCE_IPIP, gue: abi.BALANCE_GUE };
const WEIGHT_PARTS = 16;

/** Something of which there are so many, given back with the epoch in which it was last seen. */
class Supply {
  private readonly free: { index: number; epoch: number | undefined }[];
  private readonly what: string;

  constructor(what: string, count: number) {
    this.what = what;
    this.free = Array.from({ length: count }, (_, index) => ({ index, epoch: undefined }));
  }

  take(passed: (epoch: number) => void): number {
    const [first] = this.free;
    if (!first) throw new LoomError("ENOMEM", this.what);
    if (first.epoch !== undefined) passed(first.epoch);
    this.free.shift();
    return first.index;
  }

  give(index: number, epoch: number | undefined): void {
    this.free.push({ index, epoch });
  }

  get room(): number {
    return this.free.length;
  }
}

const planes = new WeakMap<EngineMemory, EnginePlane>();

/** The one of an engine: its tables have one writer. */
export function enginePlane(engine: Engine): EnginePlane {
  const plane = planes.get(engine.memory) ?? new EnginePlane(engine);
  planes.set(engine.memory, plane);
  return plane;
}

export class EnginePlane implements BalancePlane {
  private readonly memory: EngineMemory;
  private readonly plane: DataPlane;
  private readonly now: () => number;
  private readonly services: Supply;
  private readonly backends: Supply;
  private readonly tables: Supply;
  /** Backends without a place in a table, and the epoch in which they lost it. */
  private readonly retired = new Map<number, number>();
  /** Those of them that nobody looks after. */
  private readonly abandoned = new Set<number>();

  constructor(engine: Engine) {
    const { sizes } = engine.memory.layout;
    if (sizes.services === 0)
      throw new LoomError("ENOTSUP", "this engine has no room for services; create it with { services: 16 }, or more");
    this.memory = engine.memory;
    this.plane = engine.plane;
    this.now = () => Math.floor(engine.clock.now() / 1000);
    this.services = new Supply(`all ${sizes.services} services are in use; raise services`, sizes.services);
    this.backends = new Supply(`all ${sizes.backends} backends are in use; raise backends`, sizes.backends);
    this.tables = new Supply("all pick tables are in use; raise services", this.header(abi.BALANCE_PICKS));
  }

  // ── Services ──────────────────────────────────────────────────────────────────────────────────

  addService(record: ServiceRecord): number {
    const service = this.services.take(this.passed);
    const at = this.serviceAt(service);
    const { memory } = this;
    memory.u8.fill(0, at, at + abi.SERVICE_SIZE);
    this.writeAddress(at + abi.SERVICE_ADDRESS, record.address);
    memory.setU16(at + abi.SERVICE_PORT, record.port);
    memory.u8[at + abi.SERVICE_PROTOCOL] = record.protocol;
    memory.u8[at + abi.SERVICE_FLAGS] = record.byClient ? abi.SERVICE_BY_CLIENT : 0;
    memory.setU32(at + abi.SERVICE_AFFINITY, record.affinitySeconds);
    if (this.plane.serviceAdd(service) === 1) return service;
    this.services.give(service, undefined);
    throw serviceExists(record);
  }

  removeService(service: number): void {
    this.plane.serviceRemove(service);
    const table = this.tableOf(service);
    const epoch = this.plane.epochEnd();
    if (table !== undefined) this.tables.give(table, epoch);
    this.services.give(service, epoch);
  }

  schedule(service: number, scheduler: Scheduler): void {
    const { rule, slots } = scheduler.table();
    const table = this.tables.take(this.passed);
    const at = this.tableAt(table);
    this.memory.setU32(at + abi.PICK_RULE, RULES[rule]);
    this.memory.setU32(at + abi.PICK_LENGTH, slots.length);
    this.memory.u16.set(slots, (at + abi.PICK_SLOTS) / 2);
    const before = this.tableOf(service);
    Atomics.store(this.memory.u32, (this.serviceAt(service) + abi.SERVICE_PICKS) / 4, at);
    if (before !== undefined) this.tables.give(before, this.plane.epochEnd());
  }

  choose(service: number, client: IpAddress, port: number): number {
    const scratch = this.memory.base(abi.REGION_HOST) + HOST_SEGMENT;
    this.writeAddress(scratch, client);
    return this.plane.serviceChoose(service, scratch, port, this.now());
  }

  /** The number of a destination's service, as packets find it; undefined when there is none. */
  find(address: IpAddress, protocol: number, port: number): number | undefined {
    const scratch = this.memory.base(abi.REGION_HOST) + HOST_SEGMENT;
    this.writeAddress(scratch, address);
    const service = this.plane.serviceFind(scratch, protocol, port) >>> 0;
    return service === abi.NONE ? undefined : service;
  }

  // ── Backends ──────────────────────────────────────────────────────────────────────────────────

  get room() {
    this.sweep();
    return { services: this.services.room, backends: this.backends.room };
  }

  private sweep(): void {
    for (const backend of this.abandoned) if (this.isForgotten(backend)) this.removeBackend(backend);
  }

  abandonBackend(backend: number): void {
    this.abandoned.add(backend);
  }

  addBackend(record: BackendRecord): number {
    this.sweep();
    const backend = this.backends.take(this.passed);
    const at = this.backendAt(backend);
    this.memory.u8.fill(0, at, at + abi.BACKEND_SIZE);
    for (const stats of this.statsOf(backend)) this.memory.u8.fill(0, stats, stats + abi.BACKEND_STAT_SIZE);
    this.writeBackend(backend, record);
    return backend;
  }

  writeBackend(backend: number, record: BackendRecord): void {
    const { memory } = this;
    const at = this.backendAt(backend);
    this.writeAddress(at + abi.BACKEND_ADDRESS, record.address);
    memory.setU16(at + abi.BACKEND_PORT, record.port);
    if (record.mode === "ipip" || record.mode === "gue") memory.setU32(memory.base(abi.REGION_BALANCE) + abi.BALANCE_TUNNELS, 1);
    memory.u8[at + abi.BACKEND_MODE] = MODES[record.mode];
    memory.u8[at + abi.BACKEND_FLAGS] = record.open ? abi.BACKEND_OPEN : 0;
    memory.setU32(at + abi.BACKEND_SERVICE, this.serviceAt(record.service));
    memory.setU32(at + abi.BACKEND_HOP, record.nextHop);
    memory.setU32(at + abi.BACKEND_WEIGHT, Math.max(1, Math.round(record.weight * WEIGHT_PARTS)));
    memory.setU32(at + abi.BACKEND_MTU, record.mtu);
    if (record.tunnelFrom) this.writeAddress(at + abi.BACKEND_TUNNEL, record.tunnelFrom);
  }

  retireBackend(backend: number): void {
    this.retired.set(backend, this.plane.epochEnd());
  }

  /** A worker that saw the old table may still be opening a flow, until its burst is over. */
  isForgotten(backend: number): boolean {
    const epoch = this.retired.get(backend);
    return epoch !== undefined && this.plane.epochPassed(epoch) !== 0 && this.live(backend) === 0;
  }

  removeBackend(backend: number): void {
    this.retired.delete(backend);
    this.abandoned.delete(backend);
    this.backends.give(backend, undefined);
  }

  opened(_service: number, backend: number): void {
    this.plane.backendOpened(0, backend);
  }

  closed(_service: number, backend: number): void {
    this.plane.backendClosed(backend);
  }

  count(backend: number, direction: "in" | "out", packets: number, bytes: number): void {
    this.plane.backendCount(0, backend, direction === "out" ? 1 : 0, packets, bytes);
  }

  live(backend: number): number {
    return Atomics.load(this.memory.u32, (this.backendAt(backend) + abi.BACKEND_FLOWS) / 4);
  }

  traffic(backend: number): Traffic {
    const sum = (offset: number) => this.statsOf(backend).reduce((total, at) => total + this.memory.getU64(at + offset), 0);
    return {
      flows: sum(abi.BACKEND_STAT_FLOWS),
      inPackets: sum(abi.BACKEND_STAT_IN_PACKETS),
      inBytes: sum(abi.BACKEND_STAT_IN_BYTES),
      outPackets: sum(abi.BACKEND_STAT_OUT_PACKETS),
      outBytes: sum(abi.BACKEND_STAT_OUT_BYTES),
    };
  }

  // ── Where things lie ──────────────────────────────────────────────────────────────────────────

  private header(offset: number): number {
    return this.memory.getU32(this.memory.base(abi.REGION_BALANCE) + offset);
  }

  private serviceAt(service: number): number {
    return this.header(abi.BALANCE_SERVICES_AT) + service * abi.SERVICE_SIZE;
  }

  private backendAt(backend: number): number {
    return this.header(abi.BALANCE_BACKENDS_AT) + backend * abi.BACKEND_SIZE;
  }

  private statsOf(backend: number): number[] {
    const { workers, sizes } = this.memory.layout;
    const first = this.header(abi.BALANCE_STATS_AT);
    return Array.from({ length: workers }, (_, worker) => first + (worker * sizes.backends + backend) * abi.BACKEND_STAT_SIZE);
  }

  private tableAt(table: number): number {
    return this.header(abi.BALANCE_PICKS_AT) + table * abi.PICK_SIZE;
  }

  private tableOf(service: number): number | undefined {
    const at = this.memory.getU32(this.serviceAt(service) + abi.SERVICE_PICKS);
    return at === 0 ? undefined : (at - this.header(abi.BALANCE_PICKS_AT)) / abi.PICK_SIZE;
  }

  /** Sixteen bytes in network order, IPv4 as ::ffff:a.b.c.d. */
  private writeAddress(at: number, { a, b, c, d }: IpAddress): void {
    const view = new DataView(this.memory.buffer, at, 16);
    for (const [i, word] of [a, b, c, d].entries()) view.setInt32(4 * i, word);
  }

  private readonly passed = (epoch: number): void => awaitPassed(this.plane, epoch);
}
