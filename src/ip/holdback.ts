/** Those who wait: for room in a transmit ring, or for memory. */
import * as abi from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { Path, Starved, Throttled } from "./types.ts";

/** Ring places kept for what cannot wait: acknowledgements, other flows, one large segment cut up. */
const RESERVED_PLACES = 256;

export class Holdback {
  private readonly engine: Engine;
  private readonly throttled = new Set<Throttled>();
  private readonly starved = new Set<Starved>();
  /** By port, places that what is staged will take in the ring. */
  private readonly promised: Uint32Array;

  constructor(engine: Engine) {
    this.engine = engine;
    this.promised = new Uint32Array(engine.memory.layout.sizes.ports);
  }

  /** False while an interface's transmit ring is nearly full: bulk data waits here instead of being dropped there. */
  hasRoom({ iface }: Path, who: Throttled): boolean {
    if (!iface) return true;
    const { index } = iface.port;
    if (!this.fits(index)) {
      // What is staged may have taken less than was promised for it.
      this.engine.plane.packetsFlush(0);
      this.flushed();
      if (!this.fits(index)) {
        this.throttled.add(who);
        return false;
      }
    }
    return true;
  }

  /** A packet that will be `segments` of them was staged. */
  promise({ iface }: Path, segments: number): void {
    if (iface) this.promised[iface.port.index] += segments;
  }

  private fits(port: number): boolean {
    const { memory, plane } = this.engine;
    const used = plane.ringUsed(memory.getU32(memory.port(port) + abi.PORT_TX)) + this.promised[port];
    return used + RESERVED_PLACES <= memory.layout.sizes.ringCapacity;
  }

  /** Nothing is staged any more. */
  flushed(): void {
    this.promised.fill(0);
  }

  /** Nothing was free for `who`: it is told when something is. */
  starve(who: Starved): void {
    this.starved.add(who);
  }

  /** Whether somebody waits for memory still. */
  isStarved(who: Starved): boolean {
    return this.starved.has(who);
  }

  get isThrottling(): boolean {
    return this.throttled.size > 0;
  }

  /** Tells those whom there may be room for again; those still held back ask again. */
  resume(): void {
    const waiting = [...this.throttled];
    this.throttled.clear();
    for (const who of waiting) who.resume();
  }

  /** Tells those who starved, while there is memory; returns how many. */
  feed(): number {
    const { slabs } = this.engine;
    if (this.starved.size === 0 || slabs.available === 0) return 0;
    const before = this.starved.size;
    for (const who of [...this.starved]) {
      if (slabs.available === 0) break;
      this.starved.delete(who);
      who.memoryBack();
    }
    return before - this.starved.size;
  }
}
