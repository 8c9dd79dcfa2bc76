/**
 * Packets made inside the engine, so that a measurement measures the engine: frames are written out in full
 * from templates, destinations may come from a stream of addresses (another one for every packet).
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_GSO_SIZE, DESC_MARK, DESC_NEXT, DESC_REFS, DESC_SHIFT, GEN_FAMILY, GEN_LEFT, GEN_NEXT_STREAM,
  GEN_NEXT_TEMPLATE, GEN_STREAM, GEN_STREAM_LENGTH, GEN_TEMPLATES, GEN_TEMPLATE_COUNT, HEADER_STRIDE, NONE,
  REGION_DESCRIPTORS, STAT_GENERATED, TEMPLATE_FRAME, TEMPLATE_LENGTH, TEMPLATE_SIZE, TEMPLATE_SUM, VEC_IDS,
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
  const templates = <usize>load<u32>(generator, GEN_TEMPLATES), templateCount = load<u32>(generator, GEN_TEMPLATE_COUNT);
  const stream = <usize>load<u32>(generator, GEN_STREAM), streamLength = load<u32>(generator, GEN_STREAM_LENGTH);
  const family = load<u32>(generator, GEN_FAMILY);
  const descriptors = region(REGION_DESCRIPTORS), frames = frameAt(0), stride = <usize>header(HEADER_STRIDE);
  let t = load<u32>(generator, GEN_NEXT_TEMPLATE), s = load<u32>(generator, GEN_NEXT_STREAM);
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(worker + (<usize>i << 2), VEC_IDS);
    const template = templates + <usize>t * TEMPLATE_SIZE;
    const data = frames + <usize>id * stride;
    const length = load<u32>(template, TEMPLATE_LENGTH);
    v128.store(data, v128.load(template, TEMPLATE_FRAME));
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 16), 16);
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 32), 32);
    v128.store(data, v128.load(template, TEMPLATE_FRAME + 48), 48);
    if (length > 64) v128.store(data, v128.load(template, TEMPLATE_FRAME + 64), 64);
    if (family != 0) {
      if (family == 4) write4(data, load<u32>(stream + (<usize>s << 2)), load<u32>(template, TEMPLATE_SUM));
      else write6(data, stream + (<usize>s << 4), load<u32>(template, TEMPLATE_SUM), length);
      s++;
      if (s >= streamLength) s = 0;
    }
    t++;
    if (t >= templateCount) t = 0;
    fill(descriptors + (<usize>id << DESC_SHIFT), id, data, length);
  }
  store<u32>(generator, t, GEN_NEXT_TEMPLATE);
  store<u32>(generator, s, GEN_NEXT_STREAM);
  count(worker, STAT_GENERATED, n);
  return n;
}

/** An IPv4 destination (network order), and the header checksum that goes with it. */
@inline
function write4(data: usize, address: u32, sum: u32): void {
  store<u32>(data, address, 30);
  store<u16>(data, <u16>~fold32(sum + (address & 0xffff) + (address >>> 16)), 24);
}

/** An IPv6 destination, and the UDP checksum that goes with it (the template's sum lacks the destination). */
@inline
function write6(data: usize, address: usize, sum: u32, length: u32): void {
  v128.store(data, v128.load(address), 38);
  const a = load<u64>(address), b = load<u64>(address, 8);
  const total = fold64((a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + <u64>sum);
  store<u16>(data, total == 0xffff ? 0xffff : <u16>~total, 60);
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
