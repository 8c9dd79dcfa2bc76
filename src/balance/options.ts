/** What services and backends are made of, as a person writes it; checked here and trusted behind it. */
import { invalid } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import {
  amount,
  anyPort,
  anything,
  bytes,
  callback,
  checkOptions,
  either,
  having,
  listOf,
  oneOf,
  peerPort,
  shaped,
  share,
  text,
  whole,
} from "../base/options.ts";
import type { HealthOptions } from "./health.ts";
import { HEALTH_DEFAULTS } from "./health.ts";
import type { BackendRecord, Mode } from "./plane.ts";
import { MOST_WEIGHT } from "./scheduler.ts";
import { SCHEDULERS, type SchedulerName, type SchedulerOptions } from "./schedulers.ts";

export interface BackendOptions {
  readonly address: string;
  /** Default: the port that the client asked for. Only "nat" can change it. */
  readonly port?: number;
  /** Share of the flows, 0 to 65,535. Default 1. */
  readonly weight?: number;
  /** Next hop (of the routing table of its family) that leads to it. Default: as its address is routed. */
  readonly nextHop?: number;
}

export interface ServiceOptions extends SchedulerOptions {
  readonly address: string;
  /** 0: all ports that have no service of their own. */
  readonly port: number;
  /** Default "tcp". */
  readonly protocol?: "tcp" | "udp" | "sctp";
  /** Default "maglev". */
  readonly scheduler?: SchedulerName;
  /** What is hashed: the client's address and port, or its address alone. Default "flow", but "client" for source-hash. */
  readonly hash?: "flow" | "client";
  /** Default "nat". */
  readonly mode?: Mode;
  /** The near end of tunnels ("ipip", "gue"). */
  readonly tunnelFrom?: string;
  /** MTU of the way to backends, for tunnels. Default: any. */
  readonly mtu?: number;
  /** A client keeps its backend for so long after its last new flow. Default: not at all. */
  readonly affinityMs?: number;
  /** A backend that comes up gets its share in ten steps over this time. Default 0. */
  readonly slowStartMs?: number;
  readonly health?: HealthOptions;
  readonly backends?: readonly BackendOptions[];
}

export const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

const statusCode = whole(100, 599);
const isRange = (value: unknown) =>
  Array.isArray(value) && value.length === 2 && value.every((each) => statusCode(each) === undefined) && value[0] <= value[1]
    ? undefined
    : "a first and a last status";
const pattern = (value: unknown) => (value instanceof RegExp ? undefined : "a regular expression");

const HEALTH = {
  kind: oneOf("tcp", "http"),
  port: peerPort,
  intervalMs: amount("milliseconds", 10),
  timeoutMs: amount("milliseconds", 1),
  jitter: share,
  failures: whole(1, 1000),
  successes: whole(1, 1000),
  path: (value: unknown) =>
    typeof value === "string" && /^\/[!-~]*$/.test(value) ? undefined : 'a path that begins with "/", without spaces',
  host: (value: unknown) => (typeof value === "string" && /^[!-~]+$/.test(value) ? undefined : "a host name"),
  status: either(statusCode, isRange),
  body: either(text, pattern),
};

const BACKEND = { address: text, port: peerPort, weight: whole(0, MOST_WEIGHT), nextHop: whole(0, 65_535) };

const SERVICE = {
  address: text,
  port: anyPort,
  protocol: oneOf(...Object.keys(PROTOCOLS)),
  scheduler: oneOf(...SCHEDULERS),
  virtualNodes: whole(1, 65_536),
  mostLoad: amount("times the share", 1),
  hash: oneOf("flow", "client"),
  mode: oneOf("nat", "dsr", "ipip", "gue"),
  tunnelFrom: text,
  mtu: whole(576, 65_535),
  affinityMs: amount("milliseconds"),
  slowStartMs: amount("milliseconds"),
  health: shaped("health check", HEALTH, ["kind"]),
  backends: listOf(anything),
};

export const BALANCER = {
  network: having("a network, such as host.network", "configure"),
  engine: anything,
  clock: anything,
  random: anything,
  secret: bytes,
  connect: callback,
};

function withPort(address: IpAddress, port: number): string {
  return address.family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** "tcp 192.0.2.80:80" */
export function serviceName({ protocol = "tcp", address, port }: ServiceOptions): string {
  return `${protocol} ${withPort(IpAddress.parse(address), port)}`;
}

/** "10.0.0.1:80": what consistent hashes hash. */
export function backendName(address: IpAddress, backend: BackendOptions, service: ServiceOptions): string {
  return withPort(address, backend.port ?? service.port);
}

export function checkService(options: ServiceOptions): void {
  checkOptions("service", SERVICE, options, ["address", "port"]);
  const { mode = "nat", tunnelFrom, health } = options;
  const isTunnel = mode === "ipip" || mode === "gue";
  if (isTunnel && tunnelFrom === undefined)
    throw invalid(`service: mode "${mode}" needs tunnelFrom, the address that its tunnels begin at`);
  if (!isTunnel && tunnelFrom !== undefined) throw invalid(`service: tunnelFrom is for modes "ipip" and "gue"; this one is "${mode}"`);
  if (!health) return;
  const { intervalMs, timeoutMs } = { ...HEALTH_DEFAULTS, ...health };
  if (timeoutMs > intervalMs) throw invalid(`health check: timeoutMs is ${timeoutMs}; expected at most intervalMs, ${intervalMs}`);
}

/** Fitting to its service; the address parsed. */
export function checkBackend(options: BackendOptions, service: ServiceOptions, serviceAddress: IpAddress): IpAddress {
  checkOptions("backend", BACKEND, options, ["address"]);
  const { mode = "nat", port: asked, tunnelFrom } = service;
  const address = IpAddress.parse(options.address);
  if (mode !== "nat" && options.port !== undefined && options.port !== asked)
    throw invalid(
      `backend: port is ${options.port}; mode "${mode}" leaves packets as they are, so that it has to be ${asked}, or left out`,
    );
  const near = tunnelFrom === undefined ? serviceAddress : IpAddress.parse(tunnelFrom);
  if (near.family !== address.family)
    throw invalid(
      `backend: ${address} is IPv${address.family}; expected IPv${near.family} as ${tunnelFrom === undefined ? "the service" : "tunnelFrom"}`,
    );
  return address;
}

/** As the plane is told of a backend. */
export function backendRecord(
  service: number,
  { mode = "nat", mtu = 0, tunnelFrom }: ServiceOptions,
  { address, port, weight, fraction, nextHop }: Pick<BackendRecord, "address" | "port" | "weight" | "nextHop"> & { fraction: number },
): BackendRecord {
  const share = weight * fraction;
  const from = tunnelFrom === undefined ? undefined : IpAddress.parse(tunnelFrom);
  return { service, address, port: mode === "nat" ? port : 0, mode, open: share > 0, weight: share, nextHop, mtu, tunnelFrom: from };
}
