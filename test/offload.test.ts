/** Segmentation and coalescing: against the codecs, and against each other (coalesce then segment = identity). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as abi from "../assembly/abi.ts";
import type { Engine, Random } from "../src/index.ts";
import {
  addressBytes4,
  concat,
  ETHERTYPE,
  PROTOCOL,
  parseEthernet,
  parseIpv4,
  parseIpv6,
  parseTcp,
  parseUdp,
  serializeEthernet,
  serializeIpv4,
  serializeIpv6,
  serializeTcp,
  serializeUdp,
  TCP_FLAG,
} from "../src/wire/index.ts";
import { BUILDS, engineOf, mac, random } from "./support.ts";

const ROUTER = Uint8Array.of(2, 0, 0, 0, 0, 0);
const V6 = { source: new Uint8Array(16).fill(0x20), destination: new Uint8Array(16).fill(0x21) };
const V4 = { source: 0x0a000001, destination: 0x0a000002 };
const V4_BYTES = { source: addressBytes4(V4.source), destination: addressBytes4(V4.destination) };

type Family = 4 | 6;
type Protocol = "tcp" | "udp";

interface Shape {
  family: Family;
  protocol: Protocol;
  flags?: number;
  options?: Uint8Array;
  id?: number;
  sequence?: number;
  urgent?: number;
  tos?: number;
  ttl?: number;
  ports?: number;
}

function frame(shape: Shape, payload: Uint8Array): Uint8Array {
  const { family, protocol } = shape;
  const addresses = family === 4 ? V4_BYTES : V6;
  const ports = { sourcePort: 1000 + (shape.ports ?? 0), destinationPort: 2000 };
  const tcp = { ...ports, sequence: shape.sequence ?? 0xfffff000, acknowledgement: 77, flags: shape.flags ?? TCP_FLAG.ack };
  const upper =
    protocol === "udp"
      ? serializeUdp({ ...ports, payload }, addresses)
      : serializeTcp(
          { ...tcp, window: 5000, urgentPointer: shape.urgent ?? 0, options: shape.options ?? new Uint8Array(0), payload },
          addresses,
        );
  const number = PROTOCOL[protocol];
  const packet =
    family === 4
      ? serializeIpv4({
          ...V4,
          protocol: number,
          payload: upper,
          id: shape.id ?? 65_530,
          tos: shape.tos,
          ttl: shape.ttl,
          dontFragment: true,
        })
      : serializeIpv6({ ...V6, protocol: number, payload: upper, trafficClass: shape.tos, hopLimit: shape.ttl });
  const type = family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  return serializeEthernet({ destination: ROUTER, source: mac(9), type, payload: packet });
}

/** A large packet as a chain: headers in a buffer, payload in pieces of application memory. */
function chain(engine: Engine, shape: Shape, payload: Uint8Array, gso: number, cuts: number[]): number {
  const { memory, plane } = engine;
  // Lengths are 16 bits in the header of a 64 KiB packet; the segmenter makes its own.
  const headers = frame(shape, payload.slice(0, 0));
  const head = plane.bufferTake(0) >>> 0;
  const d = memory.descriptor(head);
  memory.u8.set(headers, memory.getU32(d + abi.DESC_DATA));
  const l4 = shape.family === 4 ? 34 : 54;
  memory.setU32(d + abi.DESC_LENGTH, headers.length);
  memory.setU32(d + abi.DESC_PACKET_LENGTH, headers.length + payload.length);
  memory.setU16(d + abi.DESC_L3, 14);
  memory.setU16(d + abi.DESC_L4, l4);
  memory.setU32(d + abi.DESC_FLAGS, shape.family === 4 ? abi.FLAG_IP4 : abi.FLAG_IP6);
  memory.setU16(d + abi.DESC_GSO_SIZE, gso);
  const kinds = { tcp: { 4: abi.GSO_TCP4, 6: abi.GSO_TCP6 }, udp: { 4: abi.GSO_UDP4, 6: abi.GSO_UDP6 } };
  memory.setU16(d + abi.DESC_GSO_KIND, kinds[shape.protocol][shape.family]);
  const app = memory.base(abi.REGION_APP) + 64;
  memory.u8.set(payload, app);
  let last = d;
  const edges = [0, ...cuts.filter((c) => c > 0 && c < payload.length).sort((a, b) => a - b), payload.length];
  for (let i = 0; i + 1 < edges.length; i++) {
    const piece = plane.bareTake(0) >>> 0;
    const p = memory.descriptor(piece);
    memory.setU32(p + abi.DESC_DATA, app + edges[i]);
    memory.setU32(p + abi.DESC_LENGTH, edges[i + 1] - edges[i]);
    memory.setU32(p + abi.DESC_COOKIE, app - 64);
    Atomics.add(memory.i32, (app - 64) / 4, 1);
    memory.setU32(last + abi.DESC_NEXT, piece);
    last = p;
  }
  return head;
}

function bytesOf(engine: Engine, id: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let s = id; s !== abi.NONE; s = engine.memory.getU32(engine.memory.descriptor(s) + abi.DESC_NEXT)) {
    const d = engine.memory.descriptor(s);
    const at = engine.memory.getU32(d + abi.DESC_DATA);
    parts.push(engine.memory.u8.slice(at, at + engine.memory.getU32(d + abi.DESC_LENGTH)));
  }
  return concat(...parts);
}

function segment(engine: Engine, id: number): Uint8Array[] {
  const out = engine.memory.base(abi.REGION_HOST);
  const n = engine.plane.packetSegment(0, id, out, 2048);
  assert.ok(n > 0, `segmentation returned ${n}`);
  const ids = Array.from({ length: n }, (_, i) => engine.memory.getU32(out + 4 * i));
  const frames = ids.map((piece) => bytesOf(engine, piece));
  for (const piece of ids) engine.plane.packetRelease(0, piece);
  return frames;
}

const sizes = { buffers: 2048, bareDescriptors: 4096, appBytes: 200_000, routes4: 0, routes6: 0, tables: 0 };

function checkSegments(shape: Shape, frames: Uint8Array[], payload: Uint8Array, gso: number): void {
  const is4 = shape.family === 4;
  let done = 0;
  frames.forEach((bytes, i) => {
    const ip = parseEthernet(bytes).payload;
    const packet = is4 ? parseIpv4(ip) : parseIpv6(ip);
    if (is4) assert.equal((packet as ReturnType<typeof parseIpv4>).id, ((shape.id ?? 65_530) + i) & 0xffff);
    const piece = payload.subarray(done, done + gso);
    const isLast = i === frames.length - 1;
    const parsed = shape.protocol === "tcp" ? parseTcp(packet.payload) : parseUdp(packet.payload);
    assert.deepEqual(parsed.payload, piece);
    // The codecs' own serialization of the same content is the expected frame, checksums included.
    let flags = shape.flags ?? TCP_FLAG.ack;
    if (!isLast) flags &= ~(TCP_FLAG.fin | TCP_FLAG.psh);
    if (i > 0) flags &= ~TCP_FLAG.cwr;
    // The same octet from each segment up to the one that holds it.
    let { urgent = 0 } = shape;
    if (i > 0 && urgent > 0 && flags & TCP_FLAG.urg) {
      urgent = Math.max(urgent - done, 0);
      if (urgent === 0) flags &= ~TCP_FLAG.urg;
    }
    const expected = frame(
      { ...shape, flags, urgent, id: ((shape.id ?? 65_530) + i) & 0xffff, sequence: ((shape.sequence ?? 0xfffff000) + done) >>> 0 },
      piece.slice(),
    );
    assert.equal(Buffer.from(bytes).toString("hex"), Buffer.from(expected).toString("hex"), `segment ${i}`);
    done += gso;
  });
  assert.equal(frames.length, Math.max(1, Math.ceil(payload.length / gso)));
}

for (const build of BUILDS) {
  describe(`segmentation, ${build} build`, () => {
    for (const family of [4, 6] as const) {
      for (const protocol of ["tcp", "udp"] as const) {
        it(`cuts ${protocol} over IPv${family} from scattered pieces into what the codecs would write`, async (t) => {
          const r = random(t);
          const engine = await engineOf(build, sizes);
          for (let round = 0; round < 60; round++) {
            const payload = r.fill(new Uint8Array(round === 0 ? 65_000 : 1 + r.below(r.below(3) ? 5000 : 65_000)));
            const gso = round === 0 ? 1448 : 100 + r.below(1400);
            const options = protocol === "tcp" ? new Uint8Array(4 * r.below(5)).fill(1) : undefined;
            const shape = { family, protocol, options, flags: r.below(256), urgent: r.below(65_536), sequence: r.u32(), tos: r.below(256) };
            const cuts = Array.from({ length: r.below(6) }, () => r.below(payload.length));
            checkSegments(shape, segment(engine, chain(engine, shape, payload, gso, cuts)), payload, gso);
            assert.equal(engine.pool().inFlight, 0);
            assert.equal(engine.pool("bare").inFlight, 0);
            assert.equal(
              engine.memory.getU32(engine.memory.base(abi.REGION_APP)),
              0,
              "every reference to application memory is given back",
            );
          }
          const { stats } = engine.counters();
          assert.ok(stats.copied_bytes <= stats.segments * 120, "only headers are copied");
        });
      }
    }

    it("refuses requests whose bytes and descriptor disagree, and takes nothing then", async () => {
      const engine = await engineOf(build, sizes);
      const out = engine.memory.base(abi.REGION_HOST);
      const shape: Shape = { family: 4, protocol: "tcp" };
      const spoil: ((d: number) => void)[] = [
        (d) => engine.memory.setU16(d + abi.DESC_GSO_SIZE, 0),
        (d) => engine.memory.setU16(d + abi.DESC_GSO_KIND, 99),
        (d) => engine.memory.setU16(d + abi.DESC_GSO_KIND, abi.GSO_TCP6),
        (d) => engine.memory.setU16(d + abi.DESC_L4, 60_000),
        (d) => engine.memory.setU16(d + abi.DESC_L4, 20),
        (d) => engine.memory.setU32(d + abi.DESC_PACKET_LENGTH, 10),
        (d) => engine.memory.setU32(d + abi.DESC_PACKET_LENGTH, 60_000),
      ];
      for (const [i, change] of spoil.entries()) {
        const id = chain(engine, shape, new Uint8Array(3000), 1000, []);
        change(engine.memory.descriptor(id));
        assert.equal(engine.plane.packetSegment(0, id, out, 2048), -1, `case ${i}`);
        engine.plane.packetRelease(0, id);
        assert.equal(engine.pool().inFlight, 0, `case ${i}`);
        assert.equal(engine.pool("bare").inFlight, 0, `case ${i}`);
      }
    });

    it("says so when buffers run out, and keeps the packet whole", async () => {
      const engine = await engineOf(build, { ...sizes, buffers: 64, bareDescriptors: 64 });
      const out = engine.memory.base(abi.REGION_HOST);
      const id = chain(engine, { family: 4, protocol: "tcp" }, new Uint8Array(60_000), 100, []);
      assert.equal(engine.plane.packetSegment(0, id, out, 2048), -2);
      assert.equal(engine.pool().inFlight, 1);
      engine.plane.packetRelease(0, id);
      assert.equal(engine.pool().inFlight + engine.pool("bare").inFlight, 0);
    });
  });

  describe(`coalescing, ${build} build`, () => {
    it("coalesce then segment is the identity for any mixture of flows", async (t) => {
      const r = random(t);
      const engine = await engineOf(build, sizes);
      engine.port(0).configure({ mac: ROUTER });
      let merged = 0;
      for (let round = 0; round < 150; round++) {
        const frames = mixture(r);
        const heads = coalesce(engine, frames);
        merged += frames.length - heads.length;
        const out = heads.flatMap((id) => {
          const d = engine.memory.descriptor(id);
          if (engine.memory.getU16(d + abi.DESC_GSO_KIND) !== abi.GSO_NONE) return segment(engine, id);
          const bytes = bytesOf(engine, id);
          engine.plane.packetRelease(0, id);
          return [bytes];
        });
        const hex = (list: Uint8Array[]) => list.map((bytes) => Buffer.from(bytes).toString("hex"));
        // Bit for bit the same frames; and within a flow in the same order.
        assert.deepEqual(hex(out).sort(), hex(frames).sort());
        assert.deepEqual(byFlow(out), byFlow(frames));
        assert.equal(engine.pool().inFlight, 0);
      }
      assert.ok(merged > 500, `only ${merged} frames were merged`);
    });

    it("merges a train of full segments into one packet of 64 KiB at most", async () => {
      const engine = await engineOf(build, sizes);
      engine.port(0).configure({ mac: ROUTER });
      for (const family of [4, 6] as const) {
        const heads = coalesce(engine, train({ family, protocol: "tcp" }, 60, 1400));
        assert.equal(heads.length, 2);
        const lengths = heads.map((id) => engine.memory.getU32(engine.memory.descriptor(id) + abi.DESC_PACKET_LENGTH));
        assert.ok(lengths[0] > 63_000 && lengths[0] <= 65_535);
        for (const id of heads) engine.plane.packetRelease(0, id);
      }
    });

    const apart: [string, Partial<Shape>][] = [
      ["another TTL", { ttl: 9 }],
      ["another ECN mark", { tos: 3 }],
      ["other options", { options: Uint8Array.of(1, 1, 1, 1) }],
      ["a FIN", { flags: TCP_FLAG.ack | TCP_FLAG.fin }],
      ["an ECE", { flags: TCP_FLAG.ack | TCP_FLAG.ece }],
      ["another port", { ports: 1 }],
      ["a gap in sequence", { sequence: 12_345 }],
      ["a gap in IPv4 ids", { id: 7 }],
    ];
    for (const [what, change] of apart) {
      it(`keeps a segment with ${what} apart`, async () => {
        const engine = await engineOf(build, sizes);
        engine.port(0).configure({ mac: ROUTER });
        const first: Shape = { family: 4, protocol: "tcp", id: 5, sequence: 1000 };
        const next = { ...first, id: 6, sequence: 1500, ...change };
        const heads = coalesce(engine, [frame(first, new Uint8Array(500)), frame(next, new Uint8Array(500))]);
        assert.equal(heads.length, 2);
        for (const id of heads) engine.plane.packetRelease(0, id);
      });
    }
  });
}

function coalesce(engine: Engine, frames: Uint8Array[]): number[] {
  const { memory, plane } = engine;
  const at = memory.base(abi.REGION_HOST);
  frames.forEach((bytes, i) => {
    const id = plane.bufferTake(0) >>> 0;
    const d = memory.descriptor(id);
    memory.u8.set(bytes, memory.getU32(d + abi.DESC_DATA));
    memory.setU32(d + abi.DESC_LENGTH, bytes.length);
    memory.setU32(d + abi.DESC_PACKET_LENGTH, bytes.length);
    memory.setU32(at + 4 * i, id);
  });
  const n = plane.packetsCoalesce(0, 0, at, frames.length);
  return Array.from({ length: n }, (_, i) => memory.getU32(at + 4 * i));
}

function train(shape: Shape, n: number, size: number): Uint8Array[] {
  return Array.from({ length: n }, (_, i) =>
    frame({ ...shape, id: (100 + i) & 0xffff, sequence: (1000 + i * size) >>> 0 }, new Uint8Array(size).fill(i)),
  );
}

/** Several flows interleaved, with everything that must not be merged among them. */
function mixture(r: Random): Uint8Array[] {
  const flows = Array.from({ length: 1 + r.below(5) }, (_, ports) => ({
    shape: { family: r.below(2) ? 4 : 6, protocol: r.below(3) ? "tcp" : "udp", ports, tos: r.below(4), ttl: 60 } as Shape,
    size: 1 + r.below(1400),
    id: r.u32() & 0xffff,
    sequence: r.u32(),
  }));
  return Array.from({ length: 1 + r.below(120) }, () => {
    const flow = flows[r.below(flows.length)];
    const odd = r.below(10) === 0;
    const size = odd && r.below(2) ? 1 + r.below(flow.size) : flow.size;
    const flags =
      TCP_FLAG.ack | (odd && r.below(2) ? [TCP_FLAG.psh, TCP_FLAG.fin, TCP_FLAG.urg, TCP_FLAG.ece, TCP_FLAG.cwr][r.below(5)] : 0);
    const options = odd && r.below(3) === 0 ? Uint8Array.of(1, 1, 1, 0) : undefined;
    const bytes = frame(
      { ...flow.shape, id: flow.id, sequence: flow.sequence, flags, options, ttl: odd && r.below(4) === 0 ? 9 : 60 },
      r.fill(new Uint8Array(size)),
    );
    flow.id = (flow.id + (odd && r.below(5) === 0 ? 2 : 1)) & 0xffff;
    flow.sequence = (flow.sequence + size) >>> 0;
    // A damaged checksum must come out damaged.
    if (odd && r.below(4) === 0) bytes[bytes.length - 1] ^= 1;
    return bytes;
  });
}

function byFlow(frames: Uint8Array[]): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const bytes of frames) {
    const l4 = bytes[12] === 8 ? 34 : 54;
    const key = `${bytes[12]} ${bytes[bytes[12] === 8 ? 23 : 20]} ${bytes[l4]} ${bytes[l4 + 1]}`;
    out[key] = [...(out[key] ?? []), Buffer.from(bytes).toString("hex")];
  }
  return out;
}
