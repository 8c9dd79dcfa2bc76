/** What a router must be able to do to be compared: the kernel's (kernel-router.ts) and ours are two of them. */
import type { Case, Event, Frame } from "./case.ts";

export interface Router {
  /** A new case: no connections, this ruleset, and sysctls (paths below /proc/sys/net) beside the usual ones. */
  begin(ruleset: string, sysctls?: Readonly<Record<string, number>>): Promise<void>;
  /** What comes out for each of some frames, sent one after the other. */
  send(frames: readonly Frame[]): Promise<Frame[][]>;
  wait(ms: number): Promise<void>;
  /** One line for each connection, as `conntrack -L` has it without what means nothing elsewhere (see `listing`). */
  connections(): Promise<readonly string[]>;
  /** "family table chain N packets P bytes B" for each counter of a rule, N its rule's number in the chain. */
  counters(): Promise<readonly string[]>;
}

/** A line of `conntrack -L -o extended` without numbers that have names and without reference counts; the rest as it is. */
export function listing(line: string): string {
  const [, , protocol, number, ...words] = line.trim().split(/\s+/);
  return [protocol === "unknown" ? `protocol ${number}` : protocol, ...words.filter((word) => !word.startsWith("use="))].join(" ");
}

/** Runs a case; the same case with this router's results. */
export async function run(router: Router, it: Case): Promise<Case> {
  await router.begin(it.ruleset, it.sysctls);
  const events: Event[] = [];
  for (let at = 0; at < it.events.length; ) {
    const event = it.events[at];
    if (event.kind === "wait") {
      await router.wait(event.ms);
      events.push(event);
      at++;
    } else if (event.kind === "show") {
      events.push({ kind: "show", connections: await router.connections() });
      at++;
    } else {
      // Packets with nothing between them go together: one order for all.
      const batch: Frame[] = [];
      for (let next = it.events[at]; next?.kind === "packet"; next = it.events[++at]) batch.push(next.in);
      (await router.send(batch)).forEach((out, i) => events.push({ kind: "packet", in: batch[i], out }));
    }
  }
  return { ...it, events, counters: await router.counters() };
}
