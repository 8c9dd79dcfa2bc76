/** Words of conntrack(8) that say which connections are meant. */
import * as abi from "../../../assembly/abi.ts";
import type { FlowFilter } from "../../track/conntrack.ts";
import { SCTP_STATES, TCP_STATES } from "../../track/flow.ts";
import { usage } from "./command.ts";

export const VERSION = "conntrack v1.4.7 (packetloom)";

/** A number of an option, decimal or hexadecimal. */
export function numberOf(text: string, option: string, most: number): number {
  const value = Number(text);
  if (text === "" || !Number.isInteger(value) || value < 0 || value > most)
    throw usage(`${VERSION}: ${option} is "${text}"; expected a number from 0 to ${most}`);
  return value;
}

type Reading = (value: string, option: string) => Partial<FlowFilter>;
type AddressName = "src" | "dst" | "replySrc" | "replyDst";
/** Options whose address may be left out: any. */
export const OPTIONAL: ReadonlySet<string> = new Set(["-n", "--src-nat", "-g", "--dst-nat", "-j", "--any-nat"]);
const translated =
  (name: "srcNat" | "dstNat" | "anyNat"): Reading =>
  (value) => ({ [name]: value === "" ? true : value });
const address =
  (name: AddressName): Reading =>
  (value) => ({ [name]: value });
type NumberName = "zone" | "sport" | "dport" | "replySport" | "replyDport" | "icmpType" | "icmpCode" | "icmpId";
const number =
  (name: NumberName, most: number): Reading =>
  (text, option) => ({ [name]: numberOf(text, option, most) });
const port = (name: NumberName) => number(name, 0xffff);
const zoneOf =
  (direction: "original" | "reply"): Reading =>
  (text, option) => ({ zone: numberOf(text, option, 0xffff), zoneOf: direction });
const protocol: Reading = (name) => ({ protocol: /^\d+$/.test(name) ? Number(name) : name });
const family: Reading = (name, option) => {
  if (name !== "ipv4" && name !== "ipv6") throw usage(`${VERSION}: ${option} is "${name}"; expected ipv4 or ipv6`);
  return { family: name === "ipv6" ? 6 : 4 };
};
const state: Reading = (name, option) => {
  const known = [...new Set([...TCP_STATES, ...SCTP_STATES])];
  if (!known.includes(name)) throw usage(`${VERSION}: ${option} is "${name}"; expected one of ${known.join(", ")}`);
  return { state: name };
};
/** `5`, or `5/0xff`: the bits that count. */
export function markOf(text: string, option: string): { readonly mark: number; readonly markMask?: number } {
  const [mark, mask] = text.split("/");
  const most = 0xffff_ffff;
  return { mark: numberOf(mark, option, most), ...(mask === undefined ? {} : { markMask: numberOf(mask, option, most) }) };
}
const STATUSES: Readonly<Record<string, Partial<FlowFilter>>> = {
  ASSURED: { status: abi.IPS_ASSURED },
  SEEN_REPLY: { status: abi.IPS_SEEN_REPLY },
  UNREPLIED: { notStatus: abi.IPS_SEEN_REPLY },
  UNSET: {},
  EXPECTED: { status: abi.IPS_EXPECTED },
  CONFIRMED: { status: abi.IPS_CONFIRMED },
  SRC_NAT: { status: abi.IPS_SRC_NAT },
  DST_NAT: { status: abi.IPS_DST_NAT },
};
const status: Reading = (text, option) => {
  const bits = { status: 0, notStatus: 0 };
  for (const name of text.split(",")) {
    if (!Object.hasOwn(STATUSES, name))
      throw usage(`${VERSION}: ${option} is "${name}"; expected some of ${Object.keys(STATUSES).join(", ")}`);
    bits.status |= STATUSES[name].status ?? 0;
    bits.notStatus |= STATUSES[name].notStatus ?? 0;
  }
  return bits;
};

const named = (reading: Reading, ...names: readonly string[]) => names.map((name) => [name, reading] as const);
export const FILTERS: ReadonlyMap<string, Reading> = new Map([
  ...named(address("src"), "-s", "--src", "--orig-src"),
  ...named(address("dst"), "-d", "--dst", "--orig-dst"),
  ...named(address("replySrc"), "-r", "--reply-src"),
  ...named(address("replyDst"), "-q", "--reply-dst"),
  ...named(translated("srcNat"), "-n", "--src-nat"),
  ...named(translated("dstNat"), "-g", "--dst-nat"),
  ...named(translated("anyNat"), "-j", "--any-nat"),
  ...named(protocol, "-p", "--proto", "--protonum"),
  ...named(family, "-f", "--family"),
  ...named(port("zone"), "-w", "--zone"),
  ...named(zoneOf("original"), "--orig-zone"),
  ...named(zoneOf("reply"), "--reply-zone"),
  ...named(status, "-u", "--status"),
  ...named(state, "--state"),
  ...named(port("sport"), "--sport", "--orig-port-src"),
  ...named(port("dport"), "--dport", "--orig-port-dst"),
  ...named(port("replySport"), "--reply-port-src"),
  ...named(port("replyDport"), "--reply-port-dst"),
  ...named(number("icmpType", 255), "--icmp-type", "--icmpv6-type"),
  ...named(number("icmpCode", 255), "--icmp-code", "--icmpv6-code"),
  ...named(port("icmpId"), "--icmp-id", "--icmpv6-id"),
]);
