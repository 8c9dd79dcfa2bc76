/**
 * Domain names as text and as labels. Text is without the dot of the root, which alone is "."; a dot or a backslash
 * inside a label has a backslash in front, other bytes that do not print are \DDD (RFC 1035 §5.1, RFC 4343).
 */
import { LoomError } from "../base/errors.ts";

/** Longest name on the wire with its length bytes, longest label (RFC 1035 §2.3.4). */
export const MOST_NAME = 255;
export const MOST_LABEL = 63;

/** A label as text: `bytes` from `from` to `to`. */
export function labelText(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) {
    const byte = bytes[i];
    if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}

/** The labels of a name as bytes. Throws EBADNAME for what no name can be. */
export function labelsOf(name: string): Uint8Array[] {
  if (name === "." || name === "") return [];
  const labels: number[][] = [[]];
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    if (c === 0x2e) labels.push([]);
    else if (c === 0x5c) {
      const code = /^\d{3}/.exec(name.slice(i + 1, i + 4))?.[0];
      const byte = code === undefined ? name.charCodeAt(i + 1) : Number(code);
      if (!(byte <= 255)) throw bad(name, "has an escape that stands for nothing");
      labels[labels.length - 1].push(byte);
      i += code === undefined ? 1 : 3;
    } else if (c > 0x7e || c < 0x20) throw bad(name, "has a character that is not ASCII");
    else labels[labels.length - 1].push(c);
  }
  if (labels[labels.length - 1].length === 0) labels.pop();
  if (labels.some((label) => label.length === 0)) throw bad(name, "has an empty label");
  if (labels.some((label) => label.length > MOST_LABEL)) throw bad(name, `has a label of more than ${MOST_LABEL} bytes`);
  const length = labels.reduce((sum, label) => sum + 1 + label.length, 1);
  if (length > MOST_NAME) throw bad(name, `takes ${length} bytes; the most is ${MOST_NAME}`);
  return labels.map((label) => Uint8Array.from(label));
}

function bad(name: string, why: string): LoomError {
  return new LoomError("EBADNAME", `"${name.slice(0, 100)}" ${why}`);
}

/** Whether the character at `at` is part of a label because of the backslash in front; a backslash may have one itself. */
export function isEscaped(name: string, at: number): boolean {
  let from = at;
  while (from > 0 && name[from - 1] === "\\") from--;
  return (at - from) % 2 === 1;
}

/** Whether a name ends with the dot of the root. */
export function isRooted(name: string): boolean {
  return name.endsWith(".") && !isEscaped(name, name.length - 1);
}

/** Whether a name is `suffix` or below it, label by label: a dot inside a label ends none. */
export function isBelow(name: string, suffix: string): boolean {
  return name === suffix || (name.endsWith(`.${suffix}`) && !isEscaped(name, name.length - suffix.length - 1));
}

/** The names above this one, itself first, the root last. */
export function ancestors(name: string): string[] {
  const out = [name];
  for (let rest = name; rest !== "."; out.push(rest)) rest = parentOf(rest);
  return out;
}

/** The name without its first label. */
export function parentOf(name: string): string {
  for (let i = 0; i < name.length; i++) {
    if (name[i] === "\\") i++;
    else if (name[i] === ".") return i + 1 < name.length ? name.slice(i + 1) : ".";
  }
  return ".";
}

/** The name under which the DNS keeps what an address is called (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${[...bytes].reverse().join(".")}.in-addr.arpa`;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${[...digits].reverse().join(".")}.ip6.arpa`;
}
