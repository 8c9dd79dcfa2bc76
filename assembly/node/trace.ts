/**
 * Packets that are followed through the rules (`meta nftrace`): every rule that has something to say of one is told to the host, with a
 * copy of its headers. The copy is its own, so that the packet goes on as it would have.
 */
import {
  DESC_DATA, DESC_FLAGS, DESC_INGRESS, DESC_LENGTH, DESC_LOG_OUT, DESC_MARK, DESC_PACKET_LENGTH, TRACE_NUMBER, FLAG_TRACED, NONE, PUNT_TRACE,
  TRACE_BYTES, TRACE_CHAIN, TRACE_PACKET, TRACE_VERDICT, VEC_IDS, VEC_OIF, WORKER_TRACES,
} from "../abi";
import { descriptorAt } from "../core/layout";
import { punt } from "../core/packet";
import { takeBuffer } from "../core/pool";

/** Follows a packet from now on, or no longer. */
export function followPacket(worker: usize, position: u32, follows: u32): void {
  const d = descriptorAt(load<u32>(worker + (<usize>position << 2), VEC_IDS)), flags = load<u32>(d, DESC_FLAGS);
  if (follows == 0) { store<u32>(d, flags & ~FLAG_TRACED, DESC_FLAGS); return; }
  if ((flags & FLAG_TRACED) == 0) number(worker, d);
  store<u32>(d, flags | FLAG_TRACED, DESC_FLAGS);
}

function number(worker: usize, d: usize): void {
  const next = load<u32>(worker, WORKER_TRACES) + 1;
  store<u32>(worker, next, WORKER_TRACES);
  store<u16>(d, <u16>next, TRACE_NUMBER);
}

/** A followed packet that has waited: what said by which port it leaves stood in its number's place. */
export function followAgain(worker: usize, d: usize): void {
  if ((load<u32>(d, DESC_FLAGS) & FLAG_TRACED) != 0) number(worker, d);
}

/** `point`: number of the rule or the policy (`Statement` of the host's registry); `chain`: that the verdict leads to. */
export function tracePacket(worker: usize, position: u32, point: u32, verdict: u32, chain: u32): void {
  const d = descriptorAt(load<u32>(worker + (<usize>position << 2), VEC_IDS));
  if ((load<u32>(d, DESC_FLAGS) & FLAG_TRACED) == 0) return;
  const copy = takeBuffer(worker);
  if (copy == NONE) return;
  const c = descriptorAt(copy), bytes = min<u32>(load<u32>(d, DESC_LENGTH), TRACE_BYTES);
  memory.copy(<usize>load<u32>(c, DESC_DATA), <usize>load<u32>(d, DESC_DATA), bytes);
  memory.copy(c + DESC_INGRESS, d + DESC_INGRESS, 24);
  store<u32>(c, bytes, DESC_LENGTH);
  store<u32>(c, bytes, DESC_PACKET_LENGTH);
  store<u32>(c, load<u32>(d, DESC_MARK), DESC_MARK);
  store<u16>(c, load<u16>(d, TRACE_NUMBER), TRACE_PACKET);
  store<u8>(c, <u8>verdict, TRACE_VERDICT);
  store<u16>(c, <u16>chain, TRACE_CHAIN);
  store<u16>(c, load<u16>(worker + (<usize>position << 1), VEC_OIF), DESC_LOG_OUT);
  punt(worker, copy, PUNT_TRACE, point);
}
