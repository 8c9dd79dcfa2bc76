/**
 * What rules count: token buckets, and connections at once. The arithmetic is that of the kernel (nft_limit, nft_connlimit): a bucket
 * holds nanoseconds, a packet costs those that its rate gives it, and a bucket is full at first.
 */
import {
  CONNLIMIT_CAPACITY, CONNLIMIT_COUNT, CONNLIMIT_LIST, FLOWS_HOT, FLOW_SIZE, FLOW_STATUS, IPS_DYING, LIMIT_COST, LIMIT_MOST, LIMIT_RATE,
  LIMIT_TIME, LIMIT_TOKENS, REGION_FILTER, REGION_FLOWS,
} from "../abi";
import { allocateNow, retire } from "../core/arena";
import { region } from "../core/layout";
import { isOver } from "./flow";

/** Takes a packet's tokens if they are there; true when it is within the rate. */
export function takeTokens(limit: usize, length: u32, now: u64): bool {
  const rate = load<u64>(limit, LIMIT_RATE), cost = load<u64>(limit, LIMIT_COST);
  const price = rate == 0 ? cost : cost * <u64>length / rate;
  const tokens = min<u64>(load<u64>(limit, LIMIT_TOKENS) + now - load<u64>(limit, LIMIT_TIME), load<u64>(limit, LIMIT_MOST));
  store<u64>(limit, now, LIMIT_TIME);
  const within = tokens >= price;
  store<u64>(limit, within ? tokens - price : tokens, LIMIT_TOKENS);
  return within;
}

/** Tells a flow from the next one of the same number: what its addresses, ports and zone come to. */
function signature(flow: usize): u32 {
  let h: u64 = 0;
  for (let at: usize = 0; at < 44; at += 4) h = (h ^ load<u32>(flow + at)) * 0x9e3779b97f4a7c15;
  return <u32>(h >> 32);
}

/** Adds a flow to those at once, forgets those that have ended, and says how many there are; -1 without memory for one more. */
export function countFlows(state: usize, flow: u32): i32 {
  const hot = <usize>load<u32>(region(REGION_FLOWS), FLOWS_HOT), mine = signature(hot + <usize>flow * FLOW_SIZE);
  const list = <usize>load<u32>(state, CONNLIMIT_LIST), n = load<u32>(state, CONNLIMIT_COUNT);
  let kept: u32 = 0, known: bool = false;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(list + (<usize>i << 3)), seen = load<u32>(list + (<usize>i << 3), 4);
    const same = id == flow && seen == mine;
    if (!same && (!isAlive(hot + <usize>id * FLOW_SIZE, seen) || isOver(id))) continue;
    known = known || same;
    store<u32>(list + (<usize>kept << 3), id);
    store<u32>(list + (<usize>kept << 3), seen, 4);
    kept++;
  }
  store<u32>(state, kept, CONNLIMIT_COUNT);
  if (known) return kept;
  // A packet of no flow counts for itself alone.
  if (flow == 0) return kept + 1;
  if (kept == load<u32>(state, CONNLIMIT_CAPACITY) && !growList(state, kept)) return -1;
  const at = <usize>load<u32>(state, CONNLIMIT_LIST) + (<usize>kept << 3);
  store<u32>(at, flow);
  store<u32>(at, mine, 4);
  store<u32>(state, kept + 1, CONNLIMIT_COUNT);
  return kept + 1;
}

function isAlive(flow: usize, seen: u32): bool {
  const status = load<u32>(flow, FLOW_STATUS);
  return status != 0 && (status & IPS_DYING) == 0 && signature(flow) == seen;
}

function growList(state: usize, n: u32): bool {
  const arena = region(REGION_FILTER), room = n == 0 ? 4 : 2 * n, fresh = allocateNow(arena, room << 3);
  if (fresh == 0) return false;
  memory.copy(<usize>fresh, <usize>load<u32>(state, CONNLIMIT_LIST), <usize>n << 3);
  freeList(state);
  store<u32>(state, fresh, CONNLIMIT_LIST);
  store<u32>(state, room, CONNLIMIT_CAPACITY);
  return true;
}

/** Gives the list of a limit back; its count is then not to be trusted. */
export function freeList(state: usize): void {
  const list = load<u32>(state, CONNLIMIT_LIST);
  if (list != 0) retire(region(REGION_FILTER), list, load<u32>(state, CONNLIMIT_CAPACITY) << 3);
  store<u32>(state, 0, CONNLIMIT_LIST);
  store<u32>(state, 0, CONNLIMIT_CAPACITY);
}
