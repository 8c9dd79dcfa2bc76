/** Lists of domain names in options: labels as in the DNS, with its pointers inside a DHCPv4 option (RFC 3397 §2, RFC 8415 §10). */
import { invalid } from "../base/errors.ts";

/** Names in one option at most, and bytes of one name. */
const MOST_NAMES = 32;
const MOST_NAME = 255;

/** The names, or undefined when the bytes are no such list. Labels that are no plain host names are refused. */
export function readNames(data: Uint8Array | undefined): string[] | undefined {
  if (!data || data.length === 0) return undefined;
  const names: string[] = [];
  for (let at = 0; at < data.length && names.length < MOST_NAMES; ) {
    const labels: string[] = [];
    let length = 0;
    let here = at;
    let after = -1;
    for (;;) {
      const n = data[here];
      if (n === undefined) return undefined;
      if (n >= 0xc0) {
        const to = ((n & 63) << 8) | (data[here + 1] ?? 0);
        // Backwards only: no circles.
        if (here + 1 >= data.length || to >= (after < 0 ? at : here)) return undefined;
        if (after < 0) after = here + 2;
        here = to;
        continue;
      }
      if (n === 0) break;
      length += n + 1;
      const label = String.fromCharCode(...data.subarray(here + 1, here + 1 + n));
      if (n > 63 || length > MOST_NAME || here + 1 + n > data.length || !/^[\w-]+$/.test(label)) return undefined;
      labels.push(label);
      here += n + 1;
    }
    if (labels.length) names.push(labels.join("."));
    at = after < 0 ? here + 1 : after;
  }
  return names.length ? names : undefined;
}

/** Throws EINVAL for what is no name. */
export function namesToBytes(names: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  for (const name of names) {
    for (const label of name.replace(/\.$/, "").split(".")) {
      if (!/^[\w-]{1,63}$/.test(label)) throw invalid(`"${name}" is no domain name`);
      bytes.push(label.length, ...Array.from(label, (c) => c.charCodeAt(0)));
    }
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}
