/**
 * TCP options between their bytes and what scripts call them: RFC 9293 §3.1, 7323, 2018, 2385, 7413 (and its
 * experimental form, RFC 6994), AccECN's counters (RFC 9768 §3.2.3).
 */

export type TcpOption =
  | { readonly kind: "nop" | "eol" | "sackOK" }
  | { readonly kind: "mss" | "wscale"; readonly value: number }
  | { readonly kind: "sack"; readonly blocks: readonly SackBlock[] }
  | { readonly kind: "TS"; readonly val: number; readonly ecr: number }
  | { readonly kind: "md5"; readonly digest: Uint8Array }
  | { readonly kind: "FO" | "FOEXP"; readonly cookie: Uint8Array }
  | { readonly kind: "ECN"; readonly fields: readonly EcnField[] }
  /** Anything else that was sent. */
  | { readonly kind: "unknown"; readonly type: number; readonly data: Uint8Array };

export interface SackBlock {
  readonly left: number;
  readonly right: number;
}

export interface EcnField {
  readonly name: "e0b" | "e1b" | "ceb";
  readonly value: number;
}

const FAST_OPEN_MAGIC = [0xf9, 0x89];
const ACCECN0 = 172;
const ACCECN1 = 174;

const word = (value: number) => [value >>> 24, value >>> 16, value >>> 8, value].map((byte) => byte & 255);
const triple = (value: number) => word(value).slice(1);

function body(option: TcpOption): { type: number; data: readonly number[] } {
  switch (option.kind) {
    case "mss":
      return { type: 2, data: word(option.value).slice(2) };
    case "wscale":
      return { type: 3, data: [option.value] };
    case "sackOK":
      return { type: 4, data: [] };
    case "sack":
      return { type: 5, data: option.blocks.flatMap(({ left, right }) => [...word(left), ...word(right)]) };
    case "TS":
      return { type: 8, data: [...word(option.val), ...word(option.ecr)] };
    case "md5":
      return { type: 19, data: [...option.digest] };
    case "FO":
      return { type: 34, data: [...option.cookie] };
    case "FOEXP":
      return { type: 254, data: [...FAST_OPEN_MAGIC, ...option.cookie] };
    case "ECN":
      return { type: option.fields[0]?.name === "e0b" ? ACCECN0 : ACCECN1, data: option.fields.flatMap(({ value }) => triple(value)) };
    case "unknown":
      return { type: option.type, data: [...option.data] };
    default:
      return { type: option.kind === "nop" ? 1 : 0, data: [] };
  }
}

/** The bytes, without padding. */
export function encodeOption(option: TcpOption): number[] {
  const { type, data } = body(option);
  return type < 2 ? [type] : [type, data.length + 2, ...data];
}

export function encodeOptions(options: readonly TcpOption[]): Uint8Array {
  return Uint8Array.from(options.flatMap(encodeOption));
}

/** Options as far as they are whole; EOL, where it is, is the last but for padding, which scripts write as more EOLs. */
export function decodeOptions(bytes: Uint8Array): TcpOption[] {
  const out: TcpOption[] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = bytes[at];
    if (type < 2) {
      out.push({ kind: type === 1 ? "nop" : "eol" });
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) {
      out.push({ kind: "unknown", type, data: bytes.slice(at + 1) });
      break;
    }
    out.push(decodeOption(type, bytes.slice(at + 2, at + length)));
    at += length;
  }
  return out;
}

function decodeOption(type: number, data: Uint8Array): TcpOption {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (type === 2 && data.length === 2) return { kind: "mss", value: view.getUint16(0) };
  if (type === 3 && data.length === 1) return { kind: "wscale", value: data[0] };
  if (type === 4 && data.length === 0) return { kind: "sackOK" };
  if (type === 5 && data.length > 0 && data.length % 8 === 0) {
    const blocks = Array.from({ length: data.length / 8 }, (_, i) => ({ left: view.getUint32(8 * i), right: view.getUint32(8 * i + 4) }));
    return { kind: "sack", blocks };
  }
  if (type === 8 && data.length === 8) return { kind: "TS", val: view.getUint32(0), ecr: view.getUint32(4) };
  if (type === 19) return { kind: "md5", digest: data };
  if (type === 34) return { kind: "FO", cookie: data };
  if (type === 254 && data[0] === FAST_OPEN_MAGIC[0] && data[1] === FAST_OPEN_MAGIC[1]) return { kind: "FOEXP", cookie: data.slice(2) };
  if ((type === ACCECN0 || type === ACCECN1) && data.length % 3 === 0 && data.length <= 9) {
    const names = type === ACCECN0 ? (["e0b", "ceb", "e1b"] as const) : (["e1b", "ceb", "e0b"] as const);
    const value = (i: number) => (data[3 * i] << 16) | (data[3 * i + 1] << 8) | data[3 * i + 2];
    return { kind: "ECN", fields: names.slice(0, data.length / 3).map((name, i) => ({ name, value: value(i) })) };
  }
  return { kind: "unknown", type, data };
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** As a script writes it. */
export function showOption(option: TcpOption): string {
  switch (option.kind) {
    case "mss":
    case "wscale":
      return `${option.kind} ${option.value}`;
    case "sack":
      return `sack ${option.blocks.map(({ left, right }) => `${left}:${right}`).join(" ")}`;
    case "TS":
      return `TS val ${option.val} ecr ${option.ecr}`;
    case "md5":
      return `md5 ${hex(option.digest)}`;
    case "FO":
    case "FOEXP":
      return option.cookie.length === 0 ? option.kind : `${option.kind} ${hex(option.cookie)}`;
    case "ECN":
      return ["ECN", ...option.fields.map(({ name, value }) => `${name} ${value}`)].join(" ");
    case "unknown":
      return `kind ${option.type} ${hex(option.data)}`;
    default:
      return option.kind;
  }
}
