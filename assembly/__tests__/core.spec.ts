import {
  DESC_DATA, DESC_LENGTH, DESC_REFS, NONE, POOL_BARE, PORT_RX, PUNT_ID, PUNT_REASON, PUNT_SIZE, REGION_APP,
  RING_REJECTED, RING_TAIL, STAT_COPIED_BYTES, STAT_DOUBLE_FREES, WORKER_BARE_COUNT,
} from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt, portAt, region, workerAt } from "../core/layout";
import { clonePacket, freeInReserve, isExclusive, reference, release, takeBuffer } from "../core/pool";
import { puntPop, puntPush, ringPop, ringPush, ringUsed } from "../core/ring";
import { BARE, BUFFERS, counter, dataOf, inFlight, layOut, packet4 } from "./small-engine";

const worker = (): usize => workerAt(0);

describe("buffers", () => {
  beforeEach(layOut);

  it("are all handed out once, and none after that", () => {
    for (let i: u32 = 0; i < BUFFERS; i++) expect(takeBuffer(worker())).toBeLessThan(BUFFERS);
    expect(takeBuffer(worker())).toBe(NONE);
    expect(inFlight()).toBe(BUFFERS);
    for (let i: u32 = 0; i < BUFFERS; i++) release(worker(), i);
    expect(inFlight()).toBe(0);
  });

  it("count a second free instead of doing it", () => {
    const id = takeBuffer(worker());
    release(worker(), id);
    release(worker(), id);
    expect(counter(STAT_DOUBLE_FREES)).toBe(1);
    expect(inFlight()).toBe(0);
  });

  it("stay while a clone refers to them", () => {
    const id = packet4(0x0a000001, 17, 100), clone = clonePacket(worker(), id);
    expect(isExclusive(id)).toBe(false);
    expect(dataOf(clone)).toBe(dataOf(id));
    release(worker(), id);
    expect(inFlight()).toBe(1);
    expect(isExclusive(clone)).toBe(true);
    release(worker(), clone);
    expect(inFlight()).toBe(0);
    expect(freeInReserve(POOL_BARE) + load<u32>(worker(), WORKER_BARE_COUNT)).toBe(BARE);
  });

  it("give a shared packet headers of its own and leave the payload", () => {
    const id = packet4(0x0a000001, 17, 100), clone = clonePacket(worker(), id);
    store<u16>(descriptorAt(clone), 14, 32);
    store<u16>(descriptorAt(clone), 34, 34);
    const mine = privateHead(worker(), clone);
    expect(dataOf(mine)).not.toBe(dataOf(id));
    store<u8>(dataOf(mine), 0x77, 22);
    expect(load<u8>(dataOf(id), 22)).toBe(64);
    expect(counter(STAT_COPIED_BYTES)).toBeLessThan(143);
    release(worker(), mine);
    release(worker(), id);
    expect(inFlight()).toBe(0);
  });

  it("run a reference's counter down when it is released", () => {
    const id = packet4(0x0a000001, 17, 100), part = reference(worker(), id, <u32>dataOf(id) + 50, 20);
    expect(load<u32>(descriptorAt(part), DESC_LENGTH)).toBe(20);
    expect(load<u32>(descriptorAt(part), DESC_DATA)).toBe(<u32>dataOf(id) + 50);
    expect(load<u32>(descriptorAt(id), DESC_REFS)).toBe(2);
    release(worker(), part);
    expect(load<u32>(descriptorAt(id), DESC_REFS)).toBe(1);
  });
});

describe("rings", () => {
  beforeEach(layOut);

  it("keep order over their end, and refuse what does not fit", () => {
    const ring = <usize>load<u32>(portAt(0), PORT_RX), at = region(REGION_APP);
    for (let round: u32 = 0; round < 5; round++) {
      for (let i: u32 = 0; i < 50; i++) store<u32>(at + (<usize>i << 2), (round + i) & 63);
      expect(ringPush(ring, at, 50)).toBe(50);
      expect(ringPush(ring, at, 50)).toBe(14);
      expect(ringUsed(ring)).toBe(64);
      expect(ringPop(ring, at + 1024, 64)).toBe(64);
      expect(load<u32>(at, 1024 + 49 * 4)).toBe((round + 49) & 63);
      expect(load<u32>(at, 1024 + 50 * 4)).toBe(round & 63);
    }
  });

  it("reject ids and indices that cannot be", () => {
    const ring = <usize>load<u32>(portAt(0), PORT_RX), at = region(REGION_APP);
    store<u32>(at, 5);
    store<u32>(at, 1 << 30, 4);
    ringPush(ring, at, 2);
    expect(ringPop(ring, at + 64, 8)).toBe(1);
    expect(load<u32>(ring, RING_REJECTED)).toBe(1);
    store<u32>(ring, 1 << 20, RING_TAIL);
    expect(ringPop(ring, at + 64, 8)).toBe(0);
    expect(ringUsed(ring)).toBe(0);
    expect(load<u32>(ring, RING_REJECTED)).toBe(2);
  });

  it("carry punts with their reasons until they are full", () => {
    for (let i: u32 = 0; i < 64; i++) expect(puntPush(i, 100 + i, 0)).toBe(true);
    expect(puntPush(64, 0, 0)).toBe(false);
    const at = region(REGION_APP);
    expect(puntPop(at, 100)).toBe(64);
    expect(load<u32>(at + 63 * PUNT_SIZE, PUNT_ID)).toBe(63);
    expect(load<u32>(at + 63 * PUNT_SIZE, PUNT_REASON)).toBe(163);
    expect(puntPush(1, 1, 1)).toBe(true);
  });
});
