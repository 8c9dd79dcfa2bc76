/** What a run is told: options of the command line and of the script, over what the public test runners use. */
import { IpAddress } from "../../src/base/ip-address.ts";
import { NotApplicable, ScriptError, type ScriptOption, Unsupported } from "./script.ts";

export const IP_VERSIONS = ["ipv4", "ipv4-mapped-ipv6", "ipv6"] as const;
export type IpVersion = (typeof IP_VERSIONS)[number];

export interface Config {
  readonly ipVersion: IpVersion;
  local: IpAddress;
  remote: IpAddress;
  gateway: IpAddress;
  bindPort: number;
  connectPort: number;
  mtu: number;
  /** Milliseconds, and a share of the time since the event before. */
  tolerance: number;
  tolerancePercent: number;
  /** Microseconds of a tick of TCP timestamps; 0: their clock is not checked. */
  tsTick: number;
  /** Segments are not put together for a larger one that the script expects. */
  strictSegments: boolean;
  /** Size of the pieces that a large inbound segment claims to be made of (GRO); 0: it is one. */
  mss: number;
  /** Kinds of events, "packet" and "syscall", whose failures are only told. */
  nonFatal: Set<string>;
  readonly initScripts: string[];
  readonly defines: Map<string, string>;
}

/** As the runners of the public suites call the tool: with an MTU that leaves the MSS of IPv4 to IPv6. */
function defaults(ipVersion: IpVersion): Config {
  const is6 = ipVersion === "ipv6";
  const defines = {
    TFO_COOKIE: is6 ? "c1d1e9742a47a9bc" : "3021b9d889017eeb",
    TFO_COOKIE_ZERO: is6 ? "82af1a8f9a205c34" : "b7c12350a90dc8f5",
    CMSG_LEVEL_IP: ipVersion === "ipv4" ? "SOL_IP" : "SOL_IPV6",
    CMSG_TYPE_RECVERR: ipVersion === "ipv4" ? "IP_RECVERR" : "IPV6_RECVERR",
    CODE: is6 ? "address_unreachable" : "host_unreachable",
  };
  return {
    ipVersion,
    local: IpAddress.parse(is6 ? "fd3d:a0b:17d6::1" : "192.168.0.1"),
    remote: IpAddress.parse(is6 ? "fd3d:fa7b:d17d::1" : "192.0.2.1"),
    gateway: IpAddress.parse(is6 ? "fd3d:a0b:17d6:8888::1" : "192.168.0.2"),
    bindPort: 8080,
    connectPort: 8080,
    mtu: is6 ? 1520 : 1500,
    tolerance: 4,
    tolerancePercent: 12.5,
    tsTick: 0,
    strictSegments: false,
    mss: 0,
    nonFatal: new Set(),
    initScripts: [],
    defines: new Map(Object.entries(defines)),
  };
}

/** Options that say how the tool works with a real kernel and a real network. */
const WITHOUT_MEANING = new Set(
  "netmask_ip speed code_command code_format code_sockopt tcp_ts_ecr_scaled dry_run verbose debug send_omit_free wire_client_dev wire_server_dev psp_udp_port".split(
    " ",
  ),
);

type Setter = (config: Config, value: string) => void;
const number =
  (name: "bindPort" | "connectPort" | "mtu" | "tsTick" | "mss" | "tolerancePercent"): Setter =>
  (config, value) => {
    config[name] = Number(value);
  };

/** Addresses of the other family are for the other runs of the script. */
const address =
  (name: "local" | "remote" | "gateway"): Setter =>
  (config, value) => {
    const parsed = IpAddress.parse(value.split("/")[0]);
    if (parsed.family !== config.local.family) throw new NotApplicable(`the script is for the other family: ${value}`);
    config[name] = parsed;
  };

const SETTERS: Readonly<Record<string, Setter>> = {
  bind_port: number("bindPort"),
  connect_port: number("connectPort"),
  mtu: number("mtu"),
  mss: number("mss"),
  tcp_ts_tick_usecs: number("tsTick"),
  tolerance_percent: number("tolerancePercent"),
  tolerance_usecs: (config, value) => {
    config.tolerance = Number(value) / 1000;
  },
  strict_segments: (config) => {
    config.strictSegments = true;
  },
  non_fatal: (config, value) => {
    config.nonFatal = new Set(value.split(","));
  },
  init_scripts: (config, value) => void config.initScripts.push(...value.split(",")),
  local_ip: address("local"),
  remote_ip: address("remote"),
  gateway_ip: address("gateway"),
  define: (config, value) => {
    const [name, ...rest] = value.split("=");
    config.defines.set(name, rest.join("="));
  },
  ip_version: () => {},
};

export function configure(ipVersion: IpVersion, options: readonly ScriptOption[]): Config {
  const config = defaults(ipVersion);
  for (const { name, value } of options) {
    const set = SETTERS[name];
    if (set) set(config, value);
    else if (!WITHOUT_MEANING.has(name)) throw new Unsupported(`the option --${name}`);
  }
  return config;
}

/** The versions that a script wants to be run with: what it or the command line says, else all. */
export function versionsOf(options: readonly ScriptOption[]): readonly IpVersion[] {
  const said = options.filter(({ name }) => name === "ip_version").at(-1)?.value;
  if (said === undefined) return IP_VERSIONS;
  const found = IP_VERSIONS.find((version) => version === said);
  if (!found) throw new ScriptError(1, `--ip_version=${said}; expected one of ${IP_VERSIONS.join(", ")}`);
  return [found];
}
