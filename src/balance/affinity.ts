/**
 * Affinity: a client keeps its backend from flow to flow, until it has had no new one for a time. Clients choose their addresses,
 * so their number is bounded: who would be forgotten first makes room.
 */
import type { IpAddress } from "../base/ip-address.ts";

interface Entry {
  backend: number;
  until: number;
}

export const MOST_CLIENTS = 65_536;

export class Affinity {
  /** In the order in which they end: who comes again goes to the back. */
  private readonly entries = new Map<string, Entry>();
  private readonly timeoutMs: number;
  private readonly most: number;

  constructor(timeoutMs: number, most = MOST_CLIENTS) {
    this.timeoutMs = timeoutMs;
    this.most = most;
  }

  get size(): number {
    return this.entries.size;
  }

  find(client: IpAddress, now: number): number | undefined {
    const entry = this.entries.get(client.key);
    return entry && entry.until > now ? entry.backend : undefined;
  }

  keep(client: IpAddress, backend: number, now: number): void {
    const { key } = client;
    const entry = this.entries.get(key) ?? { backend, until: 0 };
    this.entries.delete(key);
    entry.backend = backend;
    entry.until = now + this.timeoutMs;
    this.entries.set(key, entry);
    for (const [oldest, { until }] of this.entries) {
      if (until > now && this.entries.size <= this.most) break;
      this.entries.delete(oldest);
    }
  }
}
