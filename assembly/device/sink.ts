/** Where a generator port's output ends: counted, every n-th packet sampled for the oracle, freed. */
import {
  DESC_DATA, DESC_LENGTH, DESC_PACKET_LENGTH, PORT_SINK_SAMPLES, SAMPLES_CAPACITY, SAMPLES_COUNTDOWN, SAMPLES_SLOTS,
  SAMPLES_STRIDE, SAMPLES_WORKER, SAMPLES_WRITTEN, SAMPLE_BYTES, SAMPLE_BYTES_SIZE, SAMPLE_LENGTH, SAMPLE_PORT,
  SAMPLE_SIZE, STAT_SUNK, WORKER_ID,
} from "../abi";
import { count, descriptorAt } from "../core/layout";
import { releaseBurst } from "../core/pool";

/** Returns the bytes of the packets it swallowed. */
export function sinkBurst(worker: usize, port: usize, portIndex: u32, ids: usize, n: u32): u64 {
  const samples = <usize>load<u32>(port, PORT_SINK_SAMPLES);
  if (samples != 0) if (load<u32>(worker, WORKER_ID) == load<u32>(samples, SAMPLES_WORKER)) sample(samples, portIndex, ids, n);
  count(worker, STAT_SUNK, n);
  return releaseBurst(worker, ids, n);
}

/** Copies the first bytes of every stride-th packet of one worker into the sample ring. */
function sample(samples: usize, portIndex: u32, ids: usize, n: u32): void {
  const stride = load<u32>(samples, SAMPLES_STRIDE);
  if (stride == 0) return;
  let next = load<u32>(samples, SAMPLES_COUNTDOWN);
  while (next < n) {
    const d = descriptorAt(load<u32>(ids + (<usize>next << 2)));
    const written = load<u32>(samples, SAMPLES_WRITTEN);
    const slot = samples + SAMPLES_SLOTS + <usize>(written % load<u32>(samples, SAMPLES_CAPACITY)) * SAMPLE_SIZE;
    store<u32>(slot, load<u32>(d, DESC_PACKET_LENGTH), SAMPLE_LENGTH);
    store<u32>(slot, portIndex, SAMPLE_PORT);
    memory.copy(slot + SAMPLE_BYTES, <usize>load<u32>(d, DESC_DATA), min<u32>(load<u32>(d, DESC_LENGTH), SAMPLE_BYTES_SIZE));
    store<u32>(samples, written + 1, SAMPLES_WRITTEN);
    next += stride;
  }
  store<u32>(samples, next - n, SAMPLES_COUNTDOWN);
}
