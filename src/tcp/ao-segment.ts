/** The TCP Authentication Option in segments (RFC 5925 §5.1, §2.2): written into what goes out, compared in what came. */
import * as abi from "../../assembly/abi.ts";
import type { IpStack } from "../ip/stack.ts";
import { type AoKey, beginMac, type Mac } from "./ao-key.ts";
import {
  addPayloadReceived,
  addPayloadToSend,
  addPseudoHeader,
  HEADER_BYTES,
  headerReceived,
  headerToSend,
  lengthToSend,
} from "./signed-bytes.ts";

/** Kind, length, two identifiers, 96 bits. */
export const AO_WORDS = 4;
export const AO_BYTES = 4 * AO_WORDS;
const MAC_BYTES = 12;
const OPTIONS = abi.OUT_OPTIONS / 4;
/** Kind 29, 16 bytes, in a word of little-endian memory. */
const HEAD = 0x101d;
const ZEROS = new Uint8Array(MAC_BYTES);

/** What a segment is authenticated with. */
export interface AoUse {
  readonly key: AoKey;
  readonly traffic: Uint8Array;
  /** The extension of its sequence number (RFC 5925 §6.2). */
  readonly sne: number;
}

const extension = new Uint8Array(4);

function begin({ key, traffic, sne }: AoUse, record: Int32Array, length: number): Mac {
  new DataView(extension.buffer).setInt32(0, sne | 0);
  const mac = beginMac(key, traffic).update(extension);
  addPseudoHeader(record, length, mac);
  return mac;
}

/** Options with zeros where the code stands, or the authentication option alone; it begins at `own` of them. */
function addOptions(mac: Mac, options: Uint8Array, own: number, all: boolean): void {
  mac.update(options.subarray(all ? 0 : own, own + AO_BYTES - MAC_BYTES)).update(ZEROS);
  if (all) mac.update(options.subarray(own + AO_BYTES));
}

/** Authenticates the segment in the stack's record; its options end with the words that were kept free. `next`: RNextKeyID. */
export function authenticate(stack: IpStack, use: AoUse, next: number): void {
  const { out } = stack;
  const bytes = out[abi.OUT_OPTION_BYTES / 4];
  const own = bytes - AO_BYTES;
  out[OPTIONS + own / 4] = HEAD | (use.key.sendId << 16) | (next << 24);
  const options = new Uint8Array(out.buffer, out.byteOffset + abi.OUT_OPTIONS, bytes);
  const mac = begin(use, out, HEADER_BYTES + bytes + lengthToSend(out));
  mac.update(headerToSend(out));
  addOptions(mac, options, own, use.key.coversOptions);
  addPayloadToSend(stack, mac);
  options.set(mac.digest().subarray(0, MAC_BYTES), own + AO_BYTES - MAC_BYTES);
}

/** Is the code of the segment in hand right? `at`: where its option begins in memory. */
export function isAuthentic(stack: IpStack, id: number, use: AoUse, at: number): boolean {
  const { words } = stack;
  const { u8 } = stack.engine.memory;
  const start = words[abi.SEG_OPTIONS / 4];
  const bytes = words[abi.SEG_OPTIONS_LENGTH / 4];
  const mac = begin(use, words, HEADER_BYTES + bytes + words[abi.SEG_PAYLOAD_LENGTH / 4]);
  mac.update(headerReceived(stack));
  addOptions(mac, u8.subarray(start, start + bytes), at - start, use.key.coversOptions);
  addPayloadReceived(stack, id, mac);
  const digest = mac.digest();
  let difference = 0;
  for (let i = 0; i < MAC_BYTES; i++) difference |= digest[i] ^ u8[at + AO_BYTES - MAC_BYTES + i];
  return difference === 0;
}
