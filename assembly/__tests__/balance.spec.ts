import {
  AFFINITY_ENTRIES, AFFINITY_SIZE, BACKEND_FLAGS, BACKEND_FLOWS, BACKEND_MODE, BACKEND_OPEN, BACKEND_PORT, BACKEND_SERVICE, BACKEND_STAT_SIZE, BACKEND_WEIGHT, BALANCE_BACKENDS,
  BALANCE_BACKENDS_AT, BALANCE_CLIENTS_AT, BALANCE_CLIENTS_MASK, BALANCE_DIRECTORY_AT, BALANCE_MASK, BALANCE_REACH,
  BALANCE_SERVICES_AT, BALANCE_STATS_AT, HEADER, HEADER_REGIONS, PICK_HASH, PICK_LEAST, PICK_LENGTH, PICK_RULE, PICK_SLOTS,
  PICK_TURN, REGION_BALANCE, SERVICE_AFFINITY, SERVICE_BY_CLIENT, SERVICE_FLAGS, SERVICE_PICKS, SERVICE_PORT, SERVICE_PROTOCOL,
  SERVICE_SIZE, KIND_IP6, TUPLE_KIND, WORKER_ID,
} from "../abi";
import { sipHash3 } from "../core/siphash";
import { NOT_SERVED, serveFlow } from "../flow/balance";
import { chooseBackend, forgetClients } from "../table/affinity";
import { addService, backendAt, countBackend, findService, flowClosed, flowOpened, mapped, NOBODY, pickBackend, removeService } from "../table/balance";
import { load16, load32, store16, store32 } from "../wire/bytes";
import { sum, sum20, pseudo6, addSums } from "../wire/checksum";
import { encapOverhead, encapsulate, GUE_PORT } from "../wire/encap";

const REGION: usize = 1 << 20;
const DIRECTORY: usize = REGION + 64, SERVICES: usize = REGION + 4096, BACKENDS: usize = REGION + (1 << 16);
const STATS: usize = REGION + (1 << 17), PICKS: usize = REGION + (1 << 18), CLIENTS: usize = REGION + (1 << 19);
const WORKER: usize = 1 << 16;

function layOut(mask: u32, buckets: u32): void {
  memory.fill(REGION, 0, 1 << 20);
  memory.fill(WORKER, 0, 64);
  store<u32>(<usize>HEADER + HEADER_REGIONS + 8 * REGION_BALANCE, <u32>REGION);
  store<u32>(REGION, 100, BALANCE_BACKENDS);
  store<u32>(REGION, mask, BALANCE_MASK);
  store<u32>(REGION, <u32>DIRECTORY, BALANCE_DIRECTORY_AT);
  store<u32>(REGION, <u32>SERVICES, BALANCE_SERVICES_AT);
  store<u32>(REGION, <u32>BACKENDS, BALANCE_BACKENDS_AT);
  store<u32>(REGION, <u32>STATS, BALANCE_STATS_AT);
  store<u32>(REGION, <u32>CLIENTS, BALANCE_CLIENTS_AT);
  store<u32>(REGION, buckets - 1, BALANCE_CLIENTS_MASK);
}

/** Service `index` at 192.0.2.`index`. */
function service(index: u32, protocol: u32, port: u32): usize {
  const at = SERVICES + <usize>index * SERVICE_SIZE;
  store<u64>(at, mapped(0x000200c0 | (index << 24)), 8);
  store<u16>(at, <u16>port, SERVICE_PORT);
  store<u8>(at, <u8>protocol, SERVICE_PROTOCOL);
  return at;
}

function find(index: u32, protocol: u32, port: u32): usize {
  return findService(0, mapped(0x000200c0 | (index << 24)), protocol, port);
}

/** Gives a service a table of backends 0 to n - 1, one slot each, all of them open and of weight 1. */
function picks(at: usize, rule: u32, n: u32): void {
  store<u32>(PICKS, rule, PICK_RULE);
  store<u32>(PICKS, n, PICK_LENGTH);
  for (let i: u32 = 0; i < n; i++) {
    store<u16>(PICKS + (<usize>i << 1), <u16>i, PICK_SLOTS);
    store<u8>(backendAt(i), BACKEND_OPEN, BACKEND_FLAGS);
    store<u32>(backendAt(i), <u32>at, BACKEND_SERVICE);
    store<u32>(backendAt(i), 16, BACKEND_WEIGHT);
  }
  store<u32>(at, <u32>PICKS, SERVICE_PICKS);
}

describe("directory of services", () => {
  beforeEach(() => layOut(15, 1));

  it("finds by address, protocol and port, and nothing else", () => {
    const at = service(1, 6, 80);
    expect(find(1, 6, 80)).toBe(0);
    expect(addService(at)).toBe(true);
    expect(find(1, 6, 80)).toBe(at);
    expect(find(1, 17, 80)).toBe(0);
    expect(find(1, 6, 81)).toBe(0);
    expect(find(2, 6, 80)).toBe(0);
    expect(findService(1, mapped(0x010200c0), 6, 80)).toBe(0);
    expect(addService(at)).toBe(false);
  });

  it("falls back to a service of all ports", () => {
    const all = service(1, 6, 0);
    addService(all);
    expect(find(1, 6, 443)).toBe(all);
    store<u64>(SERVICES + 5 * SERVICE_SIZE, mapped(0x010200c0), 8);
    store<u16>(SERVICES + 5 * SERVICE_SIZE, 443, SERVICE_PORT);
    store<u8>(SERVICES + 5 * SERVICE_SIZE, 6, SERVICE_PROTOCOL);
    addService(SERVICES + 5 * SERVICE_SIZE);
    expect(find(1, 6, 443)).toBe(SERVICES + 5 * SERVICE_SIZE);
    expect(find(1, 6, 80)).toBe(all);
  });

  it("keeps the others when one of a crowded place goes, and gives its place away again", () => {
    layOut(0, 1);
    for (let i: u32 = 0; i < 20; i++) expect(addService(service(i, 6, 80))).toBe(true);
    expect(load<u32>(REGION, BALANCE_REACH)).toBe(20);
    expect(removeService(SERVICES + 3 * SERVICE_SIZE)).toBe(true);
    expect(removeService(SERVICES + 3 * SERVICE_SIZE)).toBe(false);
    expect(find(3, 6, 80)).toBe(0);
    for (let i: u32 = 4; i < 20; i++) expect(find(i, 6, 80)).toBe(SERVICES + <usize>i * SERVICE_SIZE);
    for (let i: u32 = 20; i < 33; i++) expect(addService(service(i, 6, 80))).toBe(true);
    expect(addService(service(33, 6, 80))).toBe(false);
  });
});

describe("picking", () => {
  beforeEach(() => layOut(15, 1));

  it("has nobody without a table, or with an empty one", () => {
    const at = service(1, 6, 80);
    expect(pickBackend(at, 5)).toBe(NOBODY);
    picks(at, PICK_HASH, 0);
    expect(pickBackend(at, 5)).toBe(NOBODY);
  });

  it("goes by hash: the same for the same, all of them over many", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_HASH, 7);
    let seen: u32 = 0;
    for (let i: u32 = 0; i < 200; i++) {
      const backend = pickBackend(at, i);
      expect(pickBackend(at, i)).toBe(backend);
      seen |= 1 << backend;
    }
    expect(seen).toBe(127);
  });

  it("goes in turn", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_TURN, 3);
    for (let i: u32 = 0; i < 9; i++) expect(pickBackend(at, 99)).toBe(i % 3);
  });

  it("gives eight backends to the least loaded for its weight, exactly", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_LEAST, 8);
    store<u32>(backendAt(5), 64, BACKEND_WEIGHT);
    for (let i: u32 = 0; i < 1100; i++) flowOpened(WORKER, pickBackend(at, i * 7919));
    for (let i: u32 = 0; i < 8; i++) expect(load<u32>(backendAt(i), BACKEND_FLOWS)).toBe(i == 5 ? 400 : 100);
    for (let i = 0; i < 10; i++) flowClosed(2);
    for (let i: u32 = 0; i < 10; i++) {
      const backend = pickBackend(at, i);
      expect(backend).toBe(2);
      flowOpened(WORKER, backend);
    }
  });

  it("keeps a hundred near to even, looking at eight", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_LEAST, 100);
    for (let i: u32 = 0; i < 10000; i++) flowOpened(WORKER, pickBackend(at, i));
    let most: u32 = 0;
    for (let i: u32 = 0; i < 100; i++) most = max(most, load<u32>(backendAt(i), BACKEND_FLOWS));
    expect(most).toBeLessThan(104);
  });

  it("counts for each worker", () => {
    store<u32>(WORKER, 1, WORKER_ID);
    countBackend(WORKER, 3, false, 2, 120);
    countBackend(WORKER, 3, true, 1, 1500);
    const at = STATS + (100 + 3) * BACKEND_STAT_SIZE;
    expect(load<u64>(at, 8)).toBe(2);
    expect(load<u64>(at, 16)).toBe(120);
    expect(load<u64>(at, 24)).toBe(1);
    expect(load<u64>(at, 32)).toBe(1500);
  });
});

describe("affinity", () => {
  beforeEach(() => layOut(15, 4));

  it("keeps a client's backend while it comes back in time", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_TURN, 5);
    store<u32>(at, 60, SERVICE_AFFINITY);
    const first = chooseBackend(at, 0, 77, 1, 1000);
    expect(chooseBackend(at, 0, 77, 2, 1059)).toBe(first);
    expect(chooseBackend(at, 0, 77, 3, 1118)).toBe(first);
    expect(chooseBackend(at, 0, 78, 4, 1118)).not.toBe(first);
    expect(chooseBackend(at, 0, 77, 5, 1178)).not.toBe(first);
  });

  it("leaves a backend that takes no new flows, and forgets with the service", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_TURN, 5);
    store<u32>(at, 60, SERVICE_AFFINITY);
    const first = chooseBackend(at, 0, 77, 1, 1000);
    store<u8>(backendAt(first), 0, BACKEND_FLAGS);
    const second = chooseBackend(at, 0, 77, 1, 1001);
    expect(second).not.toBe(first);
    expect(chooseBackend(at, 0, 77, 1, 1002)).toBe(second);
    forgetClients(at);
    expect(chooseBackend(at, 0, 77, 1, 1003)).not.toBe(second);
  });

  it("leaves a backend whose number is another service's by now", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_TURN, 5);
    store<u32>(at, 60, SERVICE_AFFINITY);
    const first = chooseBackend(at, 0, 77, 1, 1000);
    store<u32>(backendAt(first), <u32>service(2, 6, 80), BACKEND_SERVICE);
    expect(chooseBackend(at, 0, 77, 1, 1001)).not.toBe(first);
  });

  it("is bounded: a full bucket forgets who would be forgotten first", () => {
    layOut(15, 1);
    const at = service(1, 6, 80);
    picks(at, PICK_TURN, 100);
    store<u32>(at, 60, SERVICE_AFFINITY);
    for (let i: u32 = 0; i < <u32>(AFFINITY_ENTRIES + 1); i++) expect(chooseBackend(at, 0, 500 + i, 1, 1000 + i)).toBe(i);
    for (let i: u32 = 1; i < <u32>(AFFINITY_ENTRIES + 1); i++) expect(chooseBackend(at, 0, 500 + i, 1, 1010)).toBe(i);
    expect(load<u32>(CLIENTS + AFFINITY_ENTRIES * AFFINITY_SIZE)).toBe(0);
  });

  it("hashes the client alone when the service says so", () => {
    const at = service(1, 6, 80);
    picks(at, PICK_HASH, 50);
    store<u8>(at, SERVICE_BY_CLIENT, SERVICE_FLAGS);
    expect(chooseBackend(at, 0, 77, 1, 0)).toBe(chooseBackend(at, 0, 77, 999, 0));
  });
});

const AT: usize = (1 << 16) + 4096, SOURCE: usize = 1 << 16, TARGET: usize = (1 << 16) + 16;

function addresses4(): void {
  memory.fill(SOURCE, 0, 32);
  store<u64>(SOURCE, mapped(0x0100000a), 8);
  store<u64>(TARGET, mapped(0x0200000a), 8);
}

function addresses6(): void {
  memory.fill(SOURCE, 0, 32);
  store32(SOURCE, 0x20010db8);
  store<u8>(SOURCE, 1, 15);
  store32(TARGET, 0x20010db8);
  store<u8>(TARGET, 2, 15);
}

/** 28 bytes of IPv4 with traffic class 0xba, or 48 of IPv6. */
function inner(family: u32): u32 {
  memory.fill(AT - 64, 0xcc, 128);
  const length: u32 = family == 4 ? 28 : 48;
  memory.fill(AT, 0x11, length);
  store32(AT, family == 4 ? 0x45ba001c : 0x6ba12345);
  return length;
}

const TUPLE: usize = (1 << 16) + 8192, REQUEST: usize = TUPLE + 64;

function backend4(mode: u32, port: u32): void {
  store<u64>(backendAt(0), mapped(0x0100000a), 8);
  store<u8>(backendAt(0), <u8>mode, BACKEND_MODE);
  store<u16>(backendAt(0), <u16>port, BACKEND_PORT);
}

/** TCP from 198.51.100.7:4000 to 192.0.2.1:80. */
function tuple4(protocol: u32): void {
  memory.fill(TUPLE, 0, 128);
  store<u32>(TUPLE, 0x076433c6);
  store<u32>(TUPLE, 0x010200c0, 4);
  store16(TUPLE + 32, 4000);
  store16(TUPLE + 34, 80);
  store<u32>(TUPLE, protocol << 16, TUPLE_KIND);
}

describe("a new flow", () => {
  beforeEach(() => {
    layOut(15, 1);
    const at = service(1, 6, 80);
    addService(at);
    picks(at, PICK_TURN, 1);
  });

  it("of a service gets a backend, and the request to be translated there", () => {
    backend4(1, 8080);
    tuple4(6);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(0);
    // Kind destination, IPv4, addresses and ports of a range; then 8080 twice, 10.0.0.1 twice.
    expect(load<u32>(REQUEST)).toBe(0x00030401);
    expect(load<u32>(REQUEST, 4)).toBe(0x1f901f90);
    expect(load<u32>(REQUEST, 8)).toBe(0x0100000a);
    expect(load<u32>(REQUEST, 24)).toBe(0x0100000a);
    backend4(1, 0);
    serveFlow(TUPLE, 0, REQUEST);
    expect(load<u32>(REQUEST)).toBe(0x00010401);
  });

  it("of other modes is not translated", () => {
    backend4(2, 0);
    tuple4(6);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(0);
    expect(load<u32>(REQUEST)).toBe(0);
  });

  it("to nobody's address, or with a protocol without ports, is not served; a service without backends says so", () => {
    tuple4(17);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(NOT_SERVED);
    tuple4(1);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(NOT_SERVED);
    tuple4(6);
    store<u32>(PICKS, 0, PICK_LENGTH);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(NOBODY);
  });

  it("of IPv6 the same", () => {
    const at = SERVICES + 2 * SERVICE_SIZE;
    store32(at, 0x20010db8);
    store<u8>(at, 0x80, 15);
    store<u16>(at, 443, SERVICE_PORT);
    store<u8>(at, 17, SERVICE_PROTOCOL);
    addService(at);
    picks(at, PICK_HASH, 1);
    memory.fill(TUPLE, 0, 128);
    v128.store(TUPLE, v128.load(at), 16);
    store16(TUPLE + 34, 443);
    store<u32>(TUPLE, (17 << 16) | KIND_IP6, TUPLE_KIND);
    store32(backendAt(0), 0xfd000000);
    store<u8>(backendAt(0), 1, 15);
    store<u8>(backendAt(0), 1, BACKEND_MODE);
    expect(serveFlow(TUPLE, 0, REQUEST)).toBe(0);
    expect(load<u32>(REQUEST)).toBe(0x00010601);
    expect(load32(REQUEST + 8)).toBe(0xfd000000);
    expect(load<u8>(REQUEST, 24 + 15)).toBe(1);
  });
});

describe("the hash of clients", () => {
  it("is SipHash-2-4: the lower half of the authors' vector for 24 bytes", () => {
    // Key 00 … 0f, message 00 … 17: 94 af 49 f6 c6 50 ad b8 (OpenSSL says so too).
    expect(sipHash3(0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x1716151413121110)).toBe(0xf649af94);
  });
});

describe("tunnels", () => {
  it("IPv4 in IPv4 is RFC 2003's header, byte by byte", () => {
    addresses4();
    expect(encapsulate(AT, inner(4), 0, 3, SOURCE, TARGET, 0, 0)).toBe(20);
    // 45 ba 00 30 | 00 00 40 00 | 40 04 checksum | 10.0.0.1 | 10.0.0.2
    expect(load32(AT - 20)).toBe(0x45ba0030);
    expect(load32(AT - 16)).toBe(0x00004000);
    expect(load32(AT - 12)).toBe(0x4004260e);
    expect(load32(AT - 8)).toBe(0x0a000001);
    expect(load32(AT - 4)).toBe(0x0a000002);
    expect(sum20(AT - 20)).toBe(0xffff);
    expect(load<u8>(AT - 21)).toBe(0xcc);
  });

  it("names what is inside: 4 or 41, in either family", () => {
    addresses4();
    expect(encapsulate(AT, inner(6), 0, 3, SOURCE, TARGET, 0, 0)).toBe(20);
    expect(load<u8>(AT - 20, 9)).toBe(41);
    expect(load<u8>(AT - 20, 1)).toBe(0xba);
    addresses6();
    expect(encapsulate(AT, inner(4), 0, 3, SOURCE, TARGET, 0xabcdef12, 0)).toBe(40);
    expect(load32(AT - 40)).toBe(0x6badef12);
    expect(load32(AT - 36)).toBe((28 << 16) | 0x0440);
    expect(load32(AT - 32)).toBe(0x20010db8);
    expect(load<u8>(AT - 1)).toBe(2);
    expect(encapsulate(AT, inner(6), 0, 3, SOURCE, TARGET, 0, 0)).toBe(40);
    expect(load32(AT - 36)).toBe((48 << 16) | 0x2940);
  });

  it("GUE over IPv4: port 6080, variant 0, no checksum; the flow in the source port", () => {
    addresses4();
    expect(encapsulate(AT, inner(4), 0, 4, SOURCE, TARGET, 0xffffffff, 0)).toBe(32);
    expect(load32(AT - 32)).toBe(0x45ba003c);
    expect(load<u8>(AT - 32, 9)).toBe(17);
    expect(load16(AT - 12)).toBe(0xffff);
    expect(load16(AT - 10)).toBe(GUE_PORT);
    expect(load32(AT - 8)).toBe(40 << 16);
    expect(load32(AT - 4)).toBe(0x00040000);
    encapsulate(AT, inner(6), 0, 4, SOURCE, TARGET, 0, 0);
    expect(load16(AT - 12)).toBe(0xc000);
    expect(load32(AT - 4)).toBe(0x00290000);
  });

  it("GUE over IPv6 has a checksum over everything", () => {
    addresses6();
    const length = inner(4), bytes = sum(AT, length);
    expect(encapsulate(AT, length, bytes, 4, SOURCE, TARGET, 7, 0)).toBe(52);
    expect(load16(AT - 8)).toBe(40);
    expect(addSums(pseudo6(AT - 52 + 8, 17, 40), sum(AT - 12, 40))).toBe(0xffff);
  });

  it("writes nothing when the whole would not fit", () => {
    addresses4();
    const length = inner(4);
    expect(encapsulate(AT, length, 0, 3, SOURCE, TARGET, 0, 47)).toBe(0);
    expect(load<u8>(AT - 1)).toBe(0xcc);
    expect(encapsulate(AT, length, 0, 3, SOURCE, TARGET, 0, 48)).toBe(20);
    expect(encapsulate(AT, 65530, 0, 3, SOURCE, TARGET, 0, 0)).toBe(0);
    expect(encapOverhead(4, TARGET)).toBe(32);
    store16(AT, 0);
  });
});
