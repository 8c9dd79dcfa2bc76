/** What is told of a translated packet is told in the words of who sent it. */
import { DESC_FLAGS, FLAG_ATTACHED, FLOW_STATUS, IPS_CONFIRMED, IPS_DST_NAT, NAT_DESTINATION, NONE, REJECTED_FLOW, VEC_FLOW, VEC_IDS, WORKER_TUPLES } from "../abi";
import { privateHead } from "../core/head";
import { descriptorAt } from "../core/layout";
import { flowAt, tupleOf } from "../table/flow";
import { translate } from "./translate";

/**
 * Gives a packet that will go no further the destination it came with, for whoever is told of it knows no other; and notes on it whether it had a
 * flow, and which.
 */
export function restore(worker: usize, p: u32): void {
  const ref = load<u32>(worker + (<usize>p << 2), VEC_FLOW);
  const d = descriptorAt(load<u32>(worker + (<usize>p << 2), VEC_IDS));
  if (ref == 0) {
    // An answer of this host's own may have had one.
    store<u32>(d, load<u32>(d, DESC_FLAGS) & ~FLAG_ATTACHED, DESC_FLAGS);
    return;
  }
  const status = load<u32>(flowAt(ref >>> 1), FLOW_STATUS);
  store<u32>(d, load<u32>(d, DESC_FLAGS) | FLAG_ATTACHED, DESC_FLAGS);
  // What answers is a packet of the other direction.
  store<u32>(d, (status & IPS_CONFIRMED) != 0 ? ref ^ 1 : 0, REJECTED_FLOW);
  if ((ref & 1) != 0) return;
  if ((status & (IPS_CONFIRMED | IPS_DST_NAT)) != IPS_DST_NAT) return;
  const at = worker + (<usize>p << 2), mine = privateHead(worker, load<u32>(at, VEC_IDS)), tuple = worker + WORKER_TUPLES;
  if (mine == NONE) return;
  store<u32>(at, mine, VEC_IDS);
  tupleOf(ref >>> 1, 0, tuple);
  translate(mine, NAT_DESTINATION, tuple);
}
