/** Two ports of one engine joined back to back: what leaves one arrives at the other, without a copy. */
import * as abi from "../../assembly/abi.ts";
import { invalid } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";

/** Each worker's transmit ring of one port becomes its receive ring of the other. */
export function joinPorts(engine: Engine, a: Port, b: Port): void {
  if (a === b) throw invalid("a port cannot be joined to itself");
  const { memory } = engine;
  for (let w = 0; w < memory.layout.workers; w++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ]) {
      memory.setU32(memory.port(to.index) + abi.PORT_RX + 4 * w, memory.ring(from.index, w, true));
    }
  }
  // Both ends are in this memory: chains, large segments and open checksums may cross as they are.
  const offload = { chains: true, segmentation: true, accurateEcn: true, partialChecksum: true };
  a.configure({ offload });
  b.configure({ offload });
}
