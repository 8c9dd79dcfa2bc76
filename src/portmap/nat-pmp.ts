/** NAT-PMP (RFC 6886), which shares PCP's port: IPv4, one outer port for an inner one. */
import type { IpAddress } from "../base/ip-address.ts";
import type { PortMapper, Refusal } from "./mapper.ts";

const OPCODE = { address: 0, udp: 1, tcp: 2 } as const;
/** §3.5 */
const RESULT = { success: 0, unsupportedVersion: 1, notAuthorized: 2, networkFailure: 3, outOfResources: 4, unsupportedOpcode: 5 } as const;
const REFUSED: Readonly<Record<Refusal, number>> = {
  protocol: RESULT.unsupportedOpcode,
  "no-external": RESULT.networkFailure,
  taken: RESULT.outOfResources,
  untranslated: RESULT.outOfResources,
  quota: RESULT.outOfResources,
  "no-room": RESULT.outOfResources,
  "not-yours": RESULT.notAuthorized,
};

/** The answer to a message of version 0, or undefined for what gets none. */
export function answerNatPmp(message: Uint8Array, from: IpAddress, mapper: PortMapper): Uint8Array | undefined {
  if (message.length < 2 || message[1] & 0x80 || from.family !== 4) return undefined;
  const opcode = message[1];
  if (message[0] !== 0) return head(8, opcode, RESULT.unsupportedVersion, mapper);
  if (opcode === OPCODE.address) return addressAnswer(mapper, from);
  if (opcode !== OPCODE.udp && opcode !== OPCODE.tcp) return head(8, opcode, RESULT.unsupportedOpcode, mapper);
  return message.length < 12 ? undefined : map(message, opcode === OPCODE.tcp ? 6 : 17, from, mapper);
}

/** §3.2: the outer address; also told unasked when it changes (§3.2.1). */
export function addressAnswer(mapper: PortMapper, inner: IpAddress): Uint8Array {
  const external = mapper.external(inner);
  const answer = head(12, OPCODE.address, external ? RESULT.success : RESULT.networkFailure, mapper);
  if (external) answer.set(external.bytes(), 8);
  return answer;
}

function map(message: Uint8Array, protocol: number, address: IpAddress, mapper: PortMapper): Uint8Array {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const [innerPort, wanted, seconds] = [view.getUint16(4), view.getUint16(6), view.getUint32(8)];
  const say = (result: number, outerPort: number, lives: number) => {
    const answer = head(16, message[1], result, mapper);
    const out = new DataView(answer.buffer);
    out.setUint16(8, innerPort);
    out.setUint16(10, outerPort);
    out.setUint32(12, lives);
    return answer;
  };
  if (seconds === 0) {
    // §3.4: inner port 0 is all that this client has of the protocol.
    const refused = mapper.unmap(address, (each) => each.protocol === protocol && (innerPort === 0 || each.inner.port === innerPort));
    return say(refused ? REFUSED[refused] : RESULT.success, 0, 0);
  }
  if (innerPort === 0) return say(RESULT.notAuthorized, 0, 0);
  const granted = mapper.map({ kind: "nat-pmp", protocol, inner: { address, port: innerPort }, wanted: { port: wanted }, seconds });
  return typeof granted === "string" ? say(REFUSED[granted], 0, 0) : say(RESULT.success, granted.outer.port, granted.seconds);
}

function head(length: number, opcode: number, result: number, mapper: PortMapper): Uint8Array {
  const answer = new Uint8Array(length);
  const view = new DataView(answer.buffer);
  answer[1] = opcode | 0x80;
  view.setUint16(2, result);
  view.setUint32(4, mapper.epoch);
  return answer;
}
