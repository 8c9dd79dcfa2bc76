/** Descriptors: the script's numbers and those of the process, and the sockets behind them as far as packets need them. */

import type { Peer } from "./peer.ts";
import { Mismatch } from "./script.ts";

export class Descriptors {
  private readonly live = new Map<number, number>();
  private readonly peers = new Map<number, Peer>();
  /** The socket that packets of the script belong to: made last, or the last connection. */
  underTest: Peer | undefined;

  /** The process's descriptor; a number that was never given out stands for itself, far from those that were. */
  toLive(script: number): number {
    return this.live.get(script) ?? (script < 0 ? script : script + 1000);
  }

  toScript(live: number): number {
    for (const [script, each] of this.live) if (each === live) return script;
    return live;
  }

  add(script: number, live: number, peer?: Peer): void {
    if (script < 0) throw new Mismatch(`the result is descriptor ${live}, the script expects ${script}`);
    this.live.set(script, live);
    if (peer) this.peers.set(script, peer);
  }

  peer(script: number): Peer | undefined {
    return this.peers.get(script);
  }

  /** The descriptor of the socket under test, once it has one; else that of the newest socket. */
  get liveUnderTest(): number | undefined {
    let last: number | undefined;
    for (const [script, peer] of this.peers) {
      last = script;
      if (peer === this.underTest) return this.live.get(script);
    }
    return last === undefined ? undefined : this.live.get(last);
  }
}
