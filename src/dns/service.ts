/** What the parameters of a service binding say (RFC 9460 §7). */
import { IpAddress } from "../base/ip-address.ts";
import { malformed, Reader } from "./bytes.ts";
import type { SvcParameter } from "./records.ts";

export interface ServiceParameters {
  /** Keys that a client must understand, or leave the record alone. */
  mandatory?: readonly number[];
  alpn?: readonly string[];
  noDefaultAlpn?: boolean;
  port?: number;
  ipv4hint?: readonly string[];
  ipv6hint?: readonly string[];
  ech?: Uint8Array;
}

/** Throws EPROTO for a value that its key does not allow. Unknown keys are passed over. */
export function serviceParameters(parameters: readonly SvcParameter[]): ServiceParameters {
  const out: ServiceParameters = {};
  for (const { key, value } of parameters) {
    const reader = new Reader(value);
    if (key === 0) out.mandatory = all(reader, () => reader.u16());
    else if (key === 1) out.alpn = all(reader, () => String.fromCharCode(...reader.counted()));
    else if (key === 2) out.noDefaultAlpn = true;
    else if (key === 3) out.port = reader.u16();
    else if (key === 4) out.ipv4hint = all(reader, () => String(IpAddress.fromBytes(reader.raw(4))));
    else if (key === 5) out.ech = value;
    else if (key === 6) out.ipv6hint = all(reader, () => String(IpAddress.fromBytes(reader.raw(16))));
    else continue;
    if (key !== 5 && reader.at !== reader.end) throw malformed(`${value.length} bytes for service parameter ${key}`);
  }
  return out;
}

function all<T>(reader: Reader, one: () => T): T[] {
  const out: T[] = [];
  while (reader.at < reader.end) out.push(one());
  return out;
}
