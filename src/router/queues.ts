/**
 * Queues of a router's interfaces, in tc's words. An interface's `qdisc` is what stands behind `tc qdisc replace dev DEV root`, or, for
 * classes and filters, whole lines without the device:
 *
 *   qdisc add root handle 1: htb default 10
 *   class add parent 1: classid 1:10 htb rate 50mbit ceil 100mbit
 *   qdisc add parent 1:10 handle 10: fq_codel
 */

import type { Port } from "../engine/port.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { checkQdisc } from "../queue/options.ts";
import { queueOf } from "../queue/queue.ts";
import { Tc } from "../queue/tc.ts";
import { readQdisc, Words } from "../queue/words.ts";
import type { InterfaceConfig } from "./schema.ts";

/** Commands without "tc" and the device, as words. */
function commandsOf(text: string): string[][] {
  const lines = text
    .split(/[\n;]/)
    .map((line) => line.trim().split(/\s+/).filter(Boolean))
    .filter((words) => words.length > 0);
  const isWhole = ["qdisc", "class", "filter"].includes(lines[0]?.[0]);
  if (!isWhole) return [["qdisc", "replace", "root", ...(lines[0] ?? [])]];
  // What is there already is replaced, with what waits in it.
  return lines.map(([object, verb, ...rest]) => [object, verb === "add" && rest.includes("root") ? "replace" : verb, ...rest]);
}

/** Throws for words of a single qdisc that tc would not take; lines are tried when they are applied. */
export function checkWords(text: string): void {
  const [[, , , kind = "", ...words], ...more] = commandsOf(text);
  if (more.length === 0 && !text.trim().startsWith("qdisc")) checkQdisc(readQdisc(kind, new Words(words)));
}

export class Queues {
  private readonly host: Host;
  private readonly tc: Tc;
  private readonly applied = new Map<string, string>();

  constructor(host: Host) {
    this.host = host;
    this.tc = new Tc(host.engine, {});
  }

  /** Does what a command of tc says; what tc would print. */
  run(words: readonly string[]): string {
    this.tc.use(this.ports());
    return this.tc.run(words);
  }

  private ports(): Record<string, Port> {
    return Object.fromEntries(this.host.ip.interfaces.map(({ name, port }) => [name, port]));
  }

  set(interfaces: readonly InterfaceConfig[]): void {
    const { engine, ip } = this.host;
    for (const { name, qdisc } of interfaces) {
      const isThere = queueOf(engine, ip.interface(name).port) !== undefined;
      if (qdisc === undefined) {
        if (isThere && this.applied.has(name)) this.run(["qdisc", "del", "dev", name, "root"]);
        this.applied.delete(name);
      } else if (this.applied.get(name) !== qdisc || !isThere) {
        // From here on it is neither what it was nor what it shall be.
        this.applied.delete(name);
        const commands = commandsOf(qdisc);
        // What is replaced hands over what waits; lines that do not begin so find nothing there.
        if (isThere && commands[0]?.[1] !== "replace") this.run(["qdisc", "del", "dev", name, "root"]);
        for (const [object, verb, ...rest] of commands) this.run([object, verb, "dev", name, ...rest]);
        this.applied.set(name, qdisc);
      }
    }
  }

  /** A port that is given back keeps no queue and no filters for the next interface. */
  remove({ name, port }: NetInterface): void {
    queueOf(this.host.engine, port)?.remove();
    this.applied.delete(name);
    const { [name]: _, ...others } = this.ports();
    this.tc.use(others);
  }
}
