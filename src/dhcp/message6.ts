/**
 * DHCPv6 messages (RFC 8415 §8, §9, §21; RFC 3646 for name servers, RFC 7083 for SOL_MAX_RT): bytes to an object and back.
 * Reading throws EPROTO alone.
 */
import { be16, be32, concat } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import { namesToBytes, readNames } from "./names.ts";

export const TYPE6 = {
  SOLICIT: 1,
  ADVERTISE: 2,
  REQUEST: 3,
  CONFIRM: 4,
  RENEW: 5,
  REBIND: 6,
  REPLY: 7,
  RELEASE: 8,
  DECLINE: 9,
  RECONFIGURE: 10,
  INFORMATION_REQUEST: 11,
  RELAY_FORWARD: 12,
  RELAY_REPLY: 13,
} as const;

export const OPTION6 = {
  clientId: 1,
  serverId: 2,
  iaNa: 3,
  iaAddress: 5,
  request: 6,
  preference: 7,
  elapsed: 8,
  relayMessage: 9,
  auth: 11,
  status: 13,
  rapidCommit: 14,
  interfaceId: 18,
  reconfigure: 19,
  reconfigureAccept: 20,
  dns: 23,
  search: 24,
  iaPd: 25,
  iaPrefix: 26,
  refreshTime: 32,
  solMaxRt: 82,
  infMaxRt: 83,
} as const;

export const STATUS6 = {
  Success: 0,
  UnspecFail: 1,
  NoAddrsAvail: 2,
  NoBinding: 3,
  NotOnLink: 4,
  UseMulticast: 5,
  NoPrefixAvail: 6,
} as const;

/** A lifetime that does not end. */
export const INFINITY6 = 0xffffffff;

export interface Option6 {
  readonly code: number;
  readonly data: Uint8Array;
}

/** An address with `length` 128, or a delegated prefix. Lifetimes in seconds; 0xffffffff for ever. */
export interface Grant6 {
  readonly address: string;
  readonly length: number;
  readonly preferred: number;
  readonly valid: number;
  readonly status?: number;
}

/** An identity association: addresses (IA_NA) or delegated prefixes (IA_PD) of one purpose. */
export interface Association6 {
  readonly kind: "na" | "pd";
  readonly iaid: number;
  /** Seconds; 0: as the client likes. */
  readonly t1: number;
  readonly t2: number;
  readonly grants: readonly Grant6[];
  readonly status?: number;
}

/** Authentication (§21.11). */
export interface Auth6 {
  readonly protocol: number;
  readonly algorithm: number;
  /** Replay detection method. */
  readonly method: number;
  readonly replay: bigint;
  readonly info: Uint8Array;
}

export interface Dhcp6Message {
  readonly type: number;
  /** 24 bits. */
  readonly xid: number;
  readonly clientId?: Uint8Array;
  readonly serverId?: Uint8Array;
  readonly associations: readonly Association6[];
  readonly status?: number;
  readonly preference?: number;
  readonly rapidCommit?: boolean;
  readonly requested?: readonly number[];
  readonly dns?: readonly string[];
  readonly search?: readonly string[];
  /** Seconds. */
  readonly refreshTime?: number;
  readonly solMaxRt?: number;
  readonly infMaxRt?: number;
  /** The message that the client shall send (§21.19). */
  readonly reconfigure?: number;
  /** The sender does Reconfigure (§21.20). */
  readonly reconfigureAccept?: boolean;
  readonly auth?: Auth6;
  /** Hundredths of a second since the client began. */
  readonly elapsed?: number;
}

/** What a relay sends and gets (§9). */
export interface Relay6 {
  readonly type: number;
  readonly hops: number;
  readonly link: string;
  readonly peer: string;
  readonly interfaceId?: Uint8Array;
  readonly message: Uint8Array;
}

function malformed(what: string): LoomError {
  return new LoomError("EPROTO", `malformed DHCPv6 message: ${what}`);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function readOptions(bytes: Uint8Array, from: number): Option6[] {
  const view = viewOf(bytes);
  const options: Option6[] = [];
  for (let at = from; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? view.getUint16(at + 2) : bytes.length;
    if (at + 4 + length > bytes.length) throw malformed(`the option at ${at} goes beyond its end`);
    options.push({ code: view.getUint16(at), data: new Uint8Array(bytes.subarray(at + 4, at + 4 + length)) });
    at += 4 + length;
  }
  return options;
}

function writeOptions(options: readonly Option6[]): Uint8Array {
  const bytes = new Uint8Array(options.reduce((sum, { data }) => sum + 4 + data.length, 0));
  const view = viewOf(bytes);
  let at = 0;
  for (const { code, data } of options) {
    view.setUint16(at, code);
    view.setUint16(at + 2, data.length);
    bytes.set(data, at + 4);
    at += 4 + data.length;
  }
  return bytes;
}

export function decodeDhcp6(bytes: Uint8Array): Dhcp6Message {
  if (bytes.length < 4) throw malformed(`${bytes.length} bytes`);
  const options = readOptions(bytes, 4);
  const get = (code: number) => options.find((option) => option.code === code)?.data;
  const word = (code: number) => {
    const data = get(code);
    return data?.length === 4 ? viewOf(data).getUint32(0) : undefined;
  };
  const requested = get(OPTION6.request);
  const elapsed = get(OPTION6.elapsed);
  return {
    type: bytes[0],
    xid: (bytes[1] << 16) | (bytes[2] << 8) | bytes[3],
    clientId: duid(get(OPTION6.clientId)),
    serverId: duid(get(OPTION6.serverId)),
    associations: options.flatMap(({ code, data }) => {
      return code === OPTION6.iaNa || code === OPTION6.iaPd ? [readAssociation(code === OPTION6.iaNa ? "na" : "pd", data)] : [];
    }),
    status: statusOf(options),
    preference: get(OPTION6.preference)?.[0],
    rapidCommit: get(OPTION6.rapidCommit) !== undefined,
    reconfigure: get(OPTION6.reconfigure)?.[0],
    reconfigureAccept: get(OPTION6.reconfigureAccept) !== undefined,
    auth: readAuth(get(OPTION6.auth)),
    requested: requested && Array.from({ length: requested.length >> 1 }, (_, i) => viewOf(requested).getUint16(2 * i)),
    dns: readAddresses(get(OPTION6.dns)),
    search: readNames(get(OPTION6.search)),
    refreshTime: word(OPTION6.refreshTime),
    solMaxRt: word(OPTION6.solMaxRt),
    infMaxRt: word(OPTION6.infMaxRt),
    elapsed: elapsed?.length === 2 ? viewOf(elapsed).getUint16(0) : undefined,
  };
}

/** A DHCP unique identifier has 3 to 130 bytes (§11.1). */
function duid(data: Uint8Array | undefined): Uint8Array | undefined {
  if (data && (data.length < 3 || data.length > 130)) throw malformed(`a DUID of ${data.length} bytes`);
  return data;
}

function readAuth(data: Uint8Array | undefined): Auth6 | undefined {
  if (!data) return undefined;
  if (data.length < 11) throw malformed(`an authentication of ${data.length} bytes`);
  const [protocol, algorithm, method] = data;
  return { protocol, algorithm, method, replay: viewOf(data).getBigUint64(3), info: data.slice(11) };
}

function writeAuth({ protocol, algorithm, method, replay, info }: Auth6): Uint8Array {
  const data = new Uint8Array(11 + info.length);
  data.set([protocol, algorithm, method]);
  viewOf(data).setBigUint64(3, replay);
  data.set(info, 11);
  return data;
}

function statusOf(options: readonly Option6[]): number | undefined {
  const data = options.find(({ code }) => code === OPTION6.status)?.data;
  if (data && data.length < 2) throw malformed("a status without a code");
  return data && viewOf(data).getUint16(0);
}

function readAddresses(data: Uint8Array | undefined): string[] | undefined {
  if (!data || data.length === 0 || data.length % 16 !== 0) return undefined;
  return Array.from({ length: data.length / 16 }, (_, i) => IpAddress.from6(data.subarray(16 * i)))
    .filter((address) => address !== undefined)
    .map(String);
}

/** IPv4-mapped addresses are nobody's on the wire. */
function addressAt(data: Uint8Array, at: number): string {
  const address = IpAddress.from6(data.subarray(at));
  if (!address) throw malformed("an IPv4-mapped address");
  return String(address);
}

function readAssociation(kind: "na" | "pd", data: Uint8Array): Association6 {
  if (data.length < 12) throw malformed(`an association of ${data.length} bytes`);
  const view = viewOf(data);
  const options = readOptions(data, 12);
  const code = kind === "na" ? OPTION6.iaAddress : OPTION6.iaPrefix;
  const grants = options.filter((option) => option.code === code).map((option) => readGrant(kind, option.data));
  return { kind, iaid: view.getUint32(0), t1: view.getUint32(4), t2: view.getUint32(8), grants, status: statusOf(options) };
}

function readGrant(kind: "na" | "pd", data: Uint8Array): Grant6 {
  const head = kind === "na" ? 24 : 25;
  if (data.length < head) throw malformed(`a grant of ${data.length} bytes`);
  const view = viewOf(data);
  const status = statusOf(readOptions(data, head));
  const address = (at: number) => addressAt(data, at);
  if (kind === "na") return { address: address(0), length: 128, preferred: view.getUint32(16), valid: view.getUint32(20), status };
  if (data[8] > 128) throw malformed(`a prefix of ${data[8]} bits`);
  return { address: address(9), length: data[8], preferred: view.getUint32(0), valid: view.getUint32(4), status };
}

/** What is not given is not written. */
export function encodeDhcp6(message: Partial<Dhcp6Message> & Pick<Dhcp6Message, "type" | "xid">): Uint8Array {
  const options: Option6[] = [];
  const put = <T>(code: number, value: T | undefined, write: (value: T) => Uint8Array) => {
    if (value !== undefined) options.push({ code, data: write(value) });
  };
  const bytes = (data: Uint8Array) => data;
  put(OPTION6.clientId, message.clientId, bytes);
  put(OPTION6.serverId, message.serverId, bytes);
  put(OPTION6.status, message.status, be16);
  put(OPTION6.preference, message.preference, (value) => Uint8Array.of(value));
  put(OPTION6.rapidCommit, message.rapidCommit || undefined, () => new Uint8Array());
  put(OPTION6.elapsed, message.elapsed, be16);
  put(OPTION6.reconfigure, message.reconfigure, (value) => Uint8Array.of(value));
  put(OPTION6.reconfigureAccept, message.reconfigureAccept || undefined, () => new Uint8Array());
  put(OPTION6.auth, message.auth, writeAuth);
  put(OPTION6.request, message.requested, (codes) => concat(codes.map(be16)));
  for (const each of message.associations ?? []) {
    put(each.kind === "na" ? OPTION6.iaNa : OPTION6.iaPd, each, writeAssociation);
  }
  if (message.dns?.length) put(OPTION6.dns, message.dns, (list) => concat(list.map(sixteen)));
  if (message.search?.length) put(OPTION6.search, message.search, namesToBytes);
  put(OPTION6.refreshTime, message.refreshTime, be32);
  put(OPTION6.solMaxRt, message.solMaxRt, be32);
  put(OPTION6.infMaxRt, message.infMaxRt, be32);
  return concat([Uint8Array.of(message.type, message.xid >>> 16, message.xid >>> 8, message.xid), writeOptions(options)]);
}

const sixteen = (address: string) => IpAddress.parse(address).bytes();

function writeAssociation({ kind, iaid, t1, t2, grants, status }: Association6): Uint8Array {
  const options: Option6[] = grants.map((grant) => {
    const lifetimes = [be32(grant.preferred), be32(grant.valid)];
    const inner = writeOptions(grant.status === undefined ? [] : [{ code: OPTION6.status, data: be16(grant.status) }]);
    return kind === "na"
      ? { code: OPTION6.iaAddress, data: concat([sixteen(grant.address), ...lifetimes, inner]) }
      : { code: OPTION6.iaPrefix, data: concat([...lifetimes, Uint8Array.of(grant.length), sixteen(grant.address), inner]) };
  });
  if (status !== undefined) options.push({ code: OPTION6.status, data: be16(status) });
  return concat([be32(iaid), be32(t1), be32(t2), writeOptions(options)]);
}

export function isRelay(bytes: Uint8Array): boolean {
  return bytes[0] === TYPE6.RELAY_FORWARD || bytes[0] === TYPE6.RELAY_REPLY;
}

export function decodeRelay6(bytes: Uint8Array): Relay6 {
  if (bytes.length < 34) throw malformed(`a relayed message of ${bytes.length} bytes`);
  const options = readOptions(bytes, 34);
  const get = (code: number) => options.find((option) => option.code === code)?.data;
  const message = get(OPTION6.relayMessage);
  if (!message) throw malformed("a relay that relays nothing");
  const address = (at: number) => addressAt(bytes, at);
  return { type: bytes[0], hops: bytes[1], link: address(2), peer: address(18), interfaceId: get(OPTION6.interfaceId), message };
}

export function encodeRelay6(relay: Relay6): Uint8Array {
  const options: Option6[] = [{ code: OPTION6.relayMessage, data: relay.message }];
  if (relay.interfaceId) options.push({ code: OPTION6.interfaceId, data: relay.interfaceId });
  return concat([Uint8Array.of(relay.type, relay.hops), sixteen(relay.link), sixteen(relay.peer), writeOptions(options)]);
}
