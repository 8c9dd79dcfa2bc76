/**
 * Packets made inside the engine, so that a measurement measures the engine: frames are written out in full, from a template
 * and what a flow has of its own; destinations may come from a stream of addresses (another one for every packet).
 *
 * Flows are small, so that the traffic of many leaves the caches to what is measured: 100,000 through a balancer, whole frames
 * of 96 bytes each → 16 bytes: 7.7 → 8.1 million packets a second in turn in one process.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_MARK, DESC_NEXT, DESC_REFS, DESC_SHIFT, GENFLOW4_ID, GENFLOW4_PORTS, GENFLOW4_SIZE, GENFLOW4_SUM,
  GENFLOW6_PORTS, GENFLOW6_SIZE, GENFLOW6_SUM, GEN_FAMILY, GEN_FLOWS, GEN_FLOW_COUNT, GEN_LEFT, GEN_NEXT_FLOW, GEN_NEXT_STREAM,
  GEN_NEXT_TEMPLATE, GEN_STREAM, GEN_STREAM_LENGTH, GEN_TEMPLATES, GEN_TEMPLATE_COUNT, HEADER_STRIDE, NONE,
  REGION_DESCRIPTORS, STAT_GENERATED, TEMPLATE_FRAME, TEMPLATE_LENGTH, TEMPLATE_SIZE, VEC_IDS,
} from "../abi";
import { count, frameAt, header, region } from "../core/layout";
import { takeBuffers } from "../core/pool";
import { fold32, fold64 } from "../wire/checksum";

/** Fills VEC_IDS with up to `wanted` fresh packets of a generator; returns how many. */
export function generateBurst(worker: usize, generator: usize, wanted: u32): u32 {
  const left = load<u64>(generator, GEN_LEFT);
  if (left < <u64>wanted) wanted = <u32>left;
  const n = takeBuffers(worker, worker + VEC_IDS, wanted);
  if (n == 0) return 0;
  if (left != u64.MAX_VALUE) store<u64>(generator, left - n, GEN_LEFT);
  if (load<u32>(generator, GEN_FAMILY) == 4) generate4(worker, generator, n);
  else generate6(worker, generator, n);
  count(worker, STAT_GENERATED, n);
  return n;
}

function generate4(worker: usize, generator: usize, n: u32): void {
  generate(worker, generator, n, true);
}

function generate6(worker: usize, generator: usize, n: u32): void {
  generate(worker, generator, n, false);
}

@inline
function generate(worker: usize, generator: usize, n: u32, is4: bool): void {
  const templates = <usize>load<u32>(generator, GEN_TEMPLATES), templateCount = load<u32>(generator, GEN_TEMPLATE_COUNT);
  const flows = <usize>load<u32>(generator, GEN_FLOWS), flowCount = load<u32>(generator, GEN_FLOW_COUNT);
  const stream = <usize>load<u32>(generator, GEN_STREAM), streamLength = load<u32>(generator, GEN_STREAM_LENGTH);
  const descriptors = region(REGION_DESCRIPTORS), frames = frameAt(0), stride = <usize>header(HEADER_STRIDE);
  let t = load<u32>(generator, GEN_NEXT_TEMPLATE), f = load<u32>(generator, GEN_NEXT_FLOW), s = load<u32>(generator, GEN_NEXT_STREAM);
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS), data = frames + <usize>id * stride, template = templates + <usize>t * TEMPLATE_SIZE;
    const length = load<u32>(template, TEMPLATE_LENGTH);
    v128.store(data, v128.load(template, TEMPLATE_FRAME));
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 16), 16);
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 32), 32);
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 48), 48);
    if (length > 64) v128.store(data, v128.load(template, TEMPLATE_FRAME + 64), 64);
    if (is4) write4(data, flows + <usize>f * GENFLOW4_SIZE, stream == 0 ? 0 : stream + (<usize>s << 2));
    else write6(data, flows + <usize>f * GENFLOW6_SIZE, stream == 0 ? 0 : stream + (<usize>s << 4), length);
    s = s + 1 == streamLength ? 0 : s + 1;
    t = t + 1 == templateCount ? 0 : t + 1;
    f++;
    // A flow always has the same template.
    if (f == flowCount) { f = 0; t = 0; }
    fill(descriptors + (<usize>id << DESC_SHIFT), id, data, length);
  }
  store<u32>(generator, t, GEN_NEXT_TEMPLATE);
  store<u32>(generator, f, GEN_NEXT_FLOW);
  store<u32>(generator, s, GEN_NEXT_STREAM);
}

/** What an IPv4 frame has of its flow; `to`: its destination in a stream, or 0. */
@inline
function write4(data: usize, flow: usize, to: usize): void {
  const sum = <u32>load<u16>(flow, GENFLOW4_SUM), address = to == 0 ? 0 : load<u32>(to);
  store<u16>(data, load<u16>(flow, GENFLOW4_ID), 18);
  store<u16>(data, to == 0 ? <u16>sum : <u16>~fold32(sum + (address & 0xffff) + (address >>> 16)), 24);
  store<u64>(data, load<u64>(flow), 26);
  store<u32>(data, load<u32>(flow, GENFLOW4_PORTS), 34);
  if (to != 0) store<u32>(data, address, 30);
}

/** The same for IPv6, with the UDP checksum. */
@inline
function write6(data: usize, flow: usize, to: usize, length: u32): void {
  v128.store(data, v128.load(flow), 22);
  store<u32>(data, load<u32>(flow, GENFLOW6_PORTS), 54);
  const sum = <u32>load<u16>(flow, GENFLOW6_SUM);
  if (to == 0) {
    v128.store(data, v128.load(flow, 16), 38);
    store<u16>(data, <u16>sum, 60);
  } else {
    v128.store(data, v128.load(to), 38);
    const a = load<u64>(to), b = load<u64>(to, 8);
    const total = fold64((a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + <u64>sum);
    store<u16>(data, total == 0xffff ? 0xffff : <u16>~total, 60);
  }
  // The checksum covers the payload: zeros, as far as the frame goes.
  if (length > 80) memory.fill(data + 80, 0, length - 80);
}

/** A fresh one-segment packet; fields that lie together in one store. */
@inline
function fill(d: usize, id: u32, data: usize, length: u32): void {
  store<u64>(d, <u64>data | (<u64>length << 32), DESC_DATA);
  store<u64>(d, <u64>NONE | (<u64>id << 32), DESC_NEXT);
  store<u64>(d, <u64>1 | (<u64>length << 32), DESC_REFS);
  store<u32>(d, 0, DESC_FLAGS);
  store<u64>(d, 0, DESC_GSO_SIZE); // and the cookie
  store<u32>(d, 0, DESC_MARK);
}
