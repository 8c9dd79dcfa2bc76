/** Matches of iptables that ask for connections, numbers, times and the like: those of a network's every day stand in matches.ts. */
import { Fault } from "../faults.ts";
import { address, ECN_NAMES, eq, type Gathered, match, type Option, ranges } from "./rule.ts";
import { hex, number, tosBits, type Word, type Words } from "./words.ts";

/** Options that together make one match: written when all are read. */
function together<T extends object>(module: string, begin: () => T, write: (said: T, rule: Gathered, option: Word) => string) {
  return (take: (said: T, value: string, not: boolean, option: Word) => void, isSwitch = false): Option =>
    (rule, words, option, not) => {
      let said = rule.said.get(module) as T | undefined;
      if (!said) {
        const fresh = begin();
        said = fresh;
        rule.said.set(module, fresh);
        rule.late.push(() => write(fresh, rule, option));
      }
      take(said, isSwitch ? "" : words.value(option), not, option);
    };
}

// ── statistic ───────────────────────────────────────────────────────────────────────────────────
const RANDOM_BITS = 0x80000000;
const statistic = together(
  "statistic",
  () => ({ mode: "", probability: 0, every: 0, packet: 0, not: false }),
  ({ mode, probability, every, packet, not }, _rule, option) => {
    if (mode === "nth" && packet < every) return `numgen inc mod ${every} ${eq(not)}${packet}`;
    if (mode === "nth")
      throw new Fault(option.at, `-m statistic: --every ${every} --packet ${packet}; expected a packet of 0 to one less than every`);
    if (mode !== "random") throw new Fault(option.at, `--mode is "${mode}"; expected random or nth`);
    return `meta random & ${RANDOM_BITS - 1} ${not ? ">=" : "<"} ${Math.round(probability * RANDOM_BITS)}`;
  },
);

// ── connlimit, connbytes ────────────────────────────────────────────────────────────────────────
const connlimit = together(
  "connlimit",
  () => ({ count: 0, over: true, mask: undefined as number | undefined, field: "saddr" }),
  ({ count, over, mask, field }, { family, sets, setName }, option) => {
    const length = family === "ip" ? 32 : 128;
    const bits = mask ?? length;
    if (bits > length) throw new Fault(option.at, `--connlimit-mask is ${bits}; expected at most ${length}`);
    const key = bits === length ? `${family} ${field}` : `${family} ${field} and ${maskOf(family, bits)}`;
    const name = setName("connlimit");
    sets.push({ name, body: `type ${family === "ip" ? "ipv4_addr" : "ipv6_addr"}; flags dynamic;` });
    return `add @${name} { ${key} ct count ${over ? "over " : ""}${count} }`;
  },
);
function maskOf(family: "ip" | "ip6", bits: number): string {
  const step = family === "ip" ? 8 : 16;
  const parts = Array.from({ length: family === "ip" ? 4 : 8 }, (_, i) => {
    const ones = Math.min(Math.max(bits - i * step, 0), step);
    return 2 ** step - 2 ** (step - ones);
  });
  return family === "ip" ? parts.join(".") : parts.map((part) => part.toString(16)).join(":");
}
const DIRECTIONS: Readonly<Record<string, string>> = { original: "original ", reply: "reply ", both: "" };
const MODES: Readonly<Record<string, string>> = { packets: "packets", bytes: "bytes", avgpkt: "avgpkt" };
const connbytes = together(
  "connbytes",
  () => ({ range: "", direction: "", mode: "", not: false }),
  ({ range, direction, mode, not }, _rule, option) => {
    const [key, way] = [MODES[mode], DIRECTIONS[direction]];
    if (key === undefined || way === undefined)
      throw new Fault(
        option.at,
        "connbytes expects --connbytes-dir original, reply or both, and --connbytes-mode packets, bytes or avgpkt",
      );
    const [low, high = ""] = range.split(":");
    // One number alone is the least.
    if (high === "") return `ct ${way}${key} ${not ? "lt" : "ge"} ${low || 0}`;
    return `ct ${way}${key} ${eq(not)}${ranges(`${low || 0}:${high}`)}`;
  },
);

// ── time ────────────────────────────────────────────────────────────────────────────────────────
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const time = together(
  "time",
  () => ({ start: "", stop: "", from: "", to: "", days: [] as string[], not: false }),
  ({ start, stop, from, to, days, not }) => {
    const clock = (text: string, other: string) => `"${text === "" ? other : text.length === 5 ? `${text}:00` : text}"`;
    const date = (text: string) => {
      const [day, at = "00:00:00"] = text.split("T");
      return `"${day} ${at.length === 5 ? `${at}:00` : at}"`;
    };
    return [
      from === "" && to === ""
        ? ""
        : `meta time ${from !== "" && to !== "" ? `${date(from)}-${date(to)}` : from !== "" ? `>= ${date(from)}` : `<= ${date(to)}`}`,
      start === "" && stop === "" ? "" : `meta hour ${clock(start, "00:00:00")}-${clock(stop, "23:59:59")}`,
      days.length === 0 ? "" : `meta day ${eq(not)}{ ${days.join(", ")} }`,
    ]
      .filter((part) => part !== "")
      .join(" ");
  },
);
function dayOf(text: string, option: Word): string {
  const name = text.slice(0, 3).toLowerCase();
  const isDay = (day: string) => day === name || (name.length === 2 && day.startsWith(name));
  const number = /^[1-7]$/.test(text) ? Number(text) % 7 : DAYS.findIndex(isDay);
  if (number < 0) throw new Fault(option.at, `--weekdays: "${text}" is no day; expected Mon to Sun, or 1 to 7`);
  return String(number);
}

// ── rpfilter ────────────────────────────────────────────────────────────────────────────────────
const rpfilter = together(
  "rpfilter",
  () => ({ loose: false, mark: false, invert: false }),
  ({ loose, mark, invert }) => `fib saddr${mark ? " . mark" : ""}${loose ? "" : " . iif"} oif ${invert ? "missing" : "exists"}`,
);

/** `-m rpfilter` by itself is the check by the interface. */
export const bareRpfilter = (rule: Gathered, words: Words, option: Word): void => rpfilter(() => {}, true)(rule, words, option, false);

// ── the rest ──────────────────────────────────────────────────────────────────────────────────────
const DSCP_CLASSES: Readonly<Record<string, string>> = { be: "cs0" };
const tracked = (direction: "original" | "reply", field: "saddr" | "daddr" | "proto-src" | "proto-dst"): Option =>
  match((value, not, { family }, option) => {
    if (!field.endsWith("addr")) return `ct ${direction} ${field} ${not}${ranges(value)}`;
    // Here what is left out stands in the middle, which hardly anyone means.
    if (/^\d+(\.\d+){0,2}(\/|$)/.test(value)) throw new Fault(option.at, `${option.text} is "${value}"; expected an address of four bytes`);
    return `ct ${direction} ${family} ${field} ${not}${address(value, option)}`;
  });
/** A TOS byte as its two fields: dscp has the six upper bits, ecn the lower two. */
function tos(text: string, not: string, { family }: Gathered, option: Word): string {
  const [value, mask] = tosBits(text, option);
  if (mask !== 0xff && mask !== 0xfc && mask !== 0x03)
    throw new Fault(option.at, "--tos is translated with a number alone, or with the mask 0xfc or 0x03; names ask for six bits of eight");
  if (not !== "" && mask === 0xff)
    throw new Fault(option.at, "! --tos of the whole byte is not translated; expected the mask 0xfc, which leaves out the bits of ECN");
  const said = [
    (mask & 0xfc) === 0 ? "" : `${family} dscp ${not}0x${(value >> 2).toString(16)}`,
    (mask & 3) === 0 ? "" : `${family} ecn ${not}${ECN_NAMES[value & 3]}`,
  ];
  return said.filter((part) => part !== "").join(" ");
}
/** As many seconds as nft has milliseconds for. */
const MOST_SECONDS = 4_294_967;
/** Seconds of iptables are whole ones: the last of them has all its milliseconds. */
function expiration(text: string, not: string, option: Word): string {
  const [low, high = low] = text.split(":");
  const [from, to] = [number(low || "0", option), high === "" ? MOST_SECONDS : number(high, option)];
  if (from > to || from >= MOST_SECONDS)
    throw new Fault(option.at, `${option.text} is "${text}"; expected seconds, less than ${MOST_SECONDS}, the lower first`);
  if (to >= MOST_SECONDS) return `ct expiration ${not === "" ? ">=" : "<"} ${from}s`;
  return `ct expiration ${not}${from}s-${to}s999ms`;
}

/** All chunks there, or the one; flags of theirs are not translated. */
function chunkTypes(rule: Gathered, words: Words, option: Word, not: boolean): void {
  const [how, list] = [words.value(option).toLowerCase(), words.value(option).toUpperCase()];
  const names = list.split(",");
  const wrong = names.find((name) => !/^[A-Z_]+$/.test(name) || name === "ALL" || name === "NONE");
  const isOne = how === "all" || (how === "any" && names.length === 1);
  if (wrong !== undefined || !isOne || (not && names.length > 1))
    throw new Fault(option.at, "--chunk-types is translated with all of some types by name, or any of one");
  // What is missing is missing of all other protocols' packets, too.
  if (!not) rule.protocolUsed = true;
  const found = not ? "missing" : "exists";
  for (const name of names) rule.matches.push(`sctp chunk ${CHUNK_NAMES[name] ?? name.toLowerCase().replaceAll("_", "-")} ${found}`);
}
const CHUNK_NAMES: Readonly<Record<string, string>> = { ECN_ECNE: "ecne", ECN_CWR: "cwr" };

/** Labels are bits; with --set the connection gets it first. */
const connlabel = together(
  "connlabel",
  () => ({ label: 0, not: false, set: false }),
  ({ label, not, set }) => `${set ? `ct label set ${label} ` : ""}ct label ${not ? "! " : ""}${label}`,
);
/** What kind of address it is, of any interface or of the one in hand. */
const addrtype = together(
  "addrtype",
  () => ({ types: [] as (readonly [field: string, types: string])[], iface: "" }),
  ({ types, iface }) => types.map(([field, type]) => `fib ${field}${iface} type ${type}`).join(" "),
);
/** One type, or any of some. */
function typeList(text: string, not: boolean): string {
  const names = text.toLowerCase().split(",");
  return `${eq(not)}${names.length === 1 ? names[0] : `{ ${names.join(", ")} }`}`;
}
const MOST_SPI = 4_294_967_295;
const MOST_BYTE = 255;

export const MORE_MATCHES: Readonly<Record<string, Option>> = {
  "--mode": statistic((said, value) => void (said.mode = value)),
  "--probability": statistic((said, value, not, option) => {
    if (!(Number(value) >= 0 && Number(value) <= 1)) throw new Fault(option.at, `--probability is "${value}"; expected 0 to 1`);
    Object.assign(said, { probability: Number(value), not });
  }),
  "--every": statistic((said, value, not, option) => void Object.assign(said, { every: number(value, option), not })),
  "--packet": statistic((said, value, _not, option) => void (said.packet = number(value, option))),
  "--connlimit-above": connlimit((said, value, not, option) => void Object.assign(said, { count: number(value, option), over: !not })),
  "--connlimit-upto": connlimit((said, value, not, option) => void Object.assign(said, { count: number(value, option), over: not })),
  "--connlimit-mask": connlimit((said, value, _not, option) => void (said.mask = number(value, option))),
  "--connlimit-saddr": connlimit((said) => void (said.field = "saddr"), true),
  "--connlimit-daddr": connlimit((said) => void (said.field = "daddr"), true),
  "--connbytes": connbytes((said, value, not) => void Object.assign(said, { range: value, not })),
  "--connbytes-dir": connbytes((said, value) => void (said.direction = value)),
  "--connbytes-mode": connbytes((said, value) => void (said.mode = value)),
  "--timestart": time((said, value) => void (said.start = value)),
  "--timestop": time((said, value) => void (said.stop = value)),
  "--datestart": time((said, value) => void (said.from = value)),
  "--datestop": time((said, value) => void (said.to = value)),
  "--weekdays": time((said, value, not, option) => {
    Object.assign(said, { days: value.split(",").map((day) => dayOf(day, option)), not });
  }),
  "--loose": rpfilter((said) => void (said.loose = true), true),
  "--validmark": rpfilter((said) => void (said.mark = true), true),
  "--invert": rpfilter((said) => void (said.invert = true), true),
  "--helper": match((value, not) => `ct helper ${not}"${value}"`),
  "--quota": match((value, not) => `quota ${not ? "over " : ""}${value} bytes`),
  "--mss": match((value, not, _rule, option) => {
    // It is also true of what has no MSS.
    if (not !== "") throw new Fault(option.at, "! --mss is not translated: it matches packets without an MSS, too");
    return `tcp option maxseg size ${ranges(value)}`;
  }),
  "--tcp-option": match((value, not, rule) => {
    // What is missing is missing of all other protocols' packets, too.
    if (not === "") rule.protocolUsed = true;
    return `tcp option ${value} ${not ? "missing" : "exists"}`;
  }),
  "--dscp-class": match((value, not, { family }) => `${family} dscp ${not}${DSCP_CLASSES[value.toLowerCase()] ?? value.toLowerCase()}`),
  "--tos": match(tos),
  "--ctdir": match((value, not) => `ct direction ${not}${value.toLowerCase()}`),
  "--ctstatus": (rule, words, option, not) => {
    const names = words.value(option).toLowerCase().split(",");
    rule.matches.push(`ct status ${not ? "! " : ""}${names.map((name) => (name === "seen_reply" ? "seen-reply" : name)).join(",")}`);
  },
  "--ctorigsrc": tracked("original", "saddr"),
  "--ctorigdst": tracked("original", "daddr"),
  "--ctreplsrc": tracked("reply", "saddr"),
  "--ctrepldst": tracked("reply", "daddr"),
  "--ctorigsrcport": tracked("original", "proto-src"),
  "--ctorigdstport": tracked("original", "proto-dst"),
  "--ctreplsrcport": tracked("reply", "proto-src"),
  "--ctrepldstport": tracked("reply", "proto-dst"),
  "--ctexpire": match((value, not, _rule, option) => expiration(value, not, option)),
  "--cpu": match((value, not) => `cpu ${not}${value}`),
  "--cgroup": match((value, not) => `meta cgroup ${not}${value}`),
  "--espspi": match((value, not) => `esp spi ${not}${ranges(value, MOST_SPI)}`),
  "--ahspi": match((value, not) => `ah spi ${not}${ranges(value, MOST_SPI)}`),
  "--ipcompspi": match((value, not) => `comp cpi ${not}${ranges(value)}`),
  "--dccp-types": match((value, not) => {
    const types = value.toLowerCase().split(",");
    const named = types.map((type) => (type === "invalid" ? "10" : type));
    return `dccp type ${not}${named.length > 1 ? `{ ${named.join(", ")} }` : named[0]}`;
  }),
  "--ecn-ip-ect": match((value, not, { family }, option) => {
    const name = ECN_NAMES[number(value, option)];
    if (name === undefined) throw new Fault(option.at, `--ecn-ip-ect is "${value}"; expected 0 to 3`);
    return `${family} ecn ${not}${name}`;
  }),
  "--ecn-tcp-cwr": (rule, _words, _option, not) => void rule.matches.push(`tcp flags ${not ? "! " : ""}cwr`),
  "--ecn-tcp-ece": (rule, _words, _option, not) => void rule.matches.push(`tcp flags ${not ? "! " : ""}ecn`),
  "--src-group": match((value, not, _rule, option) => `iifgroup ${not}${hex(value, option)}`),
  "--dst-group": match((value, not, _rule, option) => `oifgroup ${not}${hex(value, option)}`),
  "--realm": match((value, not, _rule, option) => {
    const [realm, mask] = value.split("/");
    if (mask === undefined) return `rtclassid ${not}${hex(realm, option)}`;
    return `rtclassid and ${hex(mask, option)} ${not === "" ? "==" : "!="} ${hex(realm, option)}`;
  }),
  "--label": connlabel((said, value, not, option) => void Object.assign(said, { label: number(value, option), not })),
  "--set": connlabel((said) => void (said.set = true), true),
  "--src-type": addrtype((said, value, not) => void said.types.push(["saddr", typeList(value, not)])),
  "--dst-type": addrtype((said, value, not) => void said.types.push(["daddr", typeList(value, not)])),
  "--limit-iface-in": addrtype((said) => void (said.iface = " . iif"), true),
  "--limit-iface-out": addrtype((said) => void (said.iface = " . oif"), true),
  "--fragid": match((value, not) => `frag id ${not}${ranges(value, MOST_SPI)}`),
  // Both are as they should be: zero.
  "--fragres": (rule) => void rule.matches.push("frag reserved 0 frag reserved2 0"),
  "--fragfirst": (rule) => void rule.matches.push("frag frag-off 0"),
  "--fragmore": (rule) => void rule.matches.push("frag more-fragments 1"),
  "--fraglast": (rule) => void rule.matches.push("frag more-fragments 0"),
  "--mh-type": match((value, not) => `mh type ${not}${ranges(value, MOST_BYTE)}`),
  "--rt-type": match((value, not) => `rt type ${not}${value}`),
  "--rt-segsleft": match((value, not) => `rt seg-left ${not}${ranges(value, MOST_BYTE)}`),
  "--chunk-types": chunkTypes,
  "--transparent": (rule, _words, _option, not) => void rule.matches.push(`socket transparent ${not ? "0" : "1"}`),
};
