/**
 * Descriptors on their way in messages (unix(7)): counted against the limit of whoever sends them, and collected when nobody
 * can receive them any more, since sockets may travel in their own queues.
 */
import type { Passenger, UnixEndpoint, UnixNamespace } from "../unix/index.ts";
import type { Description } from "./description.ts";
import type { Descriptors } from "./descriptors.ts";

/** A Unix domain socket as far as its collector sees it. */
export interface Travelling extends Description {
  readonly endpoint: UnixEndpoint;
}

/** Sockets on their way, and how often; of each namespace. */
const travelling = new WeakMap<UnixNamespace<UnixEndpoint>, Map<Description, number>>();

function isTravelling(description: Description): description is Travelling {
  return "endpoint" in description && typeof (description.endpoint as Partial<UnixEndpoint> | undefined)?.passengers === "function";
}

/** One descriptor in one message. */
export class InFlight implements Passenger {
  readonly description: Description;
  private readonly sender: Descriptors;

  constructor(description: Description, sender: Descriptors) {
    this.description = description.hold();
    this.sender = sender;
    sender.inFlight++;
    if (isTravelling(description)) note(description, 1);
  }

  drop(): void {
    const { description } = this;
    this.sender.inFlight--;
    if (isTravelling(description)) note(description, -1);
    description.drop();
  }
}

function note(socket: Travelling, change: number): void {
  const { namespace } = socket.endpoint;
  const all = travelling.get(namespace) ?? new Map<Description, number>();
  travelling.set(namespace, all);
  const count = (all.get(socket) ?? 0) + change;
  if (count > 0) all.set(socket, count);
  else all.delete(socket);
}

/** Closes sockets that only their own queues hold. Called when one has lost a holder: only then can there be such. */
export function collectIfLost(socket: Travelling): void {
  const all = travelling.get(socket.endpoint.namespace);
  if (all?.get(socket) !== socket.holders) return;
  const lost = unreachable(all);
  for (const each of lost) each.hold();
  for (const each of lost) each.endpoint.dropPassengers();
  for (const each of lost) each.drop();
}

/** As Linux's unix_gc: those on their way alone, less those that something outside of them can still receive. */
function unreachable(all: ReadonlyMap<Description, number>): Travelling[] {
  const outside = new Map<Travelling, number>();
  for (const [socket, count] of all) if (isTravelling(socket) && socket.holders === count) outside.set(socket, count);
  for (const socket of outside.keys()) {
    for (const each of carried(socket)) {
      const count = outside.get(each);
      if (count !== undefined) outside.set(each, count - 1);
    }
  }
  const reachable = [...outside].filter(([, count]) => count > 0).map(([socket]) => socket);
  for (let socket = reachable.pop(); socket; socket = reachable.pop()) {
    if (!outside.delete(socket)) continue;
    for (const each of carried(socket)) if (outside.has(each)) reachable.push(each);
  }
  return [...outside.keys()];
}

function* carried(socket: Travelling): Iterable<Travelling> {
  for (const each of socket.endpoint.passengers()) {
    if (each instanceof InFlight && isTravelling(each.description)) yield each.description;
  }
}
