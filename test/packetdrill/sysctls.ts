/**
 * `net.ipv4.tcp_…` as settings of the stack. The list is white: a name that is not in it, or a value that the stack
 * has no setting for, makes a script unsupported when it could matter to what is on the wire.
 */
import type { Host } from "../../src/host/host.ts";
import { CookieKeys } from "../../src/tcp/fast-open.ts";
import { Unsupported } from "./script.ts";
import { ints } from "./values.ts";

/** Sets what a sysctl says; throws Unsupported for what cannot be. */
type Rule = (host: Host, value: string, name: string) => void;

/** Nothing on the wire of a script depends on it. */
const ignored: Rule = () => {};

/** The stack is built for these values. */
const fixed =
  (...values: string[]): Rule =>
  (_, value, name) => {
    if (!values.includes(value)) throw new Unsupported(`${name}=${value}; the stack knows only ${values.join(", ")}`);
  };

/** A default of connections; a stack without it is held to `otherwise`. */
const option =
  (key: string, convert: (value: string) => unknown, otherwise: Rule = fixed()): Rule =>
  (host, value, name) => {
    const defaults = host.tcp.defaults as unknown as Record<string, unknown>;
    if (key in defaults) defaults[key] = convert(value);
    else otherwise(host, value, name);
  };

const setting =
  (key: string, convert: (value: string) => unknown, otherwise: Rule = fixed()): Rule =>
  (host, value, name) => {
    const settings = host.tcp.settings as unknown as Record<string, unknown>;
    if (key in settings) settings[key] = convert(value);
    else otherwise(host, value, name);
  };

const isOn = (value: string) => Number(value) !== 0;
/** The middle one of "least default most". */
const initial = (value: string) => Number(value.split(/\s+/)[1] ?? value);
const most = (value: string) => Number(value.split(/\s+/)[2] ?? value);

/** 2^32 - 1 is no mark at all. */
const lowWater = (value: string) => (Number(value) >= 0xffff_ffff ? 0 : Number(value));

const both =
  (...rules: Rule[]): Rule =>
  (host, value, name) => {
    for (const rule of rules) rule(host, value, name);
  };

const congestion: Rule = (host, value, name) => {
  if (value !== "cubic" && value !== "reno" && value !== "bbr" && value !== "dctcp") throw new Unsupported(`${name}=${value}`);
  host.tcp.setDefaults({ congestion: value });
};

/** Bits of net.ipv4.tcp_fastopen (Documentation/networking/ip-sysctl.rst). */
const fastOpen: Rule = (host, value) => {
  const bits = Number(value);
  Object.assign(host.tcp.settings.fastOpen, {
    client: (bits & 1) !== 0,
    server: (bits & 2) !== 0,
    clientWithoutCookie: (bits & 4) !== 0,
    serverWithoutCookie: (bits & 0x200) !== 0,
    everyListener: (bits & 0x400) !== 0,
  });
};

/** Of an ecn sysctl: 0 off, 1 ask and grant, 2 grant, 3 AccECN, 4 AccECN granted and ECN asked for, 5 AccECN granted. */
const ECN: Readonly<Record<string, readonly [string, string]>> = {
  "0": ["off", "off"],
  "1": ["ecn", "ecn"],
  "2": ["off", "ecn"],
  "3": ["accecn", "accecn"],
  "4": ["ecn", "accecn"],
  "5": ["off", "accecn"],
};
const ecn: Rule = (host, value, name) => {
  const pair = ECN[value];
  if (!pair) throw new Unsupported(`${name}=${value}`);
  option("ecnRequest", () => pair[0], fixed("0"))(host, value, name);
  option("ecnAccept", () => pair[1], fixed("0"))(host, value, name);
};

/** "a1a1a1a1-b2b2b2b2-…,…": one or two keys of four words each, which lie little-endian in memory. */
const fastOpenKey: Rule = (host, value, name) => {
  const words = value.split(/[-,]/).map((word) => Number.parseInt(word, 16));
  if ((words.length !== 4 && words.length !== 8) || words.some(Number.isNaN)) throw new Unsupported(`${name}=${value}`);
  host.tcp.cookieKeys = new CookieKeys(ints(...words));
};

const TCP: Readonly<Record<string, Rule>> = {
  rmem: both(option("receiveBuffer", most), option("initialReceiveBuffer", initial, ignored)),
  wmem: both(option("sendBuffer", most), setting("initialSendBuffer", initial)),
  timestamps: option("timestamps", isOn),
  sack: option("sack", isOn),
  window_scaling: option("windowScaling", isOn),
  dsack: setting("dsack", isOn, fixed("1")),
  fack: ignored,
  syn_retries: setting("synRetries", Number),
  synack_retries: setting("synAckRetries", Number),
  retries1: ignored,
  retries2: setting("retries", Number),
  orphan_retries: setting("orphanRetries", Number),
  frto: setting("frto", isOn, fixed("2", "1")),
  reordering: setting("reordering", Number, fixed("3")),
  max_reordering: setting("maxReordering", Number, fixed("300")),
  congestion_control: congestion,
  allowed_congestion_control: ignored,
  slow_start_after_idle: setting("slowStartAfterIdle", isOn, fixed("1")),
  early_retrans: setting("tailLossProbe", (value) => Number(value) >= 3, fixed("3", "4")),
  recovery: setting("recovery", Number, fixed("1")),
  thin_linear_timeouts: fixed("0"),
  tso_win_divisor: ignored,
  min_tso_segs: setting("minTsoSegments", Number, ignored),
  tso_rtt_log: ignored,
  ecn,
  ecn_fallback: setting("ecnFallback", isOn, ignored),
  ecn_option: setting("ecnOption", isOn),
  ecn_option_beacon: ignored,
  pacing_ss_ratio: ignored,
  pacing_ca_ratio: ignored,
  notsent_lowat: setting("notSentLowWater", lowWater),
  fastopen: fastOpen,
  fastopen_key: fastOpenKey,
  // No Linux that is public has it: scripts go on with `|| ip tcp_metrics flush all`.
  fastopen_cookies: ignored,
  fastopen_blackhole_timeout_sec: setting("fastOpenBlackHoleMs", (value) => Number(value) * 1000, ignored),
  syncookies: setting("synCookies", Number, ignored),
  max_syn_backlog: ignored,
  abort_on_overflow: fixed("0"),
  adv_win_scale: fixed("1", "-2", "2"),
  app_win: ignored,
  moderate_rcvbuf: option("tuneReceiveBuffer", isOn, ignored),
  mtu_probing: setting("mtuProbing", Number),
  base_mss: setting("baseMss", Number),
  mtu_probe_floor: setting("mtuProbeFloor", Number),
  min_snd_mss: setting("minSendMss", Number),
  probe_interval: setting("mtuProbeIntervalMs", (value) => Number(value) * 1000),
  probe_threshold: setting("mtuProbeThreshold", Number),
  no_metrics_save: ignored,
  no_ssthresh_metrics_save: ignored,
  metrics_save: ignored,
  rfc1337: fixed("0"),
  tw_reuse: setting("timeWaitReuse", Number, ignored),
  fin_timeout: setting("finWait2Ms", (value) => Number(value) * 1000),
  keepalive_time: option("keepAlive", (value) => (value === "7200" ? 0 : Number(value)), ignored),
  keepalive_intvl: option("keepAliveInterval", Number),
  keepalive_probes: option("keepAliveProbes", Number),
  stdurg: fixed("0"),
  limit_output_bytes: ignored,
  challenge_ack_limit: setting("challengeAckLimit", Number, ignored),
  invalid_ratelimit: setting("invalidRateLimitMs", Number, fixed("500")),
  autocorking: ignored,
  rto_min_us: option("rtoMin", (value) => Number(value) / 1000),
  rto_max_ms: option("rtoMax", Number),
  linear_timeouts: ignored,
  syn_linear_timeouts: setting("synLinearTimeouts", Number, ignored),
  min_rtt_wlen: ignored,
  comp_sack_delay_ns: setting("compSackDelayMs", (value) => Number(value) / 1e6, ignored),
  comp_sack_nr: ignored,
  comp_sack_slack_ns: ignored,
  comp_sack_rtt_percent: ignored,
  backlog_ack_defer: ignored,
  reflect_tos: fixed("0"),
  migrate_req: ignored,
  shrink_window: setting("shrinkWindow", isOn, fixed("0")),
  plb_enabled: fixed("0"),
  rcvbuf_low_rtt: ignored,
};

const OTHERS: Readonly<Record<string, Rule>> = {
  "module.tcp_cubic.parameters.hystart_detect": setting("hystartDetect", Number, fixed("3")),
  "module.tcp_cubic.parameters.hystart": setting("hystart", isOn, fixed("1")),
  "net.ipv4.ip_no_pmtu_disc": fixed("0"),
  "net.ipv4.ip_local_port_range": (host, value) => {
    const [first, last] = value.split(/\s+/).map(Number);
    if (host.ip.localPorts) host.ip.localPorts = { first, last };
  },
  "net.ipv4.ping_group_range": ignored,
  "net.ipv4.ip_nonlocal_bind": ignored,
  "net.ipv4.icmp_ratelimit": ignored,
  "net.core.optmem_max": ignored,
  "net.core.rmem_max": ignored,
  "net.core.wmem_max": ignored,
  "net.core.somaxconn": ignored,
  "net.core.default_qdisc": ignored,
  "net.core.tstamp_allow_data": ignored,
  "net.ipv6.auto_flowlabels": ignored,
};

/** `name` with dots. */
export function sysctl(host: Host, name: string, value: string): void {
  const rule = name.startsWith("net.ipv4.tcp_") ? TCP[name.slice("net.ipv4.tcp_".length)] : OTHERS[name];
  if (!rule) throw new Unsupported(`the sysctl ${name}=${value} is not known`);
  rule(host, value.trim(), name);
}

/** What the public suites set before each script, where their own file is not at hand. */
export const DEFAULTS: readonly (readonly [string, string])[] = [
  ["net.ipv4.tcp_rmem", `4096 540000 ${15 << 20}`],
  ["net.ipv4.tcp_wmem", `4096 ${256 << 10} 4194304`],
  ["net.ipv4.tcp_timestamps", "1"],
  ["net.ipv4.tcp_syn_retries", "5"],
  ["net.ipv4.tcp_synack_retries", "5"],
  ["net.ipv4.tcp_frto", "2"],
  ["net.ipv4.tcp_sack", "1"],
  ["net.ipv4.tcp_dsack", "1"],
  ["net.ipv4.tcp_reordering", "3"],
  ["net.ipv4.tcp_congestion_control", "cubic"],
  ["net.ipv4.tcp_slow_start_after_idle", "0"],
  ["net.ipv4.tcp_early_retrans", "4"],
  ["net.ipv4.tcp_recovery", "1"],
  ["net.ipv4.tcp_ecn", "0"],
  ["net.ipv4.tcp_ecn_option", "2"],
  ["net.ipv4.tcp_notsent_lowat", "4294967295"],
  ["net.ipv4.tcp_fastopen", "0x70403"],
  ["net.ipv4.tcp_fastopen_key", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"],
  ["net.ipv4.tcp_syncookies", "1"],
];
