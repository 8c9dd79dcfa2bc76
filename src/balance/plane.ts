/**
 * What a service is written to. `EnginePlane` writes the tables that packets are balanced by; `LocalPlane` keeps the same things in
 * objects, for programs that balance connections of their own. Services and backends are known by number.
 */
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import type { Scheduler } from "./scheduler.ts";

/**
 * How packets reach a backend: "nat" rewrites their destination (and the replies' source); "dsr" sends them as they are, behind
 * the backend's MAC, which answers its clients directly; "ipip" and "gue" do the same through a tunnel.
 */
export type Mode = "nat" | "dsr" | "ipip" | "gue";

export interface ServiceRecord {
  readonly address: IpAddress;
  /** 0: all ports. */
  readonly port: number;
  /** IP protocol number. */
  readonly protocol: number;
  /** The client's address alone is hashed. */
  readonly byClient: boolean;
  /** 0: none. */
  readonly affinitySeconds: number;
}

export function serviceExists({ address, port, protocol }: ServiceRecord): LoomError {
  return new LoomError("EEXIST", `there is a service of ${address}, port ${port}, protocol ${protocol} already`);
}

export interface BackendRecord {
  /** By number. */
  readonly service: number;
  readonly address: IpAddress;
  /** 0: the one the client asked for. */
  readonly port: number;
  readonly mode: Mode;
  /** Takes new flows. */
  readonly open: boolean;
  readonly weight: number;
  /** Of the routing table of its family; 0: as its address is routed. */
  readonly nextHop: number;
  /** Of the way to it, for tunnels; 0: any. */
  readonly mtu: number;
  /** The tunnel's near end. */
  readonly tunnelFrom: IpAddress | undefined;
}

/** Flows and packets since the beginning; "in" is from clients. */
export interface Traffic {
  flows: number;
  inPackets: number;
  inBytes: number;
  outPackets: number;
  outBytes: number;
}

export const noTraffic = (): Traffic => ({ flows: 0, inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0 });

export function addTraffic(sum: Traffic, part: Readonly<Traffic>): Traffic {
  for (const name of Object.keys(sum) as (keyof Traffic)[]) sum[name] += part[name];
  return sum;
}

export interface BalancePlane {
  addService(record: ServiceRecord): number;
  removeService(service: number): void;
  /** The scheduler changed: who takes new flows from now on. */
  schedule(service: number, scheduler: Scheduler): void;
  /** Services and backends that can still be added. */
  readonly room: { readonly services: number; readonly backends: number };
  addBackend(record: BackendRecord): number;
  writeBackend(backend: number, record: BackendRecord): void;
  /** It has no place in a schedule any more; flows may remember it. */
  retireBackend(backend: number): void;
  /** No flow does any more, nor is one about to. */
  isForgotten(backend: number): boolean;
  /** Its number is free for another. */
  removeBackend(backend: number): void;
  /** Nobody will say so of a retired one: its number is free when no flow remembers it. */
  abandonBackend(backend: number): void;
  /** The backend for a new flow, or NOBODY. */
  choose(service: number, client: IpAddress, port: number): number;
  opened(service: number, backend: number): void;
  closed(service: number, backend: number): void;
  count(backend: number, direction: "in" | "out", packets: number, bytes: number): void;
  /** Flows alive. */
  live(backend: number): number;
  traffic(backend: number): Traffic;
}
