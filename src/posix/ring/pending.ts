/** Requests on their way, found by what a cancellation names: their user data, or their descriptor. */
import type { Request } from "./request.ts";

export class PendingRequests {
  private readonly all = new Set<Request>();
  private readonly byData = new Map<bigint, Set<Request>>();
  private readonly byDescriptor = new Map<number, Set<Request>>();

  get size(): number {
    return this.all.size;
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.all.values();
  }

  add(request: Request): void {
    this.all.add(request);
    put(this.byData, request.userData, request);
    put(this.byDescriptor, request.fd, request);
  }

  delete(request: Request): void {
    if (!this.all.delete(request)) return;
    take(this.byData, request.userData, request);
    take(this.byDescriptor, request.fd, request);
  }

  /** Those with this user data, oldest first. */
  named(userData: bigint): Iterable<Request> {
    return this.byData.get(userData) ?? [];
  }

  /** Those of this descriptor, oldest first. */
  of(fd: number): Iterable<Request> {
    return this.byDescriptor.get(fd) ?? [];
  }
}

function put<K>(map: Map<K, Set<Request>>, key: K, request: Request): void {
  const known = map.get(key);
  if (known) known.add(request);
  else map.set(key, new Set([request]));
}

function take<K>(map: Map<K, Set<Request>>, key: K, request: Request): void {
  const known = map.get(key);
  known?.delete(request);
  if (known?.size === 0) map.delete(key);
}
