/** Two ports of one engine joined back to back: what leaves one arrives at the other, without a copy. */
import * as abi from "../../assembly/abi.ts";
import { invalid, LoomError } from "../base/errors.ts";
import { shown } from "../base/options.ts";
import type { Device, Engine } from "../engine/engine.ts";
import { Port } from "../engine/port.ts";

/** Each worker's transmit ring of one port becomes its receive ring of the other. Throws EBUSY when one is joined to a third. */
export function joinPorts(engine: Engine, a: Port, b: Port): void {
  checkPort("second", a);
  checkPort("third", b);
  if (a === b) throw invalid("a port cannot be joined to itself");
  const { memory } = engine;
  for (const [port, other] of [
    [a, b],
    [b, a],
  ]) {
    const from = memory.getU32(memory.port(port.index) + abi.PORT_RX);
    const isFree = from === memory.ring(port.index, 0, false) || from === memory.ring(other.index, 0, true);
    if (!isFree) throw new LoomError("EBUSY", `port ${port.index} is joined to another already`);
  }
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

/** Undoes `joinPorts`: each receives by its own rings again, and what was on the way is thrown away. */
export function partPorts(engine: Engine, a: Port, b: Port): void {
  const { memory } = engine;
  for (const port of [a, b]) {
    port.drain();
    for (let w = 0; w < memory.layout.workers; w++)
      memory.setU32(memory.port(port.index) + abi.PORT_RX + 4 * w, memory.ring(port.index, w, false));
  }
}

function checkPort(which: string, port: unknown): void {
  if (!(port instanceof Port)) throw invalid(`joinPorts: the ${which} argument is ${shown(port)}; expected a port, such as engine.port(0)`);
}

/**
 * A device that is the way between the families: what leaves by its port comes in by it again, as packets of the other one
 * (`network.translateFamilies` says how).
 */
export function families(_engine: Engine, port: Port): Device {
  // Packets of their size on the wire, with their sums: each is rewritten by itself. What was put together from fragments may be a chain.
  port.configure({ families: true, offload: { chains: true, segmentation: false, accurateEcn: false, partialChecksum: false } });
  return { name: "families", poll: () => 0, close: () => void port.configure({ families: false }) };
}
