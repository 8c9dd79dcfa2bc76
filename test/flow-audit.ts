/** What the table of flows holds, counted from its memory in every way there is: all ways have to agree when nobody is at work on it. */
import assert from "node:assert/strict";
import * as abi from "../assembly/abi.ts";
import type { Engine } from "../src/index.ts";

const WHEEL_SLOTS = 256 + 256 + 64;

export function auditFlows({ memory }: Engine) {
  const at = memory.base(abi.REGION_FLOWS);
  const word = (offset: number) => memory.getU32(at + offset);
  const cold = (flow: number, offset: number) => memory.getU32(word(abi.FLOWS_COLD) + flow * abi.COLD_SIZE + offset);
  const hot = (flow: number, offset: number) => memory.getU32(word(abi.FLOWS_HOT) + flow * abi.FLOW_SIZE + offset);
  const list = (first: number) => {
    const all: number[] = [];
    for (let flow = first; flow !== 0; flow = cold(flow, abi.COLD_WHEEL_NEXT)) {
      all.push(flow);
      assert.ok(all.length <= word(abi.FLOWS_RECORDS), "a list of records goes round in a circle");
    }
    return all;
  };
  const wheel = Array.from({ length: WHEEL_SLOTS }, (_, slot) => list(memory.getU32(word(abi.FLOWS_WHEEL_SLOTS) + 4 * slot))).flat();
  const [free, retired] = [list(word(abi.FLOWS_FREE)), list(word(abi.FLOWS_RETIRED_FIRST))];
  const tagged: number[] = [];
  for (let bucket = 0; bucket < word(abi.FLOWS_BUCKETS); bucket++) {
    const line = word(abi.FLOWS_BUCKET_BASE) + bucket * abi.FLOW_BUCKET_SIZE;
    assert.equal(memory.getU32(line + abi.FLOW_BUCKET_META) >>> 31, 0, "a bucket is locked");
    for (let slot = 0; slot < abi.FLOW_BUCKET_SLOTS; slot++)
      if (memory.getU16(line + 2 * slot) !== 0) tagged.push(memory.getU32(line + abi.FLOW_BUCKET_REFS + 4 * slot));
  }
  const live = new Set(wheel);
  const count = word(abi.FLOWS_COUNT);
  assert.equal(live.size, wheel.length, "a flow is in the wheel twice");
  assert.equal(new Set(tagged).size, tagged.length, "a tuple is in the table twice");
  assert.deepEqual(new Set(tagged.map((ref) => ref >>> 1)), live, "the table and the wheel hold different flows");
  assert.equal(tagged.length, 2 * count);
  assert.equal(wheel.length, count);
  assert.equal(word(abi.FLOWS_USED), count, "records are in use that are no flows");
  const mapped =
    abi.PHASE_MAPPED_SOURCE |
    abi.PHASE_MAPPED_DESTINATION |
    abi.PHASE_PROXIED |
    abi.PHASE_FAR_SOURCE |
    abi.PHASE_FAR_DESTINATION |
    abi.PHASE_ZONE_ORIGINAL |
    abi.PHASE_ZONE_REPLY;
  const isMapping = (flow: number) => (memory.u8[word(abi.FLOWS_HOT) + flow * abi.FLOW_SIZE + abi.FLOW_SPACE] & abi.SPACE_MAPPING) !== 0;
  for (const flow of live) assert.equal(hot(flow, abi.FLOW_PHASE) & ~0xffff & ~mapped, abi.PHASE_LINKED, `phase of flow ${flow}`);
  assert.equal([...live].filter(isMapping).length, word(abi.FLOWS_MAPPINGS), "mappings are miscounted");
  assert.equal(count + free.length + retired.length, word(abi.FLOWS_FRESH) - 1, "records are lost");
  return { count, free: free.length, retired: retired.length, fresh: word(abi.FLOWS_FRESH) };
}
