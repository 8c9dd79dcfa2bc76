import {
  BURST, DESC_CSUM_OFFSET, DESC_CSUM_START, DESC_FLAGS, DESC_GSO_SIZE, DESC_L4, DESC_LENGTH, DESC_NEXT,
  DESC_PACKET_LENGTH, DROP_BLACKHOLE, DROP_BRIDGE_SAME_PORT, DROP_ETHER_NOT_FOR_US, DROP_ETHER_TYPE_UNKNOWN,
  DROP_IP4_BAD_CHECKSUM, DROP_IP4_BAD_TOTAL_LENGTH, DROP_IP4_BAD_VERSION, DROP_IP4_MARTIAN_SOURCE,
  DROP_IP6_BAD_PAYLOAD_LENGTH, DROP_RPF, FLAG_ACE, FLAG_CSUM_PARTIAL, FLAG_IP4, FLAG_IP6, HOP_BLACKHOLE, HOP_BUCKETS,
  HOP_FORWARD, HOP_GLEAN, HOP_GROUP, HOP_LOCAL, HOP_MASK, NONE, PORT_FLAGS, PORT_GRO, PORT_RPF_STRICT, PORT_RX,
  PORT_UP, PUNT_ARP, PUNT_FRAGMENTATION_NEEDED, PUNT_ID, PUNT_LOCAL, PUNT_NEIGHBOUR, PUNT_REASON, PUNT_TTL_EXCEEDED,
  PUNT_UNREACHABLE, REGION_APP, REGION_GROUPS, STAT_COALESCED, STAT_FLOODED, STAT_LEARNED, VEC_ADDR4, VEC_IDS,
  VEC_NEXT,
} from "../abi";
import { descriptorAt, portAt, region, tableAt, workerAt } from "../core/layout";
import { clonePacket, release } from "../core/pool";
import { puntPop, ringPush } from "../core/ring";
import { gather } from "../device/output";
import { classifyBurst } from "../node/classify";
import { pollWorker } from "../pipeline";
import { insert4 } from "../table/fib4";
import { insert6 } from "../table/fib6";
import { resolveHop } from "../table/hops";
import { load16, store16, store32 } from "../wire/bytes";
import { pseudo4 } from "../wire/checksum";
import { segmentPacket } from "../wire/segment";
import {
  counter, dataOf, frame, headerGood, inFlight, layOut, OUR_MAC, packet4, packet6, sealed4, sent, setBridge, setHop,
} from "./small-engine";

const TO: u32 = 0x0a000001;

/** Gives one packet to a port and lets the worker run. */
function offer(port: u32, id: u32): void {
  const at = region(REGION_APP);
  store<u32>(at, id);
  ringPush(<usize>load<u32>(portAt(port), PORT_RX), at, 1);
  pollWorker(workerAt(0), 1, BURST);
}

/** The reason of the next punt, whose packet is released; 0 when there is none. */
function punted(): u32 {
  const at = region(REGION_APP);
  if (puntPop(at, 1) == 0) return 0;
  release(workerAt(0), load<u32>(at, PUNT_ID));
  return load<u32>(at, PUNT_REASON);
}

function put(ids: u32[]): void {
  const worker = workerAt(0);
  memory.fill(worker + VEC_NEXT, 0, 2 * BURST);
  for (let i = 0; i < ids.length; i++) store<u32>(worker + (<usize>i << 2), ids[i], VEC_IDS);
}

describe("classify", () => {
  beforeEach(layOut);

  it("sorts sound packets into a list for each family, with their offsets", () => {
    const four = packet4(TO, 17, 20), six = packet6(9, 20);
    put([six, four]);
    expect(classifyBurst(workerAt(0), portAt(0), 0, 2)).toBe(1 | (1 << 16));
    expect(load<u32>(descriptorAt(four), DESC_FLAGS)).toBe(FLAG_IP4);
    expect(load<u16>(descriptorAt(four), DESC_L4)).toBe(34);
    expect(load<u32>(descriptorAt(six), DESC_FLAGS)).toBe(FLAG_IP6);
    expect(load<u16>(descriptorAt(six), DESC_L4)).toBe(54);
    expect(load<u32>(workerAt(0), VEC_ADDR4)).toBe(TO);
  });

  it("cuts the padding of a short frame off", () => {
    const id = packet4(TO, 17, 20);
    store16(dataOf(id) + 16, 20 + 8 + 4);
    sealed4(id);
    put([id]);
    expect(classifyBurst(workerAt(0), portAt(0), 0, 1)).toBe(1);
    expect(load<u32>(descriptorAt(id), DESC_PACKET_LENGTH)).toBe(14 + 32);
  });

  it("drops each unsound packet by its own name", () => {
    const version = packet4(TO, 17, 20), total = packet4(TO, 17, 20), sum = packet4(TO, 17, 20), source = packet4(TO, 17, 20);
    store<u8>(dataOf(version), 0x55, 14);
    store16(dataOf(total) + 16, 1000);
    store<u8>(dataOf(sum), 1, 24);
    store32(dataOf(source) + 26, 0x7f000001);
    sealed4(source);
    const six = packet6(1, 0), other = frame(OUR_MAC + 256, 0x0800, 60), type = frame(OUR_MAC, 0x1234, 60);
    store16(dataOf(six) + 18, 500);
    put([version, total, sum, source, six, other, type]);
    expect(classifyBurst(workerAt(0), portAt(0), 0, 7)).toBe(0);
    expect(counter(DROP_IP4_BAD_VERSION)).toBe(1);
    expect(counter(DROP_IP4_BAD_TOTAL_LENGTH)).toBe(1);
    expect(counter(DROP_IP4_BAD_CHECKSUM)).toBe(1);
    expect(counter(DROP_IP4_MARTIAN_SOURCE)).toBe(1);
    expect(counter(DROP_IP6_BAD_PAYLOAD_LENGTH)).toBe(1);
    expect(counter(DROP_ETHER_NOT_FOR_US)).toBe(1);
    expect(counter(DROP_ETHER_TYPE_UNKNOWN)).toBe(1);
    expect(inFlight()).toBe(0);
  });

  it("hands ARP to the host layer", () => {
    offer(0, frame(0xffffffffffff, 0x0806, 42));
    expect(punted()).toBe(PUNT_ARP);
    expect(inFlight()).toBe(0);
  });
});

describe("route and rewrite", () => {
  beforeEach(() => {
    layOut();
    setHop(0, 1, HOP_FORWARD, 1, 1500);
    setHop(1, 1, HOP_FORWARD, 2, 1500);
    insert4(tableAt(0), 0x0a000000, 8, 1);
    insert6(tableAt(1), 0x20010db800000000, 0, 32, 1);
  });

  it("forwards both families: new link header, one hop less, checksum right, nothing else touched", () => {
    offer(0, packet4(TO, 17, 20));
    const id = sent(1), at = dataOf(id);
    expect(load<u8>(at)).toBe(0xee);
    expect(load<u8>(at, 13)).toBe(0xee);
    expect(load<u8>(at, 22)).toBe(63);
    expect(headerGood(at + 14)).toBe(true);
    expect(load<u8>(at, 42)).toBe(0x5a);
    release(workerAt(0), id);
    offer(0, packet6(1, 20));
    const six = sent(2);
    expect(load<u8>(dataOf(six), 21)).toBe(63);
    release(workerAt(0), six);
    expect(inFlight()).toBe(0);
  });

  it("keeps the checksum right at every TTL and at the corners of its arithmetic", () => {
    for (let ttl: u32 = 2; ttl < 256; ttl++) for (let k: u32 = 0; k < 2; k++) {
      const id = packet4(TO, 17, 20), at = dataOf(id) + 14;
      store<u8>(at, <u8>ttl, 8);
      // The identification is chosen so that the field is ~0 or 0 before.
      store16(at + 4, 0);
      sealed4(id);
      store16(at + 4, k == 0 ? load16(at + 10) : 0);
      sealed4(id);
      offer(0, id);
      const out = sent(1);
      expect(headerGood(dataOf(out) + 14)).toBe(true);
      release(workerAt(0), out);
    }
  });

  it("does what each kind of hop says", () => {
    setHop(0, 2, HOP_LOCAL, 0, 0);
    setHop(0, 3, HOP_GLEAN, 1, 1500);
    setHop(0, 4, HOP_BLACKHOLE, 0, 0);
    for (let h: u32 = 2; h < 5; h++) insert4(tableAt(0), 0x14000000 + h, 32, h);
    offer(0, packet4(0x14000002, 17, 20));
    expect(punted()).toBe(PUNT_LOCAL);
    offer(0, packet4(0x14000003, 17, 20));
    expect(punted()).toBe(PUNT_NEIGHBOUR);
    offer(0, packet4(0x14000004, 17, 20));
    expect(counter(DROP_BLACKHOLE)).toBe(1);
    offer(0, packet4(0x15000000, 17, 20));
    expect(punted()).toBe(PUNT_UNREACHABLE);
    expect(inFlight()).toBe(0);
  });

  it("hands up what has no hop left or does not fit", () => {
    const old = packet4(TO, 17, 20);
    store<u8>(dataOf(old), 1, 22);
    offer(0, sealed4(old));
    expect(punted()).toBe(PUNT_TTL_EXCEEDED);
    setHop(0, 1, HOP_FORWARD, 1, 100);
    offer(0, packet4(TO, 17, 73));
    expect(punted()).toBe(PUNT_FRAGMENTATION_NEEDED);
    offer(0, packet4(TO, 17, 72));
    expect(sent(1)).not.toBe(-1);
  });

  it("drops what came in at the wrong port when the reverse path is checked", () => {
    store<u16>(portAt(0), PORT_UP | PORT_RPF_STRICT, PORT_FLAGS);
    insert4(tableAt(0), 0xc0000200, 24, 1);
    offer(0, packet4(TO, 17, 20));
    expect(counter(DROP_RPF)).toBe(1);
    setHop(0, 2, HOP_FORWARD, 0, 1500);
    insert4(tableAt(0), 0xc0000200, 24, 2);
    offer(0, packet4(TO, 17, 20));
    expect(sent(1)).not.toBe(-1);
  });

  it("spreads a group over its buckets by hash, always the same way", () => {
    const group = setHop(0, 3, HOP_GROUP, 0, 0), buckets = region(REGION_GROUPS);
    store<u32>(group, <u32>buckets, HOP_BUCKETS);
    store<u32>(group, 3, HOP_MASK);
    for (let b: usize = 0; b < 4; b++) store<u16>(buckets + (b << 1), <u16>(1 + (b & 1)));
    let ones = 0;
    for (let hash: u32 = 0; hash < 1000; hash++) {
      const hop = resolveHop(tableAt(0), 3, hash * 2654435761);
      expect(resolveHop(tableAt(0), 3, hash * 2654435761)).toBe(hop);
      ones += <i32>(hop == 1);
    }
    expect(ones).toBeGreaterThan(400);
    expect(ones).toBeLessThan(600);
    expect(resolveHop(tableAt(0), 1, 77)).toBe(1);
  });
});

describe("coalesce and segment", () => {
  beforeEach(layOut);

  it("undo each other", () => {
    const worker = workerAt(0), out = region(REGION_APP);
    let lastSum: u32 = 0;
    store<u16>(portAt(0), PORT_UP | PORT_GRO, PORT_FLAGS);
    setHop(0, 1, HOP_LOCAL, 0, 0);
    insert4(tableAt(0), TO, 32, 1);
    for (let i: u32 = 0; i < 3; i++) {
      const id = packet4(TO, 6, 500);
      store16(dataOf(id) + 18, i);
      store32(dataOf(id) + 38, 7000 + i * 500);
      store<u32>(out + (<usize>i << 2), sealed4(id));
      lastSum = <u32>load<u16>(dataOf(id), 50);
    }
    ringPush(<usize>load<u32>(portAt(0), PORT_RX), out, 3);
    pollWorker(worker, 1, BURST);
    expect(counter(STAT_COALESCED)).toBe(2);
    expect(puntPop(out, 4)).toBe(1);
    const whole = load<u32>(out, PUNT_ID), d = descriptorAt(whole);
    expect(load<u32>(d, DESC_PACKET_LENGTH)).toBe(54 + 1500);
    expect(load<u16>(d, DESC_GSO_SIZE)).toBe(500);
    expect(load<u16>(d, DESC_CSUM_START)).toBe(34);
    expect(load<u16>(d, DESC_CSUM_OFFSET)).toBe(16);
    expect(load<u32>(d, DESC_FLAGS) & FLAG_CSUM_PARTIAL).not.toBe(0);
    const copy = clonePacket(worker, whole), copies = out + 64;
    expect(segmentPacket(worker, whole, out, 8, false)).toBe(3);
    expect(segmentPacket(worker, copy, copies, 8, true)).toBe(3);
    for (let i: u32 = 0; i < 3; i++) {
      const piece = gather(worker, load<u32>(out + (<usize>i << 2))), at = dataOf(piece);
      expect(load16(at + 18)).toBe(i);
      expect(headerGood(at + 14)).toBe(true);
      expect(load<u8>(at, 54 + 499)).toBe(0x5a);
      if (i == 2) expect(<u32>load<u16>(at, 50)).toBe(lastSum);
      // In one buffer from the start: the same bytes.
      const other = load<u32>(copies + (<usize>i << 2));
      expect(load<u32>(descriptorAt(other), DESC_NEXT)).toBe(NONE);
      expect(load<u32>(descriptorAt(other), DESC_LENGTH)).toBe(554);
      expect(memory.compare(dataOf(other), at, 554)).toBe(0);
      release(worker, piece);
      release(worker, other);
    }
    expect(inFlight()).toBe(0);
  });

  it("leaves urgent segments alone; segmentation points to the same octet from each", () => {
    const worker = workerAt(0), out = region(REGION_APP);
    store<u16>(portAt(0), PORT_UP | PORT_GRO, PORT_FLAGS);
    setHop(0, 1, HOP_LOCAL, 0, 0);
    insert4(tableAt(0), TO, 32, 1);
    for (let round = 0; round < 2; round++) {
      for (let i: u32 = 0; i < 3; i++) {
        const id = packet4(TO, 6, 500), at = dataOf(id);
        store16(at + 18, i);
        store32(at + 38, 7000 + i * 500);
        if (round == 0) { store<u8>(at, load<u8>(at, 47) | 0x20, 47); store16(at + 52, 700); }
        store<u32>(out + (<usize>i << 2), sealed4(id));
      }
      ringPush(<usize>load<u32>(portAt(0), PORT_RX), out, 3);
      pollWorker(worker, 1, BURST);
      expect(counter(STAT_COALESCED)).toBe(round == 0 ? 0 : 2);
      if (round == 0) for (let i = 0; i < 3; i++) {
        expect(puntPop(out, 1)).toBe(1);
        release(worker, load<u32>(out, PUNT_ID));
      }
    }
    expect(puntPop(out, 4)).toBe(1);
    const whole = load<u32>(out, PUNT_ID), head = dataOf(whole);
    store<u8>(head, load<u8>(head, 47) | 0x20, 47);
    store16(head + 52, 700);
    expect(segmentPacket(worker, whole, out, 8, false)).toBe(3);
    for (let i: u32 = 0; i < 3; i++) {
      const piece = gather(worker, load<u32>(out + (<usize>i << 2))), at = dataOf(piece);
      expect(<u32>load<u8>(at, 47) & 0x20).toBe(i < 2 ? 0x20 : 0);
      expect(load16(at + 52)).toBe(i == 0 ? 700 : i == 1 ? 200 : 0);
      release(worker, piece);
    }
    expect(inFlight()).toBe(0);
  });
});

describe("coalesce, segment and Accurate ECN", () => {
  beforeEach(layOut);

  it("CWR on all is kept on all; CWR on some keeps segments apart", () => {
    const worker = workerAt(0), out = region(REGION_APP);
    store<u16>(portAt(0), PORT_UP | PORT_GRO, PORT_FLAGS);
    setHop(0, 1, HOP_LOCAL, 0, 0);
    insert4(tableAt(0), TO, 32, 1);
    for (let round = 0; round < 2; round++) {
      for (let i: u32 = 0; i < 3; i++) {
        const id = packet4(TO, 6, 500), at = dataOf(id);
        store16(at + 18, i);
        store32(at + 38, 7000 + i * 500);
        if (round == 1 || i == 0) store<u8>(at, load<u8>(at, 47) | 0x80, 47);
        store<u32>(out + (<usize>i << 2), sealed4(id));
      }
      ringPush(<usize>load<u32>(portAt(0), PORT_RX), out, 3);
      pollWorker(worker, 1, BURST);
      // The first alone has it: the other two are one packet.
      expect(counter(STAT_COALESCED)).toBe(round == 0 ? 1 : 3);
      if (round == 0) for (let i = 0; i < 2; i++) {
        expect(puntPop(out, 1)).toBe(1);
        release(worker, load<u32>(out, PUNT_ID));
      }
    }
    expect(puntPop(out, 1)).toBe(1);
    const whole = load<u32>(out, PUNT_ID);
    expect(load<u32>(descriptorAt(whole), DESC_FLAGS) & FLAG_ACE).toBe(FLAG_ACE);
    expect(segmentPacket(worker, whole, out, 8, false)).toBe(3);
    for (let i: u32 = 0; i < 3; i++) {
      const piece = gather(worker, load<u32>(out + (<usize>i << 2)));
      expect(<u32>load<u8>(dataOf(piece), 47) & 0x80).toBe(0x80);
      release(worker, piece);
    }
    expect(inFlight()).toBe(0);
  });
});

describe("switch", () => {
  beforeEach(() => {
    layOut();
    setBridge(3);
  });

  it("floods by reference, learns, then sends to one port only", () => {
    offer(0, frame(0x050000000002, 0x0800, 60));
    expect(counter(STAT_FLOODED)).toBe(1);
    expect(counter(STAT_LEARNED)).toBe(1);
    const one = sent(1), two = sent(2);
    expect(dataOf(one)).toBe(dataOf(two));
    expect(sent(0)).toBe(-1);
    release(workerAt(0), one);
    expect(inFlight()).toBe(1);
    release(workerAt(0), two);
    const answer = frame(0x990000000002, 0x0800, 60);
    store<u64>(dataOf(answer), 0x0008050000000002, 6);
    offer(2, answer);
    expect(counter(STAT_FLOODED)).toBe(1);
    const back = sent(0);
    expect(back).toBe(answer);
    expect(sent(1)).toBe(-1);
    release(workerAt(0), back);
    offer(0, frame(0x990000000002, 0x0800, 60));
    expect(counter(DROP_BRIDGE_SAME_PORT)).toBe(1);
    expect(inFlight()).toBe(0);
  });
});

describe("transmit", () => {
  beforeEach(layOut);

  it("makes a chain contiguous for a port that wants it, and completes its checksum", () => {
    setHop(0, 1, HOP_FORWARD, 1, 1500);
    insert4(tableAt(0), TO, 32, 1);
    const id = packet4(TO, 17, 100), rest = packet4(TO, 17, 0);
    const right = load<u16>(dataOf(id), 40);
    store<u16>(dataOf(id), <u16>pseudo4(dataOf(id) + 26, 17, 108), 40);
    // The last 50 bytes move to a segment of their own, and the checksum field is left to whoever transmits.
    memory.copy(dataOf(rest), dataOf(id) + 92, 50);
    const d = descriptorAt(id), r = descriptorAt(rest);
    store<u32>(d, 92, DESC_LENGTH);
    store<u32>(r, 50, DESC_LENGTH);
    store<u32>(d, rest, DESC_NEXT);
    store<u32>(d, FLAG_CSUM_PARTIAL, DESC_FLAGS);
    store<u32>(d, 34 | (6 << 16), DESC_CSUM_START);
    offer(0, id);
    const out = sent(1);
    expect(load<u32>(descriptorAt(out), DESC_NEXT)).toBe(NONE);
    expect(load<u32>(descriptorAt(out), DESC_PACKET_LENGTH)).toBe(142);
    expect(load<u8>(dataOf(out), 141)).toBe(0x5a);
    expect(load<u16>(dataOf(out), 40)).toBe(right);
    release(workerAt(0), out);
    expect(inFlight()).toBe(0);
  });
});
