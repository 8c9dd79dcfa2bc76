/** What the parts of one host's `net`, `dgram` and `dns` share. */
import type { Host } from "../host/host.ts";
import type { Lookup } from "./dns.ts";
import type { EventQueue } from "./events.ts";

export interface Context {
  /** The class of sockets that `net` shows. */
  socketClass: unknown;
  /** Servers of Node's own that listen on the host. */
  readonly adopted: WeakSet<object>;
  readonly host: Host;
  readonly events: EventQueue;
  /** `dns.lookup` of the host. */
  readonly lookup: Lookup;
  /** What connections do that do not say: several addresses in turn, each for so many milliseconds. */
  readonly attempts: { autoSelectFamily: boolean; timeoutMs: number };
}
