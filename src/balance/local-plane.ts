/** Balancing without an engine: services and backends as objects, flows counted by whoever carries them. */
import { concat, swap32 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { SipHash } from "../base/siphash.ts";
import { Affinity } from "./affinity.ts";
import { type BackendRecord, type BalancePlane, noTraffic, type ServiceRecord, serviceExists, type Traffic } from "./plane.ts";
import { NOBODY, type Scheduler } from "./scheduler.ts";

interface LocalService {
  readonly record: ServiceRecord;
  readonly affinity: Affinity | undefined;
  scheduler: Scheduler | undefined;
}

interface LocalBackend {
  record: BackendRecord;
  live: number;
  readonly traffic: Traffic;
}

export class LocalPlane implements BalancePlane {
  private readonly clock: Clock;
  private readonly hash: SipHash;
  private readonly words = new Int32Array(6);
  private readonly services = new Map<number, LocalService>();
  private readonly backends = new Map<number, LocalBackend>();
  private nextService = 0;
  private nextBackend = 0;

  /** `secret`: eight bytes; who has the same, an engine too, hashes clients alike. */
  constructor(clock: Clock, secret: Uint8Array) {
    this.clock = clock;
    this.hash = new SipHash(concat([secret.subarray(0, 8), secret.subarray(0, 8)]));
  }

  addService(record: ServiceRecord): number {
    const isSame = (other: ServiceRecord) =>
      other.address.equals(record.address) && other.port === record.port && other.protocol === record.protocol;
    for (const service of this.services.values()) if (isSame(service.record)) throw serviceExists(record);
    const affinity = record.affinitySeconds > 0 ? new Affinity(record.affinitySeconds * 1000) : undefined;
    this.services.set(this.nextService, { record, affinity, scheduler: undefined });
    return this.nextService++;
  }

  removeService(service: number): void {
    this.services.delete(service);
  }

  schedule(service: number, scheduler: Scheduler): void {
    this.service(service).scheduler = scheduler;
  }

  get room() {
    return { services: Number.POSITIVE_INFINITY, backends: NOBODY - this.backends.size };
  }

  abandonBackend(backend: number): void {
    this.removeBackend(backend);
  }

  addBackend(record: BackendRecord): number {
    if (this.backends.size >= NOBODY) throw new LoomError("ENOMEM", `there are ${NOBODY} backends already`);
    while (this.backends.has(this.nextBackend)) this.nextBackend = (this.nextBackend + 1) % NOBODY;
    const backend = this.nextBackend;
    this.backends.set(backend, { record, live: 0, traffic: noTraffic() });
    this.nextBackend = (backend + 1) % NOBODY;
    return backend;
  }

  writeBackend(backend: number, record: BackendRecord): void {
    this.backend(backend).record = record;
  }

  retireBackend(_backend: number): void {}

  isForgotten(backend: number): boolean {
    return this.live(backend) === 0;
  }

  removeBackend(backend: number): void {
    this.backends.delete(backend);
  }

  choose(service: number, client: IpAddress, port: number): number {
    const { record, affinity, scheduler } = this.service(service);
    if (!scheduler) return NOBODY;
    const now = this.clock.now();
    const kept = affinity?.find(client, now);
    const backend =
      kept !== undefined && this.isOpen(service, kept) ? kept : scheduler.pick(this.clientHash(client, record.byClient ? 0 : port));
    if (backend !== NOBODY) affinity?.keep(client, backend, now);
    return backend;
  }

  /** Numbers are used again: it may be another service's by now. */
  private isOpen(service: number, backend: number): boolean {
    const record = this.backends.get(backend)?.record;
    return record?.service === service && record.open;
  }

  /** As the data plane does (assembly/table/affinity.ts): the address as it lies in a packet, the port, and zeros. */
  private clientHash({ a, b, c, d }: IpAddress, port: number): number {
    const { words } = this;
    words[0] = swap32(a);
    words[1] = swap32(b);
    words[2] = swap32(c);
    words[3] = swap32(d);
    words[4] = port;
    return this.hash.hash(words, words.length) >>> 0;
  }

  opened(service: number, backend: number): void {
    const entry = this.backend(backend);
    entry.live++;
    entry.traffic.flows++;
    this.services.get(service)?.scheduler?.opened(backend);
  }

  closed(service: number, backend: number): void {
    const entry = this.backend(backend);
    if (entry.live === 0) throw new LoomError("EINVAL", `backend ${backend} has no flow that could be closed`);
    entry.live--;
    this.services.get(service)?.scheduler?.closed(backend);
  }

  count(backend: number, direction: "in" | "out", packets: number, bytes: number): void {
    const { traffic } = this.backend(backend);
    traffic[`${direction}Packets`] += packets;
    traffic[`${direction}Bytes`] += bytes;
  }

  live(backend: number): number {
    return this.backend(backend).live;
  }

  traffic(backend: number): Traffic {
    return { ...this.backend(backend).traffic };
  }

  private service(index: number): LocalService {
    const service = this.services.get(index);
    if (!service) throw new LoomError("ENOENT", `there is no service ${index}`);
    return service;
  }

  private backend(index: number): LocalBackend {
    const backend = this.backends.get(index);
    if (!backend) throw new LoomError("ENOENT", `there is no backend ${index}`);
    return backend;
  }
}
