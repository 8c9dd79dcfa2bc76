/** PCP, version 2 (RFC 6887): MAP and ANNOUNCE with PREFER_FAILURE. PEER, FILTER and THIRD_PARTY are told to be unsupported. */
import { IpAddress } from "../base/ip-address.ts";
import type { PortMapper, Refusal } from "./mapper.ts";

export const PCP_PORT = 5351;
/** Where clients hear announcements (§14.1). */
export const PCP_CLIENT_PORT = 5350;
const VERSION = 2;
const HEADER = 24;
const MAP_BODY = 36;
/** §7: longer messages are none. */
const LONGEST = 1100;
const OPCODE = { announce: 0, map: 1 } as const;
const PREFER_FAILURE = 2;
/** §7.4 */
const RESULT = {
  success: 0,
  unsuppVersion: 1,
  notAuthorized: 2,
  malformedRequest: 3,
  unsuppOpcode: 4,
  unsuppOption: 5,
  malformedOption: 6,
  networkFailure: 7,
  noResources: 8,
  unsuppProtocol: 9,
  userExQuota: 10,
  cannotProvideExternal: 11,
  addressMismatch: 12,
} as const;
const REFUSED: Readonly<Record<Refusal, number>> = {
  protocol: RESULT.unsuppProtocol,
  "no-external": RESULT.networkFailure,
  taken: RESULT.cannotProvideExternal,
  untranslated: RESULT.cannotProvideExternal,
  quota: RESULT.userExQuota,
  "no-room": RESULT.noResources,
  "not-yours": RESULT.notAuthorized,
};
/** Seconds for which an answer of that kind will stay the same (§7.4: short and long lifetime errors). */
const SHORT = 30;
const LONG = 1800;
const BRIEF: ReadonlySet<number> = new Set([RESULT.networkFailure, RESULT.noResources, RESULT.userExQuota, RESULT.cannotProvideExternal]);

/** The answer to a message from a client, or undefined for what gets none (§8.2). */
export function answerPcp(message: Uint8Array, from: IpAddress, mapper: PortMapper): Uint8Array | undefined {
  if (message.length < 2 || message[1] & 0x80) return undefined;
  const refuse = (result: number) => response(message, mapper, result, BRIEF.has(result) ? SHORT : LONG);
  if (message[0] !== VERSION) return refuse(RESULT.unsuppVersion);
  if (message.length < HEADER || message.length > LONGEST || message.length % 4 !== 0) return refuse(RESULT.malformedRequest);
  // What is behind a NAT of its own does not know its address (§8.2).
  if (!addressIn(message, 8).equals(from)) return refuse(RESULT.addressMismatch);
  const opcode = message[1];
  if (opcode === OPCODE.announce) {
    const options = optionsIn(message, HEADER);
    return typeof options === "number" ? refuse(options) : response(message.subarray(0, HEADER), mapper, RESULT.success, 0);
  }
  if (opcode !== OPCODE.map) return refuse(RESULT.unsuppOpcode);
  const result = message.length < HEADER + MAP_BODY ? RESULT.malformedRequest : map(message, from, mapper);
  return typeof result === "number" ? refuse(result) : result;
}

/** Addresses are of 16 bytes, those of IPv4 mapped (§5). */
const addressIn = (message: Uint8Array, at: number): IpAddress => IpAddress.fromBytes(message.slice(at, at + 16));

function writeAddress(message: Uint8Array, at: number, address: IpAddress): void {
  message.fill(0, at, at + 16);
  if (address.family === 4) message.set([0xff, 0xff], at + 10);
  message.set(address.bytes(), address.family === 4 ? at + 12 : at);
}

/** Codes of the options that a server has to understand, or what is wrong with them. Those above 127 may be passed over (§7.3). */
function optionsIn(message: Uint8Array, from: number): readonly number[] | number {
  const found: number[] = [];
  for (let at = from; at < message.length; ) {
    const length = (message[at + 2] << 8) | message[at + 3];
    if (at + 4 + length > message.length) return RESULT.malformedOption;
    if (message[at] === PREFER_FAILURE && length !== 0) return RESULT.malformedOption;
    if (message[at] < 128) found.push(message[at]);
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return found;
}

function map(message: Uint8Array, from: IpAddress, mapper: PortMapper): Uint8Array | number {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const seconds = view.getUint32(4);
  const nonce = [...message.subarray(HEADER, HEADER + 12)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const protocol = message[HEADER + 12];
  const [innerPort, outerPort] = [view.getUint16(HEADER + 16), view.getUint16(HEADER + 18)];
  const options = optionsIn(message, HEADER + MAP_BODY);
  if (typeof options === "number") return options;
  const isExact = options.includes(PREFER_FAILURE);
  if (options.some((each) => each !== PREFER_FAILURE)) return RESULT.unsuppOption;
  if (protocol === 0 && innerPort !== 0) return RESULT.malformedRequest;
  // §13.2: with a lifetime of zero it means nothing.
  if (isExact && seconds === 0) return RESULT.malformedOption;
  // All ports of a protocol, or all protocols: a DMZ host. Not given.
  if (protocol === 0 || innerPort === 0) return protocol === 0 ? RESULT.unsuppProtocol : RESULT.notAuthorized;
  const inner = { address: from, port: innerPort };
  if (seconds === 0) {
    const refused = mapper.unmap(from, (each) => each.protocol === protocol && each.inner.port === innerPort, nonce);
    return refused ? REFUSED[refused] : response(message.subarray(0, HEADER + MAP_BODY), mapper, RESULT.success, 0);
  }
  const wanted = { address: addressIn(message, HEADER + 20), port: outerPort };
  // §11.3: an address that is not the one there is cannot be had.
  const external = mapper.external(from);
  if (isExact && external && !wanted.address.isUnspecified && !wanted.address.equals(external)) return RESULT.cannotProvideExternal;
  const there = mapper.of(protocol, inner);
  if (isExact && there && outerPort !== 0 && there.outer.port !== outerPort) return RESULT.cannotProvideExternal;
  const granted = mapper.map({ kind: "pcp", protocol, inner, wanted, exact: isExact && outerPort !== 0, seconds, nonce });
  if (typeof granted === "string") return REFUSED[granted];
  // Options that were used are told in the answer (§7.3).
  const answer = response(
    message.subarray(0, isExact ? HEADER + MAP_BODY + 4 : HEADER + MAP_BODY),
    mapper,
    RESULT.success,
    granted.seconds,
  );
  if (isExact) answer.set([PREFER_FAILURE, 0, 0, 0], HEADER + MAP_BODY);
  new DataView(answer.buffer).setUint16(HEADER + 18, granted.outer.port);
  writeAddress(answer, HEADER + 20, granted.outer.address);
  return answer;
}

/** §7.2: the request with a header of its own; of a mangled one as much as there may be. */
function response(request: Uint8Array, mapper: PortMapper, result: number, seconds: number): Uint8Array {
  const length = Math.min(Math.max(Math.ceil(request.length / 4) * 4, HEADER), LONGEST);
  const answer = new Uint8Array(length);
  answer.set(request.subarray(0, length));
  const view = new DataView(answer.buffer);
  answer[0] = VERSION;
  answer[1] = request[1] | 0x80;
  answer[2] = 0;
  answer[3] = result;
  view.setUint32(4, seconds);
  view.setUint32(8, mapper.epoch);
  answer.fill(0, 12, HEADER);
  return answer;
}

/** What is told unasked to all clients when mappings were lost (§14.1.1). */
export function pcpAnnouncement(mapper: PortMapper): Uint8Array {
  const request = new Uint8Array(HEADER);
  request[0] = VERSION;
  return response(request, mapper, RESULT.success, 0);
}
