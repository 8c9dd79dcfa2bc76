import {
  DROP_IP6_BAD_EXTENSION, DROP_IP6_TOO_MANY_EXTENSIONS, DROP_NONE, FLAG_FIRST_FRAGMENT, FLAG_FRAGMENT,
  FLAG_HOP_BY_HOP, HEADER, HEADER_RSS_KEY,
} from "../abi";
import { walkExtensions } from "../wire/ipv6";
import { l4Valid, TCP, UDP } from "../wire/l4";
import { toeplitz } from "../wire/toeplitz";

const AT: usize = 65536;

/** A fixed header that names `first`, and `bytes` of zeros behind it. */
function packet(first: u32, bytes: u32): void {
  memory.fill(AT, 0, 40 + bytes);
  store<u8>(AT, <u8>first, 6);
}

const reason = (walk: u64): u32 => <u32>(walk >> 56);
const offset = (walk: u64): u32 => <u32>walk & 0xffff;
const flags = (walk: u64): u32 => <u32>(walk >> 32) & 0xffffff;

describe("IPv6 extension chain", () => {
  it("ends at once without extensions", () => {
    packet(TCP, 20);
    expect(offset(walkExtensions(AT, 60))).toBe(40);
  });

  it("walks hop-by-hop, destination, fragment to the upper layer", () => {
    packet(0, 40);
    store<u8>(AT, 60, 40);
    store<u8>(AT, 44, 48);
    store<u8>(AT, UDP, 56);
    store<u8>(AT, 1, 59);
    const walk = walkExtensions(AT, 80);
    expect(reason(walk)).toBe(DROP_NONE);
    expect(offset(walk)).toBe(64);
    expect(<u32>(walk >> 16) & 0xff).toBe(UDP);
    expect(flags(walk)).toBe(FLAG_HOP_BY_HOP | FLAG_FRAGMENT | FLAG_FIRST_FRAGMENT);
  });

  it("stops at a later fragment, whose payload is not a header", () => {
    packet(44, 16);
    store<u8>(AT, 60, 40);
    store<u8>(AT, 8, 43);
    const walk = walkExtensions(AT, 56);
    expect(reason(walk)).toBe(DROP_NONE);
    expect(flags(walk)).toBe(FLAG_FRAGMENT);
  });

  it("leaves a first fragment that ends within its headers to its receiver", () => {
    packet(44, 16);
    store<u8>(AT, 60, 40);
    store<u8>(AT, 1, 43);
    store<u8>(AT, 5, 49);
    const walk = walkExtensions(AT, 56);
    expect(reason(walk)).toBe(DROP_NONE);
    expect(offset(walk)).toBe(48);
    expect(flags(walk)).toBe(FLAG_FRAGMENT | FLAG_FIRST_FRAGMENT);
  });

  it("refuses a header that runs over the end and a chain without end; stops at a late hop-by-hop", () => {
    packet(60, 16);
    store<u8>(AT, 5, 41);
    expect(reason(walkExtensions(AT, 56))).toBe(DROP_IP6_BAD_EXTENSION);
    packet(60, 16);
    const late = walkExtensions(AT, 56);
    expect(reason(late)).toBe(DROP_NONE);
    expect(offset(late)).toBe(48);
    expect(<u32>(late >> 16) & 0xff).toBe(0);
    packet(60, 200);
    for (let i: usize = 40; i < 240; i += 8) store<u8>(AT + i, 60);
    expect(reason(walkExtensions(AT, 240))).toBe(DROP_IP6_TOO_MANY_EXTENSIONS);
  });
});

describe("upper layers", () => {
  it("hold their own lengths to account", () => {
    memory.fill(AT, 0, 64);
    store<u8>(AT, 0x50, 12);
    expect(l4Valid(AT, TCP, 20)).toBe(true);
    expect(l4Valid(AT, TCP, 19)).toBe(false);
    store<u8>(AT, 0x60, 12);
    expect(l4Valid(AT, TCP, 20)).toBe(false);
    store<u8>(AT, 0x40, 12);
    expect(l4Valid(AT, TCP, 60)).toBe(false);
    store<u16>(AT, 0x0800, 4);
    expect(l4Valid(AT, UDP, 8)).toBe(true);
    store<u16>(AT, 0x0900, 4);
    expect(l4Valid(AT, UDP, 8)).toBe(false);
  });
});

describe("Toeplitz", () => {
  it("is linear: the hash of a single bit is a window of the key", () => {
    for (let i: usize = 0; i < 52; i++) store<u8>(<usize>HEADER + HEADER_RSS_KEY + i, <u8>(i * 37 + 11));
    memory.fill(AT, 0, 36);
    expect(toeplitz(AT, 36)).toBe(0);
    store<u8>(AT, 0x80, 3);
    const window = (<u32>load<u8>(HEADER + HEADER_RSS_KEY + 3) << 24) | (<u32>load<u8>(HEADER + HEADER_RSS_KEY + 4) << 16)
      | (<u32>load<u8>(HEADER + HEADER_RSS_KEY + 5) << 8) | <u32>load<u8>(HEADER + HEADER_RSS_KEY + 6);
    expect(toeplitz(AT, 36)).toBe(window);
  });
});
