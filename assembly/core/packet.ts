/** What every node does with a packet it will not pass on: drop it by name, or punt it with its reason. */
import {
  DROP_PUNT_RING_FULL,
} from "../abi";
import { count } from "./layout";
import { release } from "./pool";
import { puntPush } from "./ring";

export function drop(worker: usize, id: u32, reason: u32): void {
  count(worker, reason, 1);
  release(worker, id);
}

/** Hands the packet to the host layer, which owns it from then on. */
export function punt(worker: usize, id: u32, reason: u32, argument: u32): void {
  if (puntPush(id, reason, argument)) count(worker, reason, 1);
  else drop(worker, id, DROP_PUNT_RING_FULL);
}
