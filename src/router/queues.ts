/**
 * Queues of a router's interfaces, in tc's words. An interface's `qdisc` is what stands behind `tc qdisc replace dev DEV root`, or, for
 * classes and filters, whole lines without the device:
 *
 *   qdisc add root handle 1: htb default 10
 *   class add parent 1: classid 1:10 htb rate 50mbit ceil 100mbit
 *   qdisc add parent 1:10 handle 10: fq_codel
 */

import { invalid } from "../base/errors.ts";
import type { Port } from "../engine/port.ts";
import type { Host } from "../host/host.ts";
import type { NetInterface } from "../ip/interface.ts";
import { queueOf } from "../queue/queue.ts";
import { Tc, tryCommands } from "../queue/tc.ts";
import type { InterfaceConfig } from "./schema.ts";

interface TcLine {
  /** Of all that was written, the first is 1. */
  readonly number: number;
  readonly words: readonly string[];
}

function linesOf(text: string): TcLine[] {
  return text
    .split(/[\n;]/)
    .map((line, i) => ({ number: i + 1, words: line.trim().split(/\s+/).filter(Boolean) }))
    .filter(({ words }) => words.length > 0);
}

const OBJECTS = ["qdisc", "class", "filter"];
const isWhole = ([first]: readonly TcLine[]) => first !== undefined && OBJECTS.includes(first.words[0]);

/** Commands without "tc" and the device, as words. */
function commandsOf(text: string): string[][] {
  const lines = linesOf(text);
  if (!isWhole(lines)) return [["qdisc", "replace", "root", ...(lines[0]?.words ?? [])]];
  // What is there already is replaced, with what waits in it.
  return lines.map(({ words: [object, verb, ...rest] }) => [object, verb === "add" && rest.includes("root") ? "replace" : verb, ...rest]);
}

const withDevice = ([object, verb, ...rest]: readonly string[], dev: string) => [object, verb, "dev", dev, ...rest];

/** Throws for what tc would not take, by its line where there are more. */
export function checkWords(text: string): void {
  const lines = linesOf(text);
  if (!isWhole(lines) && lines.length > 1)
    throw invalid(
      `line ${lines[1].number}: "${lines[1].words.join(" ")}" stands behind a qdisc; with more lines the first begins with "qdisc add root"`,
    );
  const commands = commandsOf(text).map((words) => withDevice(words, "dev"));
  for (let i = 0; i < commands.length; i++) {
    try {
      tryCommands(commands.slice(0, i + 1), "dev");
    } catch (error) {
      throw lines.length > 1 ? invalid(`line ${lines[i].number}: ${(error as Error).message}`) : error;
    }
  }
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
        for (const words of commands) this.run(withDevice(words, name));
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
