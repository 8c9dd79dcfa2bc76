/** `conntrack -E`: what happens to connections, to everybody who listens. */
import type { Conntrack, FlowEvent } from "../../track/conntrack.ts";
import type { Output } from "./command.ts";

/** How often events are looked for (ms). */
const EVENTS_MS = 50;

/** Everybody who listens hears every event from then on: the ring that they are taken from forgets them. */
class EventHub {
  private readonly listeners = new Set<(event: FlowEvent) => void>();

  constructor(private readonly tracked: Conntrack) {}

  add(listener: (event: FlowEvent) => void, clock: { sleep(ms: number): Promise<void> }): () => void {
    // What nobody was there to hear is past.
    this.take();
    this.listeners.add(listener);
    if (this.listeners.size === 1) void this.run(clock);
    return () => void this.listeners.delete(listener);
  }

  private async run(clock: { sleep(ms: number): Promise<void> }): Promise<void> {
    while (this.listeners.size > 0) {
      await clock.sleep(EVENTS_MS);
      this.take();
    }
  }

  private take(): void {
    for (const event of this.tracked.events()) for (const listener of this.listeners) listener(event);
  }
}
const hubs = new WeakMap<Conntrack, EventHub>();

/** Every event that `lineOf` has a line for, behind what stands in front of the first. */
export function followEvents(
  tracked: Conntrack,
  clock: { sleep(ms: number): Promise<void> },
  lineOf: (event: FlowEvent) => string | undefined,
  head: string,
): Output {
  const hub = hubs.get(tracked) ?? new EventHub(tracked);
  hubs.set(tracked, hub);
  return {
    follow: (print) => {
      if (head !== "") print(head);
      return hub.add((event) => {
        const line = lineOf(event);
        if (line !== undefined) print(line);
      }, clock);
    },
  };
}
