/** Words of a packet's line, and the forms of addresses and bytes in it. */
import { format4, tryParse4 } from "../../src/base/address.ts";
import { put32 } from "../../src/base/bytes.ts";
import { IpAddress } from "../../src/base/ip-address.ts";

/** The words of a layer, read one after the other. */
export class Words {
  private readonly words: string[];
  private at = 0;
  constructor(layer: string) {
    this.words = layer.trim().split(/\s+/);
  }
  more(): boolean {
    return this.at < this.words.length;
  }
  next(what: string): string {
    const word = this.words[this.at++];
    if (word === undefined) throw new Error(`"${this.words.join(" ")}" ends where ${what} is expected`);
    return word;
  }
  number(what = "a number"): number {
    const word = this.next(what);
    const value = Number(word);
    if (!Number.isInteger(value)) throw new Error(`"${this.words.join(" ")}": expected ${what} instead of "${word}"`);
    return value;
  }
  expect(word: string): void {
    const got = this.next(`"${word}"`);
    if (got !== word) throw new Error(`"${this.words.join(" ")}": expected "${word}" instead of "${got}"`);
  }
  unknown(word: string): never {
    throw new Error(`"${this.words.join(" ")}": no option is called "${word}"`);
  }
}

export const fromHex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
export const toHex = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");

export function addressBytes(text: string): Uint8Array {
  const out = new Uint8Array(16);
  const four = tryParse4(text);
  if (four >= 0) {
    put32(out, 0, four);
    return out.subarray(0, 4);
  }
  const { a, b, c, d } = IpAddress.parse(text);
  [a, b, c, d].forEach((word, i) => put32(out, 4 * i, word));
  return out;
}

export function addressText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === 4) return format4(view.getUint32(0));
  return IpAddress.v6(view.getBigUint64(0), view.getBigUint64(8)).toString();
}
