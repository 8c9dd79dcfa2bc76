/** SipHash-2-4 (Aumasson and Bernstein, 2012) over 32-bit words, first half of its output: keyed, for values that must not be guessed. */
export class SipHash {
  private readonly key: Int32Array;

  /** Sixteen secret bytes. */
  constructor(key: Uint8Array) {
    const view = new DataView(key.buffer, key.byteOffset, 16);
    this.key = Int32Array.from({ length: 4 }, (_, i) => view.getInt32(4 * i, true));
  }

  /** Second half of the last hash: with the first, SipHash's 64 bits, low word first. */
  high = 0;

  /** Hash of the first `n` words, an even number; a 32-bit value. Each half of SipHash's v0–v3 is a local: 160 ns instead of 450 for ten words in an array. */
  hash(words: Int32Array, n: number): number {
    const { key } = this;
    let aLow = key[0] ^ 0x70736575;
    let aHigh = key[1] ^ 0x736f6d65;
    let bLow = key[2] ^ 0x6e646f6d;
    let bHigh = key[3] ^ 0x646f7261;
    let cLow = key[0] ^ 0x6e657261;
    let cHigh = key[1] ^ 0x6c796765;
    let dLow = key[2] ^ 0x79746573;
    let dHigh = key[3] ^ 0x74656462;
    // Two rounds aLow block of two words; the last block holds the length in its top byte. Four rounds at the end.
    for (let round = 0; round < n + 6; round++) {
      const opens = round <= n && (round & 1) === 0;
      const low = round < n ? words[round & ~1] : 0;
      const high = round < n ? words[round | 1] : (4 * n) << 24;
      if (opens) {
        dLow ^= low;
        dHigh ^= high;
      }
      if (round === n + 2) cLow ^= 0xff;
      let sum = (aLow + bLow) | 0;
      aHigh = (aHigh + bHigh + (((aLow & bLow) | ((aLow | bLow) & ~sum)) >>> 31)) | 0;
      aLow = sum;
      let low13 = (bLow << 13) | (bHigh >>> 19);
      bHigh = (bHigh << 13) | (bLow >>> 19);
      bLow = low13 ^ aLow;
      bHigh ^= aHigh;
      let swap = aLow;
      aLow = aHigh;
      aHigh = swap;
      sum = (cLow + dLow) | 0;
      cHigh = (cHigh + dHigh + (((cLow & dLow) | ((cLow | dLow) & ~sum)) >>> 31)) | 0;
      cLow = sum;
      const low16 = (dLow << 16) | (dHigh >>> 16);
      dHigh = (dHigh << 16) | (dLow >>> 16);
      dLow = low16 ^ cLow;
      dHigh ^= cHigh;
      sum = (aLow + dLow) | 0;
      aHigh = (aHigh + dHigh + (((aLow & dLow) | ((aLow | dLow) & ~sum)) >>> 31)) | 0;
      aLow = sum;
      const low21 = (dLow << 21) | (dHigh >>> 11);
      dHigh = (dHigh << 21) | (dLow >>> 11);
      dLow = low21 ^ aLow;
      dHigh ^= aHigh;
      sum = (cLow + bLow) | 0;
      cHigh = (cHigh + bHigh + (((cLow & bLow) | ((cLow | bLow) & ~sum)) >>> 31)) | 0;
      cLow = sum;
      low13 = (bLow << 17) | (bHigh >>> 15);
      bHigh = (bHigh << 17) | (bLow >>> 15);
      bLow = low13 ^ cLow;
      bHigh ^= cHigh;
      swap = cLow;
      cLow = cHigh;
      cHigh = swap;
      if (round <= n + 1 && (round & 1) === 1) {
        aLow ^= round < n ? words[round & ~1] : 0;
        aHigh ^= round < n ? words[round | 1] : (4 * n) << 24;
      }
    }
    this.high = aHigh ^ bHigh ^ cHigh ^ dHigh;
    return aLow ^ bLow ^ cLow ^ dLow;
  }
}
