/**
 * Maglev hashing: "Maglev: A Fast and Reliable Software Network Load Balancer" (Eisenbud and others, NSDI 2016), §3.4.
 *
 * Each member has a permutation of the slots, offset + i × skip modulo a prime, from two hashes of its name; members take turns,
 * and each takes the next free slot of its own permutation, until all are taken. Machines with the same members have the same
 * table without talking to each other. A member of less weight takes a turn in fewer rounds.
 */
import { md5 } from "../base/md5.ts";
import { byName, HashScheduler, SLOTS } from "./scheduler.ts";

const text = new TextEncoder();

export class Maglev extends HashScheduler {
  protected fill(): Uint16Array {
    const members = byName(this.available());
    if (members.length === 0) return new Uint16Array(0);
    const ids = members.map(({ id }) => id);
    const weights = members.map(({ weight, fraction }) => weight * fraction);
    const next = new Int32Array(members.length);
    const skip = new Int32Array(members.length);
    for (const [i, { name }] of members.entries()) {
      const digest = new DataView(md5(text.encode(name)).buffer);
      next[i] = digest.getUint32(0, true) % SLOTS;
      skip[i] = (digest.getUint32(4, true) % (SLOTS - 1)) + 1;
    }
    return populate(ids, weights, next, skip);
  }
}

function populate(ids: number[], weights: number[], next: Int32Array, skip: Int32Array): Uint16Array {
  const slots = new Uint16Array(SLOTS);
  const isTaken = new Uint8Array(SLOTS);
  const credit = new Float64Array(ids.length);
  const turn = Math.max(...weights);
  for (let filled = 0; ; ) {
    for (let i = 0; i < ids.length; i++) {
      credit[i] += weights[i];
      if (credit[i] < turn) continue;
      credit[i] -= turn;
      let slot = next[i];
      while (isTaken[slot] === 1) slot = (slot + skip[i]) % SLOTS;
      isTaken[slot] = 1;
      slots[slot] = ids[i];
      next[i] = (slot + skip[i]) % SLOTS;
      if (++filled === SLOTS) return slots;
    }
  }
}
