/** Router solicitations and advertisements with their options (RFC 4861 §4.1, §4.2 and §4.6, RFC 4191, RFC 8106). */
import { be32 } from "../base/bytes.ts";
import { IpAddress } from "../base/ip-address.ts";

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
const OPTION = { sourceMac: 1, prefix: 3, mtu: 5, route: 24, rdnss: 25, dnssl: 31 } as const;
/** Options of a kind that are read from one message, at most. */
const MOST = 16;
export const FOREVER = 0xffffffff;

export type Preference = "low" | "medium" | "high";

export interface AdvertisedPrefix {
  readonly prefix: IpAddress;
  readonly length: number;
  /** Addresses of the prefix are on the link. */
  readonly onLink: boolean;
  /** Hosts make addresses of it. */
  readonly autonomous: boolean;
  /** Seconds; 0xffffffff for ever. */
  readonly validSeconds: number;
  readonly preferredSeconds: number;
}

export interface AdvertisedRoute {
  readonly prefix: IpAddress;
  readonly length: number;
  readonly preference: Preference;
  readonly seconds: number;
}

export interface RouterAdvertisement {
  /** Hop limit hosts should use; 0: not said. */
  readonly hopLimit: number;
  /** Addresses, and other things, by DHCPv6. */
  readonly managed: boolean;
  readonly other: boolean;
  readonly preference: Preference;
  /** How long it is a default router; 0: it is none. */
  readonly lifetimeSeconds: number;
  /** Milliseconds; 0: not said. */
  readonly reachableMs: number;
  readonly retransMs: number;
  readonly sourceMac?: Uint8Array;
  readonly mtu?: number;
  readonly prefixes: readonly AdvertisedPrefix[];
  readonly routes: readonly AdvertisedRoute[];
  readonly nameServers: readonly { readonly seconds: number; readonly addresses: readonly IpAddress[] }[];
  readonly searchList: readonly { readonly seconds: number; readonly domains: readonly string[] }[];
}

/** The option with the sender's MAC of a solicitation; undefined when the message is broken, null without the option. */
export function parseSolicitation(bytes: Uint8Array): Uint8Array | null | undefined {
  if (bytes.length < 8 || bytes[1] !== 0) return undefined;
  const options = splitOptions(bytes, 8);
  return options && (macIn(options) ?? null);
}

/** Bytes from the type on; undefined when RFC 4861 §6.1.2 says to discard them. */
export function parseAdvertisement(bytes: Uint8Array): RouterAdvertisement | undefined {
  if (bytes.length < 16 || bytes[1] !== 0) return undefined;
  const options = splitOptions(bytes, 16);
  if (!options) return undefined;
  const view = viewOf(bytes);
  const all = (type: number, least: number) => options.filter((each) => each[0] === type && each.length >= least).slice(0, MOST);
  const [mtu] = all(OPTION.mtu, 8);
  return {
    hopLimit: bytes[4],
    managed: (bytes[5] & 0x80) !== 0,
    other: (bytes[5] & 0x40) !== 0,
    preference: preferenceOf(bytes[5] >>> 3) ?? "medium",
    lifetimeSeconds: view.getUint16(6),
    reachableMs: view.getUint32(8),
    retransMs: view.getUint32(12),
    sourceMac: macIn(options),
    mtu: mtu && viewOf(mtu).getUint32(4),
    prefixes: all(OPTION.prefix, 32).flatMap(readPrefix),
    routes: all(OPTION.route, 8).flatMap(readRoute),
    nameServers: all(OPTION.rdnss, 24).map((each) => ({
      seconds: viewOf(each).getUint32(4),
      addresses: Array.from({ length: (each.length - 8) >>> 4 }, (_, i) => IpAddress.from6(each.subarray(8 + 16 * i))).filter(
        (a) => a !== undefined,
      ),
    })),
    searchList: all(OPTION.dnssl, 16).map((each) => ({ seconds: viewOf(each).getUint32(4), domains: readDomains(each.subarray(8)) })),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Options as pieces; undefined when one has no length or is cut off. */
function splitOptions(bytes: Uint8Array, from: number): Uint8Array[] | undefined {
  const out: Uint8Array[] = [];
  for (let at = from; at < bytes.length; ) {
    const length = bytes[at + 1] * 8;
    if (!(length > 0) || at + length > bytes.length) return undefined;
    out.push(bytes.subarray(at, at + length));
    at += length;
  }
  return out;
}

function macIn(options: readonly Uint8Array[]): Uint8Array | undefined {
  return options.find((each) => each[0] === OPTION.sourceMac && each.length === 8)?.slice(2);
}

/** RFC 4191 §2.1: 2 is reserved. */
function preferenceOf(bits: number): Preference | undefined {
  return (["medium", "high", undefined, "low"] as const)[bits & 3];
}

function readPrefix(option: Uint8Array): AdvertisedPrefix[] {
  const view = viewOf(option);
  const prefix = IpAddress.from6(option.subarray(16));
  if (!prefix) return [];
  const [onLink, autonomous] = [(option[3] & 0x80) !== 0, (option[3] & 0x40) !== 0];
  return [{ prefix, length: option[2], onLink, autonomous, validSeconds: view.getUint32(4), preferredSeconds: view.getUint32(8) }];
}

function readRoute(option: Uint8Array): AdvertisedRoute[] {
  const length = option[2];
  const preference = preferenceOf(option[3] >>> 3);
  // The option is as long as the prefix needs (RFC 4191 §2.3).
  if (!preference || length > 128 || option.length > 24 || option.length < 8 + 8 * Math.ceil(length / 64)) return [];
  const bytes = new Uint8Array(16);
  bytes.set(option.subarray(8, 24));
  const prefix = IpAddress.from6(bytes);
  return !prefix ? [] : [{ prefix, length, preference, seconds: viewOf(option).getUint32(4) }];
}

/** Names without compression, padded with zeros (RFC 8106 §5.2). */
function readDomains(bytes: Uint8Array): string[] {
  const domains: string[] = [];
  let labels: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at];
    if (length > 63 || at + 1 + length > bytes.length) return domains;
    if (length > 0) labels.push(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length)));
    else if (labels.length > 0) {
      const name = labels.join(".");
      if (name.length < 254 && /^[\x21-\x7e]+$/.test(name)) domains.push(name);
      labels = [];
    }
    at += 1 + length;
  }
  return domains;
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────────

/** Data behind the first eight bytes of a solicitation. */
export function solicitationData(mac: Uint8Array | undefined): Uint8Array {
  return mac ? Uint8Array.of(OPTION.sourceMac, 1, ...mac) : new Uint8Array(0);
}

/** Second word of an advertisement: hop limit, flags, lifetime. */
export function advertisementWord({ hopLimit, managed, other, preference, lifetimeSeconds }: RouterAdvertisement): number {
  const flags = (managed ? 0x80 : 0) | (other ? 0x40 : 0) | (preferenceBits(preference) << 3);
  return ((hopLimit << 24) | (flags << 16) | lifetimeSeconds) >>> 0;
}

/** Data behind the first eight bytes of an advertisement. */
export function advertisementData(said: RouterAdvertisement): Uint8Array {
  const out: number[] = [...be32(said.reachableMs), ...be32(said.retransMs)];
  if (said.sourceMac) out.push(OPTION.sourceMac, 1, ...said.sourceMac);
  if (said.mtu !== undefined) out.push(OPTION.mtu, 1, 0, 0, ...be32(said.mtu));
  for (const each of said.prefixes) {
    const flags = (each.onLink ? 0x80 : 0) | (each.autonomous ? 0x40 : 0);
    out.push(OPTION.prefix, 4, each.length, flags, ...be32(each.validSeconds), ...be32(each.preferredSeconds), 0, 0, 0, 0);
    out.push(...each.prefix.bytes());
  }
  for (const { prefix, length, preference, seconds } of said.routes) {
    const units = Math.ceil(length / 64);
    out.push(OPTION.route, 1 + units, length, preferenceBits(preference) << 3, ...be32(seconds), ...prefix.bytes().subarray(0, 8 * units));
  }
  for (const { seconds, addresses } of said.nameServers) {
    out.push(OPTION.rdnss, 1 + 2 * addresses.length, 0, 0, ...be32(seconds), ...addresses.flatMap((each) => [...each.bytes()]));
  }
  for (const { seconds, domains } of said.searchList) {
    const names = domains.flatMap((name) => [...name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0]);
    while (names.length % 8 !== 0) names.push(0);
    out.push(OPTION.dnssl, 1 + names.length / 8, 0, 0, ...be32(seconds), ...names);
  }
  return Uint8Array.from(out);
}

function preferenceBits(preference: Preference): number {
  return preference === "medium" ? 0 : preference === "high" ? 1 : 3;
}
