import { HCLASS_MINOR, HCLASS_SIZE, HRING_SIZE, REGION_APP } from "../abi";
import { region } from "../core/layout";
import { heapFirst, heapRemove, heapSet } from "../queue/heap";
import { isEmpty, join, part, pass, turnOf } from "../queue/rings";
import { refill, spend, timeFor, UNIT } from "../queue/tokens";
import { layOut } from "./small-engine";

const at = (): usize => region(REGION_APP);

describe("tokens", () => {
  beforeEach(layOut);

  it("come to the same however the time is cut", () => {
    let whole: i64 = refill(0, 1 << 60, 12345, 1000000), parts: i64 = 0;
    for (let i = 0; i < 1000; i++) parts = refill(parts, 1 << 60, 12345, 1000);
    expect(parts).toBe(whole);
    expect(refill(-5 * UNIT, 10 * UNIT, 1, u64.MAX_VALUE)).toBe(10 * UNIT);
    expect(refill(7, 10, 0, 100)).toBe(7);
  });

  it("say when they will be there, and not a nanosecond too early", () => {
    const deficit: i64 = 1500 * UNIT, rate: u64 = 7777777, wait = timeFor(deficit, rate);
    expect(refill(-deficit, UNIT, rate, wait)).toBeGreaterThanOrEqual(<i64>0);
    expect(refill(-deficit, UNIT, rate, wait - 1)).toBeLessThan(<i64>0);
  });

  it("lose no fraction of a packet's time", () => {
    let sum: u64 = 0;
    store<u64>(at(), 0);
    for (let i = 0; i < 7; i++) sum += spend(1, 7, at());
    expect(sum).toBe(<u64>UNIT);
  });
});

describe("a heap of what waits", () => {
  beforeEach(layOut);

  it("gives the earliest first, moved and removed ones too", () => {
    const heap = at(), things = at() + 4096;
    store<u32>(heap, <u32>at() + 1024);
    store<u32>(heap, 0, 4);
    for (let i: u32 = 0; i < 100; i++) {
      const thing = things + <usize>i * 16;
      store<u64>(thing, <u64>((i * 37) % 101));
      store<u32>(thing, 0, 8);
      heapSet(heap, thing);
    }
    for (let i: u32 = 0; i < 100; i += 3) heapRemove(heap, things + <usize>i * 16);
    store<u64>(things + 16, 1000);
    heapSet(heap, things + 16);
    let last: u64 = 0, n = 0;
    for (let first = heapFirst(heap); first != 0; first = heapFirst(heap), n++) {
      expect(load<u64>(first)).toBeGreaterThanOrEqual(last);
      last = load<u64>(first);
      heapRemove(heap, first);
    }
    expect(n).toBe(66);
    expect(last).toBe(1000);
  });
});

describe("a ring of classes", () => {
  beforeEach(layOut);

  const cls = (minor: u32): usize => at() + 1024 + <usize>minor * HCLASS_SIZE;

  it("goes round by minors, and remembers whose turn it was", () => {
    const ring = at();
    memory.fill(ring, 0, HRING_SIZE);
    for (let minor: u32 = 1; minor <= 3; minor++) store<u32>(cls(minor), minor, HCLASS_MINOR);
    join(ring, cls(3), 0);
    join(ring, cls(1), 0);
    join(ring, cls(2), 0);
    expect(turnOf(ring, 0)).toBe(cls(1));
    expect(pass(ring, cls(1), 0)).toBe(false);
    expect(turnOf(ring, 0)).toBe(cls(2));
    part(ring, cls(2), 0);
    join(ring, cls(2), 0);
    expect(turnOf(ring, 0)).toBe(cls(2));
    part(ring, cls(2), 0);
    expect(turnOf(ring, 0)).toBe(cls(3));
    expect(pass(ring, cls(3), 0)).toBe(true);
    part(ring, cls(1), 0);
    part(ring, cls(3), 0);
    expect(isEmpty(ring)).toBe(true);
    expect(turnOf(ring, 0)).toBe(0);
  });
});
