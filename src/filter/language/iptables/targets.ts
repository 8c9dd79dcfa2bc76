/** Targets of iptables (`-j …`) as nft's statements. Options of a target come behind its name. */
import { Fault } from "../faults.ts";
import { quoted } from "./chains.ts";
import { ECN_NAMES, type Gathered, ranges } from "./rule.ts";
import { hex, number, tosBits, type Word, type Words } from "./words.ts";

type Options = ReadonlyMap<string, string | true>;
interface Target {
  /** Options with a value, and without. */
  readonly values?: readonly string[];
  readonly switches?: readonly string[];
  write(options: Options, rule: Gathered, word: Word): string;
}
const written = (number: number): string => `0x${(number >>> 0).toString(16)}`;
const NAT_SWITCHES = ["--random", "--random-fully", "--persistent"];
function natFlags(options: Options): string {
  const names = [
    options.has("--random") ? "random" : "",
    options.has("--random-fully") ? "fully-random" : "",
    options.has("--persistent") ? "persistent" : "",
  ];
  const set = names.filter((name) => name !== "");
  return set.length === 0 ? "" : ` ${set.join(",")}`;
}
const text = (options: Options, name: string): string | undefined => options.get(name) as string | undefined;

/** Answers of REJECT: two names of each, and what it is to nft; empty: what is sent anyway. The first that begins as is said counts. */
const REJECT: Readonly<Record<"ip" | "ip6", readonly (readonly [string, string, string])[]>> = {
  ip: [
    ["icmp-net-unreachable", "net-unreach", "icmp type net-unreachable"],
    ["icmp-host-unreachable", "host-unreach", "icmp type host-unreachable"],
    ["icmp-proto-unreachable", "proto-unreach", "icmp type prot-unreachable"],
    ["icmp-port-unreachable", "port-unreach", ""],
    ["icmp-net-prohibited", "net-prohib", "icmp type net-prohibited"],
    ["icmp-host-prohibited", "host-prohib", "icmp type host-prohibited"],
    ["tcp-reset", "tcp-rst", "tcp reset"],
    ["icmp-admin-prohibited", "admin-prohib", "icmp type admin-prohibited"],
  ],
  ip6: [
    ["icmp6-no-route", "no-route", "icmpv6 type no-route"],
    ["icmp6-adm-prohibited", "adm-prohibited", "icmpv6 type admin-prohibited"],
    ["icmp6-addr-unreachable", "addr-unreach", "icmpv6 type addr-unreachable"],
    ["icmp6-port-unreachable", "port-unreach", ""],
    ["tcp-reset", "tcp-reset", "tcp reset"],
    ["icmp6-policy-fail", "policy-fail", "icmpv6 type policy-fail"],
    ["icmp6-reject-route", "reject-route", "icmpv6 type reject-route"],
  ],
};
function reject(options: Options, rule: Gathered, word: Word): string {
  const said = text(options, "--reject-with")?.toLowerCase();
  if (said === undefined) return "reject";
  const known = REJECT[rule.family];
  const found = known.find((names) => names.slice(0, 2).some((name) => name.startsWith(said)));
  if (!found) throw new Fault(word.at, `--reject-with is "${said}"; expected ${known.map(([name]) => name).join(", ")}`);
  return found[2] === "" ? "reject" : `reject with ${found[2]}`;
}
const LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
const LEVEL_NAMES: Readonly<Record<string, string>> = { warning: "warn", error: "err", panic: "emerg" };
function log(options: Options): string {
  const prefix = text(options, "--log-prefix");
  const named = text(options, "--log-level");
  const level = named && (LEVELS[Number(named)] ?? LEVEL_NAMES[named] ?? named);
  const flags = [
    ["--log-tcp-sequence", "tcp sequence"],
    ["--log-tcp-options", "tcp options"],
    ["--log-ip-options", "ip options"],
    ["--log-uid", "skuid"],
    ["--log-macdecode", "ether"],
  ];
  const kinds = flags.filter(([option]) => options.has(option)).map(([, name]) => ` flags ${name}`);
  return `log${prefix === undefined ? "" : ` prefix "${prefix}"`}${level && level !== "warn" ? ` level ${level}` : ""}${kinds.join("")}`;
}
function nflog(options: Options): string {
  const [group, prefix] = [text(options, "--nflog-group") ?? "0", text(options, "--nflog-prefix")];
  const [size, threshold] = [text(options, "--nflog-size"), text(options, "--nflog-threshold")];
  const rest = `${size ? ` snaplen ${size}` : ""}${threshold ? ` queue-threshold ${threshold}` : ""}`;
  return `log${prefix === undefined ? "" : ` prefix "${prefix}"`} group ${group}${rest}`;
}
/** A mark and its mask, as `value/mask`. */
function masked(text: string, word: Word): readonly [number, number | undefined] {
  const [value, mask] = text.split("/").map((half) => number(half, word));
  return [value, mask];
}
function mark(key: string, own: string): Target["write"] {
  return (options, _rule, word) => {
    const set = text(options, "--set-mark") ?? text(options, "--set-xmark");
    if (set !== undefined) {
      const [value, mask] = masked(set, word);
      if (mask === undefined || mask === 0xffffffff) return `${key} set ${written(value)}`;
      const kept = options.has("--set-mark") ? ~(mask | value) : ~mask;
      return `${key} set ${own} and ${written(kept)} ${options.has("--set-mark") ? "or" : "xor"} ${written(value)}`;
    }
    for (const [option, op] of [
      ["--or-mark", "or"],
      ["--and-mark", "and"],
      ["--xor-mark", "xor"],
    ]) {
      const value = text(options, option);
      if (value !== undefined) return `${key} set ${own} ${op} ${hex(value, word)}`;
    }
    throw new Fault(word.at, `${word.text} needs --set-mark, --set-xmark, --or-mark, --and-mark or --xor-mark`);
  };
}
const connmark = mark("ct mark", "ct mark");
const MARKS = ["--set-mark", "--set-xmark", "--or-mark", "--and-mark", "--xor-mark"];
const address =
  (statement: string, option: string): Target["write"] =>
  (options, _rule, word) => {
    const to = text(options, option);
    if (to === undefined) throw new Fault(word.at, `${word.text} needs ${option}`);
    return `${statement} to ${to}${natFlags(options)}`;
  };
const ports =
  (statement: string): Target["write"] =>
  (options) => {
    const to = text(options, "--to-ports") ?? text(options, "--to-port");
    return `${statement}${to === undefined ? "" : ` to :${to}`}${natFlags(options)}`;
  };
/** The network that matched is swapped for another one of its size. */
function netmap(options: Options, rule: Gathered, word: Word): string {
  const to = text(options, "--to");
  const [from] = rule.destinations.length > 0 ? rule.destinations : rule.sources;
  if (to === undefined || from === undefined) throw new Fault(word.at, "NETMAP needs --to, and -s or -d to say what is mapped");
  const [kind, key] = rule.destinations.length > 0 ? ["dnat", "daddr"] : ["snat", "saddr"];
  return `${kind} ${rule.family} prefix to ${rule.family} ${key} map { ${from} : ${to} }`;
}
/** A TOS byte as its two fields, dscp and ecn: each is set as a whole. */
function tosTarget(options: Options, rule: Gathered, word: Word): string {
  const set = text(options, "--set-tos");
  const [value, mask] = set === undefined ? [0, 0] : tosBits(set, { text: "--set-tos", at: word.at });
  if (mask !== 0xff && mask !== 0xfc && mask !== 0x03)
    throw new Fault(
      word.at,
      "TOS is translated with --set-tos of a number alone, or with the mask 0xfc or 0x03; names set six bits of eight",
    );
  const said = [
    (mask & 0xfc) === 0 ? "" : `${rule.family} dscp set 0x${(value >> 2).toString(16)}`,
    (mask & 3) === 0 ? "" : `${rule.family} ecn set ${ECN_NAMES[value & 3]}`,
  ];
  return said.filter((part) => part !== "").join(" ");
}
function dscp(options: Options, rule: Gathered, word: Word): string {
  const [value, named] = [text(options, "--set-dscp"), text(options, "--set-dscp-class")];
  if (value === undefined && named === undefined) throw new Fault(word.at, "DSCP needs --set-dscp or --set-dscp-class");
  const name = named?.toLowerCase();
  return `${rule.family} dscp set ${value === undefined ? (name === "be" ? "cs0" : name) : hex(value, word)}`;
}
const hops =
  (option: string): Target["write"] =>
  (options, rule, word) => {
    const value = text(options, option);
    if (value === undefined) throw new Fault(word.at, `${word.text} is translated with ${option} alone`);
    return `${rule.family === "ip" ? "ip ttl" : "ip6 hoplimit"} set ${value}`;
  };
function nfqueue(options: Options, _rule: Gathered, word: Word): string {
  const [number, balance] = [text(options, "--queue-num"), text(options, "--queue-balance")];
  const flags = [options.has("--queue-bypass") ? "bypass" : "", options.has("--queue-cpu-fanout") ? "fanout" : ""].filter(
    (flag) => flag !== "",
  );
  if (balance !== undefined && !ranges(balance).includes("-"))
    throw new Fault(word.at, `--queue-balance is "${balance}"; expected two numbers, the first the lower`);
  return `queue num ${balance === undefined ? (number ?? "0") : ranges(balance)}${flags.length > 0 ? ` ${flags.join(",")}` : ""}`;
}
function synproxy(options: Options): string {
  const [wscale, mss] = [text(options, "--wscale"), text(options, "--mss")];
  const said = [
    mss === undefined ? "" : `mss ${mss}`,
    wscale === undefined ? "" : `wscale ${wscale}`,
    options.has("--timestamp") ? "timestamp" : "",
    options.has("--sack-perm") ? "sack-perm" : "",
  ];
  return ["synproxy", ...said.filter((each) => each !== "")].join(" ");
}
/** Zones are chosen before tracking, as CT does; a helper is given behind it, which CT's chains are not. */
function connection(options: Options, _rule: Gathered, word: Word): string {
  if (options.has("--helper"))
    throw new Fault(word.at, "CT --helper is not translated: nft gives helpers behind tracking, by objects (ct helper set)");
  const said = [
    options.has("--notrack") ? "notrack" : "",
    ...[
      ["--zone", "ct zone set"],
      ["--zone-orig", "ct original zone set"],
      ["--zone-reply", "ct reply zone set"],
    ].map(([option, statement]) => (options.has(option) ? `${statement} ${text(options, option)}` : "")),
  ].filter((each) => each !== "");
  if (said.length === 0) throw new Fault(word.at, "CT needs --notrack, --zone, --zone-orig or --zone-reply");
  return said.join(" ");
}
const plain = (statement: string): Target => ({ write: () => statement });

function classify(options: Options, word: Word): string {
  const to = text(options, "--set-class");
  if (to === undefined) throw new Fault(word.at, "CLASSIFY needs --set-class");
  return `meta priority set ${to}`;
}
/** Options of TCP as iptables names them. */
const STRIPPED: Readonly<Record<string, string>> = { wscale: "window", mss: "maxseg", "sack-permitted": "sack-perm" };

const TARGETS: Readonly<Record<string, Target>> = {
  ACCEPT: plain("accept"),
  DROP: plain("drop"),
  RETURN: plain("return"),
  NOTRACK: plain("notrack"),
  CT: { values: ["--zone", "--zone-orig", "--zone-reply", "--helper"], switches: ["--notrack"], write: connection },
  TOS: { values: ["--set-tos", "--and-tos", "--or-tos", "--xor-tos"], write: tosTarget },
  DSCP: { values: ["--set-dscp", "--set-dscp-class"], write: dscp },
  TTL: { values: ["--ttl-set", "--ttl-inc", "--ttl-dec"], write: hops("--ttl-set") },
  HL: { values: ["--hl-set", "--hl-inc", "--hl-dec"], write: hops("--hl-set") },
  CLASSIFY: { values: ["--set-class"], write: (options, _rule, word) => classify(options, word) },
  TEE: {
    values: ["--gateway", "--oif"],
    write: (options, _rule, word) => {
      const [to, device] = [text(options, "--gateway"), text(options, "--oif")];
      if (to === undefined) throw new Fault(word.at, "TEE needs --gateway");
      return `dup to ${to}${device === undefined ? "" : ` device "${device}"`}`;
    },
  },
  NFQUEUE: { values: ["--queue-num", "--queue-balance"], switches: ["--queue-bypass", "--queue-cpu-fanout"], write: nfqueue },
  SYNPROXY: { values: ["--wscale", "--mss"], switches: ["--sack-perm", "--timestamp", "--ecn"], write: synproxy },
  TCPOPTSTRIP: {
    values: ["--strip-options"],
    write: (options, _rule, word) => {
      const names = text(options, "--strip-options")?.split(",");
      if (!names) throw new Fault(word.at, "TCPOPTSTRIP needs --strip-options");
      if (names.some((name) => name === "0" || name === "1")) throw new Fault(word.at, "options 0 and 1 of TCP cannot be taken away");
      return names.map((name) => `reset tcp option ${STRIPPED[name] ?? name}`).join(" ");
    },
  },
  TRACE: plain("meta nftrace set 1"),
  // Checksums are complete whenever a packet leaves.
  CHECKSUM: { switches: ["--checksum-fill"], write: () => "" },
  AUDIT: {
    values: ["--type"],
    write: (options, _rule, word) => {
      const type = text(options, "--type")?.toLowerCase();
      if (type !== "accept" && type !== "drop" && type !== "reject") throw new Fault(word.at, "AUDIT needs --type accept, drop or reject");
      return "log level audit";
    },
  },
  REJECT: { values: ["--reject-with"], write: reject },
  LOG: {
    values: ["--log-prefix", "--log-level"],
    switches: ["--log-tcp-sequence", "--log-tcp-options", "--log-ip-options", "--log-uid", "--log-macdecode"],
    write: log,
  },
  // The range has never meant anything.
  NFLOG: { values: ["--nflog-group", "--nflog-prefix", "--nflog-size", "--nflog-threshold", "--nflog-range"], write: nflog },
  MARK: { values: MARKS, write: mark("meta mark", "mark") },
  CONNMARK: {
    values: [...MARKS, "--nfmask", "--ctmask", "--mask"],
    switches: ["--save-mark", "--restore-mark"],
    write: (options, rule, word) => {
      if (!options.has("--save-mark") && !options.has("--restore-mark")) return connmark(options, rule, word);
      const mask = (name: string) => number(text(options, name) ?? text(options, "--mask") ?? "0xffffffff", { ...word, text: name });
      const [own, other] = options.has("--save-mark") ? [mask("--ctmask"), mask("--nfmask")] : [mask("--nfmask"), mask("--ctmask")];
      // What is kept of the one and what is taken of the other are two marks, and nft computes with one at a time.
      if (own !== 0xffffffff) throw new Fault(word.at, "CONNMARK that keeps bits of the mark it sets is not translated");
      const from = options.has("--save-mark") ? "mark" : "ct mark";
      return `${options.has("--save-mark") ? "ct" : "meta"} mark set ${from}${other === 0xffffffff ? "" : ` and ${written(other)}`}`;
    },
  },
  SNAT: { values: ["--to-source"], switches: NAT_SWITCHES, write: address("snat", "--to-source") },
  DNAT: { values: ["--to-destination"], switches: NAT_SWITCHES, write: address("dnat", "--to-destination") },
  MASQUERADE: { values: ["--to-ports"], switches: NAT_SWITCHES, write: ports("masquerade") },
  REDIRECT: { values: ["--to-ports", "--to-port"], switches: NAT_SWITCHES, write: ports("redirect") },
  NETMAP: { values: ["--to"], write: netmap },
  TCPMSS: {
    values: ["--set-mss"],
    switches: ["--clamp-mss-to-pmtu"],
    write: (options, _rule, word) => {
      if (options.size === 0) throw new Fault(word.at, "TCPMSS needs --set-mss or --clamp-mss-to-pmtu");
      return `tcp option maxseg size set ${text(options, "--set-mss") ?? "rt mtu"}`;
    },
  },
};

/** Reads the target's options; what is written waits until the whole rule is read. */
export class ChosenTarget {
  private readonly options = new Map<string, string | true>();
  constructor(
    readonly word: Word,
    private readonly jump: "jump" | "goto",
  ) {}
  private get target(): Target | undefined {
    return this.jump === "goto" ? undefined : TARGETS[this.word.text];
  }
  /** Options that it has. */
  get optionNames(): readonly string[] {
    return [...(this.target?.values ?? []), ...(this.target?.switches ?? [])];
  }
  /** Whether the option is the target's. */
  take(option: Word, words: Words): boolean {
    const { target } = this;
    if (this.options.has(option.text)) throw new Fault(option.at, `option ${option.text} can only be used once`);
    if (target?.values?.includes(option.text)) this.options.set(option.text, words.value(option));
    else if (target?.switches?.includes(option.text)) this.options.set(option.text, true);
    else return false;
    return true;
  }
  write(rule: Gathered): string {
    const { target, word } = this;
    if (target) return target.write(this.options, rule, word);
    if (/^[A-Z]{2,}$/.test(word.text) && KERNEL_TARGETS.has(word.text))
      throw new Fault(word.at, `the target ${word.text} is not translated`);
    return `${this.jump} ${quoted(word.text)}`;
  }
}
/** Targets that exist and are not chains. */
const KERNEL_TARGETS = new Set("CLUSTERIP CONNSECMARK DNPT ECN HMARK IDLETIMER LED RATEEST SECMARK SET SNPT TPROXY ULOG".split(" "));
