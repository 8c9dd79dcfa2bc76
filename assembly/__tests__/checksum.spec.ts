import { addSums, checksum, pseudo4, sum, sum20, sumCopy, update16, update32 } from "../wire/checksum";

const AT: usize = 65536;

/** RFC 1071 by the letter: one byte at a time. */
function slow(at: usize, length: u32): u32 {
  let total: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    total += i & 1 ? <u32>load<u8>(at + i) << 8 : <u32>load<u8>(at + i);
    total = (total & 0xffff) + (total >>> 16);
  }
  return total;
}

function fill(length: u32, seed: u32): void {
  let x = seed | 1;
  for (let i: u32 = 0; i < length; i++) {
    x = x * 1664525 + 1013904223;
    store<u8>(AT + i, <u8>(x >>> 24));
  }
}

describe("checksum", () => {
  it("equals the slow sum for every length and alignment, across the SIMD limit", () => {
    let wrong = 0;
    fill(4096, 7);
    for (let length: u32 = 0; length < 300; length++) {
      for (let offset: usize = 0; offset < 17; offset++) {
        const fast = sum(AT + offset, length), expected = slow(AT + offset, length);
        // 0 and 0xffff are both zero in one's complement; only all-zero input sums to 0.
        if (fast != expected) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });

  it("is the same of what is copied on the way, and only that is written", () => {
    let wrong = 0;
    const to: usize = AT + 8192;
    fill(4096, 11);
    for (let length: u32 = 0; length < 300; length++) {
      for (let offset: usize = 0; offset < 17; offset++) {
        memory.fill(to, 0xee, 400);
        if (sumCopy(to + 3 + (offset & 7), AT + offset, length) != slow(AT + offset, length)) wrong++;
        if (memory.compare(to + 3 + (offset & 7), AT + offset, length) != 0) wrong++;
        if (load<u8>(to + 2 + (offset & 7)) != 0xee || load<u8>(to + 3 + (offset & 7) + length) != 0xee) wrong++;
      }
    }
    memory.fill(AT, 0xff, 65535);
    if (sumCopy(AT + 70000, AT, 65534) != 0xffff) wrong++;
    expect(wrong).toBe(0);
  });

  it("does not overflow over 64 KiB of ones", () => {
    memory.fill(AT, 0xff, 65535);
    expect(sum(AT, 65534)).toBe(0xffff);
    expect(checksum(AT, 65534)).toBe(0);
  });

  it("sums RFC 1071's example", () => {
    const bytes: StaticArray<u8> = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    memory.copy(AT, changetype<usize>(bytes), 8);
    // ddf2 in the RFC's byte order.
    expect(sum(AT, 8)).toBe(0xf2dd);
  });

  it("sums a header of twenty bytes like any other", () => {
    fill(20, 99);
    expect(sum20(AT)).toBe(sum(AT, 20));
  });

  it("updates as if computed anew, for all values of one word (RFC 1624)", () => {
    let wrong = 0;
    memory.fill(AT, 0, 8);
    store<u16>(AT, 0x1234, 2);
    for (let before: u32 = 0; before < 65536; before += 251) {
      store<u16>(AT, <u16>before);
      const field = checksum(AT, 8);
      for (let after: u32 = 0; after < 65536; after += 509) {
        store<u16>(AT, <u16>after);
        if (update16(field, before, after) != checksum(AT, 8)) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });

  it("handles the corner of RFC 1624 §3, where eqn. 4 gives ~0", () => {
    expect(update16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
    expect(update32(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  it("adds a pseudo-header in any order", () => {
    store<u32>(AT, 0x0100000a);
    store<u32>(AT, 0x0200000a, 4);
    const addresses = sum(AT, 8);
    expect(pseudo4(AT, 17, 8)).toBe(addSums(addresses, addSums(17 << 8, 8 << 8)));
  });
});
