/** Answers that are still good: bounded in number and bytes, the least recently used leave first; nothing stale is served. */
import type { Answer } from "./answer.ts";
import { nameKey } from "./hosts.ts";
import type { Question } from "./message.ts";

export interface CacheLimits {
  /** Most answers. Default 4096. */
  entries?: number;
  /** Most bytes of messages, about. Default 4 MiB. */
  bytes?: number;
  /** Longest time (s) that an answer is kept, whatever it says. Default one day. */
  ttl?: number;
}

interface Entry {
  readonly answer: Answer;
  readonly stored: number;
  readonly expires: number;
  readonly bytes: number;
}

export function questionKey(question: Question): string {
  return `${question.type} ${nameKey(question.name)}`;
}

export class DnsCache {
  /** In order of use, the latest last. */
  private readonly entries = new Map<string, Entry>();
  private readonly limits: Required<CacheLimits>;
  private readonly now: () => number;
  bytes = 0;
  hits = 0;
  misses = 0;

  /** `now` in milliseconds. */
  constructor(now: () => number, limits: CacheLimits = {}) {
    this.now = now;
    this.limits = { entries: limits.entries ?? 4096, bytes: limits.bytes ?? 4 << 20, ttl: limits.ttl ?? 86_400 };
  }

  get size(): number {
    return this.entries.size;
  }

  /** The answer with what is left of its lifetimes. */
  get(question: Question): Answer | undefined {
    const key = questionKey(question);
    const entry = this.entries.get(key);
    const now = this.now();
    if (!entry || entry.expires <= now) {
      if (entry) this.drop(key, entry);
      this.misses++;
      return undefined;
    }
    this.entries.delete(key);
    this.entries.set(key, entry);
    this.hits++;
    return aged(entry.answer, Math.floor((now - entry.stored) / 1000));
  }

  /** Keeps an answer that took `bytes` on the wire. */
  set(question: Question, answer: Answer, bytes: number): void {
    const key = questionKey(question);
    const before = this.entries.get(key);
    if (before) this.drop(key, before);
    const ttl = Math.min(answer.ttl, this.limits.ttl);
    if (!(ttl > 0) || bytes > this.limits.bytes) return;
    const now = this.now();
    this.entries.set(key, { answer, stored: now, expires: now + ttl * 1000, bytes });
    this.bytes += bytes;
    for (const [oldest, entry] of this.entries) {
      if (this.entries.size <= this.limits.entries && this.bytes <= this.limits.bytes) break;
      this.drop(oldest, entry);
    }
  }

  clear(): void {
    this.entries.clear();
    this.bytes = 0;
  }

  private drop(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.bytes -= entry.bytes;
  }
}

function aged(answer: Answer, seconds: number): Answer {
  if (seconds === 0) return answer;
  const age = <T extends { readonly ttl: number }>(each: T): T => ({ ...each, ttl: Math.max(each.ttl - seconds, 0) });
  return { ...age(answer), records: answer.records.map(age), authority: answer.authority.map(age) };
}
