/**
 * The Wasm module: which of the two builds, and what it exports.
 *
 * The shared build is for threads, and needs SharedArrayBuffer, which a browser gives only to cross-origin isolated pages;
 * the plain build runs anywhere with SIMD. Each is embedded in a file of its own that is loaded when it is wanted; a page that
 * prefers to stream one passes its own `WebAssembly.Module`, and loads neither.
 */
import { ABI_VERSION } from "../../assembly/abi.ts";
import { LoomError } from "../base/errors.ts";

export type Build = "shared" | "plain";

/** Exports of the data plane; prose stands at each function in assembly/index.ts. */
export interface DataPlane {
  abiVersion(): number;
  init(limbo: number, fibBytes: number, ribBytes: number): void;
  poll(worker: number, now: number, budget: number): number;
  pollHosted(worker: number, now: number, budget: number): number;
  bufferTake(worker: number): number;
  bareTake(worker: number): number;
  packetRelease(worker: number, id: number): void;
  packetsRelease(worker: number, ids: number, n: number): void;
  packetClone(worker: number, id: number): number;
  packetGather(worker: number, id: number): number;
  packetSegment(worker: number, id: number, out: number, most: number): number;
  packetSend(worker: number, port: number, id: number): void;
  packetSendAt(worker: number, port: number, id: number, seconds: number): void;
  queueSet(worker: number, port: number, tree: number): void;
  queuesNext(worker: number): number;
  packetQueue(id: number): number;
  packetsCoalesce(worker: number, port: number, ids: number, n: number): number;
  transportRead(worker: number, id: number, out: number): number;
  packetCopy(id: number, offset: number, to: number, n: number): number;
  tcpBuild(worker: number, record: number): number;
  udpBuild(worker: number, record: number): number;
  packetRoute(worker: number, table: number, hop: number, id: number): number;
  packetFilter(worker: number, port: number, segment: number, id: number): number;
  packetResume(worker: number, id: number): void;
  packetDiscard(worker: number, id: number): void;
  packetsFlush(worker: number): void;
  natSetup(worker: number, position: number, request: number): number;
  flowLoad(worker: number, position: number, field: number, direction: number, out: number): number;
  flowStore(worker: number, position: number, field: number, from: number, bytes: number): number;
  flowsTurn(worker: number, ticks: number, budget: number): number;
  flowEnd(worker: number, flow: number, ticks: number): number;
  flowTuple(flow: number, direction: number, out: number): void;
  flowFind(tuple: number): number;
  flowExpect(from: number, ticks: number): number;
  flowMap(worker: number, inner: number, outer: number, mark: number, ticks: number, lifetime: number): number;
  flowHelper(flow: number): number;
  flowUpdate(flow: number, ticks: number, mark: number, mask: number, timeout: number): void;
  flowLiberal(flow: number): void;
  flowProlong(flow: number, ticks: number, timeout: number): void;
  reserveCount(bare: number): number;
  ringPop(ring: number, out: number, n: number): number;
  ringPush(ring: number, ids: number, n: number): number;
  ringUsed(ring: number): number;
  puntPush(id: number, reason: number, argument: number): number;
  puntPop(out: number, n: number): number;
  tableCreate(index: number): number;
  tableDefer(index: number, deferred: number): number;
  tablesCollect(): void;
  hopUses(index: number, hop: number): number;
  epochEnd(): number;
  epochPassed(epoch: number): number;
  route4Set(index: number, prefix: number, length: number, hop: number): number;
  route6Set(index: number, high: bigint, low: bigint, length: number, hop: number): number;
  routes4Set(index: number, records: number, n: number): number;
  routes6Set(index: number, records: number, n: number): number;
  route4Get(index: number, prefix: number, length: number): number;
  route6Get(index: number, high: bigint, low: bigint, length: number): number;
  route4Lookup(index: number, address: number): number;
  route6Lookup(index: number, query: number): number;
  route4Lookups(index: number, addresses: number, out: number, n: number): void;
  route6Lookups(index: number, worker: number, queries: number, out: number, n: number): void;
  stationSet(bridge: number, mac: bigint, vlan: number, member: number, now: number): number;
  stationFind(bridge: number, mac: bigint, vlan: number, now: number): number;
  stationsForget(bridge: number, members: bigint, pinned: number): void;
  serviceAdd(index: number): number;
  serviceRemove(index: number): number;
  serviceFind(address: number, protocol: number, port: number): number;
  serviceChoose(index: number, client: number, port: number, now: number): number;
  backendOpened(worker: number, backend: number): void;
  backendClosed(backend: number): void;
  backendCount(worker: number, backend: number, outward: number, packets: number, bytes: number): void;
  packetTunnel(worker: number, id: number, backend: number): number;
  filterAllocate(size: number): number;
  filterRetire(block: number, size: number): void;
  findSet(set: number, key: number, now: bigint): number;
  insertSet(set: number, key: number, now: bigint): number;
  removeSet(set: number, key: number, now: bigint): number;
  sizeSet(set: number, elements: number): number;
  freeSet(set: number): void;
  expireSet(set: number, now: bigint): void;
  freeList(state: number): void;
  jhash(at: number, length: number, seed: number): number;
  checksum(at: number, length: number): number;
  sum(at: number, length: number): number;
  update16(field: number, before: number, after: number): number;
  update32(field: number, before: number, after: number): number;
  pseudo4(source: number, protocol: number, length: number): number;
  pseudo6(source: number, protocol: number, length: number): number;
  toeplitz(at: number, length: number): number;
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** True where memory can be shared between threads: the constructor exists and the page may use it. */
export function canShare(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  return isolated !== false;
}

const compiled: { [build in Build]?: Promise<WebAssembly.Module> } = {};

/** The bytes of an embedded build. */
async function load(build: Build): Promise<Uint8Array<ArrayBuffer>> {
  const { WASM } = await (build === "shared" ? import("./wasm-shared.ts") : import("./wasm-plain.ts"));
  return decode(WASM);
}

/** Compiles an embedded build, once. */
export function compile(build: Build): Promise<WebAssembly.Module> {
  compiled[build] ??= load(build)
    .then((bytes) => WebAssembly.compile(bytes).catch((error) => Promise.reject(refusal(error))))
    .catch((error) => {
      compiled[build] = undefined;
      throw error;
    });
  return compiled[build];
}

/** Why a runtime would not compile: browsers tell of a policy by words alone. */
function refusal({ message }: Error): LoomError {
  if (/unsafe-eval|content security policy|\bCSP\b/i.test(message))
    return new LoomError("ENOTSUP", "the page's Content-Security-Policy forbids WebAssembly: its script-src must have 'wasm-unsafe-eval'");
  return new LoomError("ENOTSUP", `this runtime cannot compile the engine (WebAssembly with SIMD is needed): ${message}`);
}

export interface Instance {
  readonly plane: DataPlane;
  readonly table: WebAssembly.Table;
}

/** Instantiates over a memory and refuses another ABI. */
export async function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Instance> {
  const table = new WebAssembly.Table({ initial: 16, element: "anyfunc" });
  const instance = await WebAssembly.instantiate(module, { env: { memory, table } });
  const plane = instance.exports as unknown as DataPlane;
  const version = plane.abiVersion?.();
  if (version !== ABI_VERSION) {
    throw new LoomError("ENOTSUP", `the Wasm module has ABI version ${version}; expected ${ABI_VERSION}`);
  }
  return { plane, table };
}

export function createMemory(bytes: number, build: Build): WebAssembly.Memory {
  const pages = Math.ceil(bytes / 65_536);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: build === "shared" });
  } catch {
    throw new LoomError("ENOMEM", `the runtime refused ${(bytes / 2 ** 20).toFixed(0)} MiB of WebAssembly memory; choose smaller sizes`);
  }
}
