/** Bytes of the packet: from its first segment where they are there, by a call where they are not. */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { Family, PayloadBase } from "../expressions.ts";
import type { Base, Emitter, Field } from "./emitter.ts";
import { LOADED, loadWords, wordsOf } from "./reading.ts";

export const BASE_NUMBERS: Record<PayloadBase, number> = {
  link: abi.BASE_LINK,
  network: abi.BASE_NETWORK,
  transport: abi.BASE_TRANSPORT,
  inner: abi.BASE_INNER,
};

/** Bytes of the network header that are always in the first segment, once a packet is known to be of the family. */
const WHOLE: Partial<Record<Family, number>> = { ip: 20, ip6: 40, inet: 20 };

export function payload(family: Family, base: PayloadBase, offset: number, length: number): Field {
  if (length < 1 || length > 64 || offset < 0 || offset > 4096)
    throw invalid(`a load of ${length} bytes at ${offset} is none that rules have`);
  const certain = base === "network" && offset + length <= (WHOLE[family] ?? 0);
  return {
    key: `payload ${base} ${offset} ${length}`,
    words: wordsOf(length),
    certain,
    emit(e, to) {
      if (base === "inner") return loadFar(e, base, offset, length, to);
      const c = e.code;
      const at = e.base(base as Base);
      if (certain) return loadWords(c, at, offset, length, to);
      c.get(at)
        .i32(offset + length)
        .add()
        .get(e.base("end"))
        .gtU()
        .if();
      loadFar(e, base, offset, length, to);
      c.else();
      loadWords(c, at, offset, length, to);
      c.end();
    },
  };
}

/** What is not in the first segment, or not there at all. */
function loadFar(e: Emitter, base: PayloadBase, offset: number, length: number, to: readonly number[]): void {
  const c = e.code.get(e.worker).get(e.position).i32(BASE_NUMBERS[base]).i32(offset).i32(length);
  e.scratch(LOADED).call(e.program.plane("loadPayload")).eqz();
  e.failIf();
  loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, length, to);
}
