/** `{msg_name(...)=..., msg_iov(1)=[{..., 1000}], msg_flags=0, msg_control=[…]}` and what came of it. */
import type { ControlMessage, Message } from "../../src/posix/message.ts";
import type { Calls } from "./calls.ts";
import { type Expression, Mismatch, Unsupported } from "./script.ts";
import { symbol } from "./symbols.ts";
import { describe, expectSame, field, fields, int, items, optionalInt } from "./values.ts";

/** `[{..., 1000}, {..., 500}]` as memory. */
export function iovOf(list: Expression, count?: Expression): Uint8Array[] {
  const pieces = items(list).map((piece) => new Uint8Array(int(items(piece)[1])));
  if (count && int(count) !== pieces.length) throw new Unsupported(`${int(count)} pieces are said, ${pieces.length} are given`);
  return pieces;
}

const controlOf = (message: Expression) => {
  const all = fields(message);
  return all.has("msg_control") ? items(field(all, "msg_control")).map(fields) : [];
};

/** struct timespec three times (SCM_TIMESTAMPING); only the first is filled by software. */
const TIMESTAMPING_BYTES = 48;

function dataOf(value: Expression): Uint8Array {
  const out = new Uint8Array(4);
  if (value.kind === "number" || value.kind === "word" || value.kind === "or") {
    new DataView(out.buffer).setUint32(0, int(value) >>> 0, true);
    return out;
  }
  throw new Unsupported(`a control message with ${describe(value)}`);
}

export function sentMessage(expression: Expression): Message {
  const control = controlOf(expression).map((each) => ({
    level: int(field(each, "cmsg_level")),
    type: int(field(each, "cmsg_type")),
    data: dataOf(field(each, "cmsg_data")),
  }));
  return { iov: iovOf(field(fields(expression), "msg_iov")), control: control.length > 0 ? control : undefined };
}

export function receivedMessage(expression: Expression): Message {
  return { iov: iovOf(field(fields(expression), "msg_iov")), control: [], flags: 0 };
}

/** Compares flags and control messages with what the script says. */
export function checkMessage(expression: Expression, message: Message, calls: Calls): void {
  const all = fields(expression);
  expectSame("msg_flags", optionalInt(all, "msg_flags"), message.flags ?? 0);
  const expected = controlOf(expression);
  const actual = message.control ?? [];
  const show = (list: readonly ControlMessage[]) => list.map(({ level, type }) => `level ${level} type ${type}`).join(", ") || "none";
  if (expected.length !== actual.length)
    throw new Mismatch(`control messages: expected ${expected.length}, got ${actual.length} (${show(actual)})`);
  for (const [i, each] of expected.entries()) checkControl(each, actual[i], calls);
}

function checkControl(expected: Map<string, Expression>, actual: ControlMessage, calls: Calls): void {
  expectSame("cmsg_level", int(field(expected, "cmsg_level")), actual.level);
  expectSame("cmsg_type", int(field(expected, "cmsg_type")), actual.type);
  const data = field(expected, "cmsg_data");
  if (data.kind !== "struct") {
    expectSame("cmsg_data", String(dataOf(data)), String(actual.data));
    return;
  }
  const names = fields(data);
  if (names.has("ee_errno")) checkExtendedError(names, actual.data);
  else if (names.has("scm_sec")) checkTimestamp(names, actual.data, calls);
  else checkStatistics(names, actual.data);
}

/** struct sock_extended_err: errno u32, origin, type, code, padding u8, info u32, data u32. */
function checkExtendedError(names: Map<string, Expression>, bytes: Uint8Array): void {
  if (bytes.length < 16) throw new Mismatch(`an extended error of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const actual = {
    ee_errno: view.getUint32(0, true),
    ee_origin: bytes[4],
    ee_type: bytes[5],
    ee_code: bytes[6],
    ee_info: view.getUint32(8, true),
    ee_data: view.getUint32(12, true),
  };
  for (const [name, value] of Object.entries(actual)) expectSame(name, int(field(names, name)) >>> 0, value);
}

/** The time since the script began, within the tolerance. */
function checkTimestamp(names: Map<string, Expression>, bytes: Uint8Array, calls: Calls): void {
  if (bytes.length < TIMESTAMPING_BYTES) throw new Mismatch(`timestamps of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = Number(view.getBigInt64(0, true)) * 1000 + Number(view.getBigInt64(8, true)) / 1e6 - calls.start;
  const expected = int(field(names, "scm_sec")) * 1000 + int(field(names, "scm_nsec")) / 1e6;
  if (Math.abs(at - expected) > calls.config.tolerance) throw new Mismatch(`timestamp: expected ${expected} ms, got ${at} ms`);
}

/** Netlink attributes of SCM_TIMESTAMPING_OPT_STATS: length u16, type u16, value, padded to four bytes. */
function checkStatistics(names: Map<string, Expression>, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const actual = new Map<number, number>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    const size = length - 4;
    const value = size >= 8 ? Number(view.getBigUint64(at + 4, true)) : size >= 4 ? view.getUint32(at + 4, true) : bytes[at + 4];
    actual.set(view.getUint16(at + 2, true), value);
    at += (length + 3) & ~3;
  }
  for (const [name, expression] of names) {
    const type = symbol(name);
    if (type === undefined) throw new Unsupported(`the statistic ${name}`);
    if (expression.kind !== "ellipsis") expectSame(name, int(expression), actual.get(type));
  }
}
