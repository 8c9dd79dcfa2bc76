/** One group of one interface: who wants it, and what routers have still to be told about it (RFC 3376 §5.1). */
import type { IpAddress } from "../../base/ip-address.ts";
import { Timer } from "../../base/timers.ts";
import { allows, merge, NOTHING, type SourceFilter, without } from "./filter.ts";
import { type GroupRecord, RECORD } from "./records.ts";

/** More sources than this in questions about one group: the whole group is answered for. */
const MOST_QUERIED = 128;

export class Membership {
  readonly group: IpAddress;
  readonly timer: Timer;
  /** What each socket (or part of the stack) wants. */
  readonly owners = new Map<object, SourceFilter>();
  filter: SourceFilter = NOTHING;
  /** Sources that a router asked about; empty: about the group. */
  readonly queried = new Map<string, IpAddress>();
  /** In the older protocols: this host spoke for the group last. */
  isLastReporter = false;
  /** How often a change is still to be told: of the mode, of each source. */
  private modeLeft = 0;
  private readonly sourcesLeft = new Map<string, { source: IpAddress; left: number }>();

  constructor(group: IpAddress, answer: (membership: Membership) => void) {
    this.group = group;
    this.timer = new Timer(() => answer(this));
  }

  get hasChanges(): boolean {
    return this.modeLeft > 0 || this.sourcesLeft.size > 0;
  }

  /** Merges what the owners want; `robustness` times is said what has changed. False when nothing has. */
  update(robustness: number): boolean {
    const before = this.filter;
    this.filter = merge([...this.owners.values()]);
    if (before.mode !== this.filter.mode) {
      this.modeLeft = robustness;
      this.sourcesLeft.clear();
      return true;
    }
    const changed = [...without(before.sources, this.filter.sources), ...without(this.filter.sources, before.sources)];
    for (const source of changed) this.sourcesLeft.set(source.key, { source, left: robustness });
    return changed.length > 0;
  }

  forgetChanges(): void {
    this.modeLeft = 0;
    this.sourcesLeft.clear();
  }

  /** One round of telling. */
  takeChanges(): GroupRecord[] {
    const { group, filter } = this;
    if (this.modeLeft > 0) {
      this.modeLeft--;
      const type = filter.mode === "include" ? RECORD.toInclude : RECORD.toExclude;
      return [{ type, group, sources: [...filter.sources.values()] }];
    }
    const allow: IpAddress[] = [];
    const block: IpAddress[] = [];
    for (const [key, entry] of this.sourcesLeft) {
      (allows(filter, entry.source) ? allow : block).push(entry.source);
      if (--entry.left <= 0) this.sourcesLeft.delete(key);
    }
    const records: GroupRecord[] = [];
    if (allow.length) records.push({ type: RECORD.allow, group, sources: allow });
    if (block.length) records.push({ type: RECORD.block, group, sources: block });
    return records;
  }

  current(): GroupRecord {
    const { mode, sources } = this.filter;
    return { type: mode === "include" ? RECORD.isInclude : RECORD.isExclude, group: this.group, sources: [...sources.values()] };
  }

  /** A question about the group (no sources) or about some of its sources, added to those not answered yet. */
  ask(sources: readonly IpAddress[], isFirst: boolean): void {
    if (!isFirst && this.queried.size === 0) return;
    if (sources.length === 0 || this.queried.size + sources.length > MOST_QUERIED) this.queried.clear();
    else for (const source of sources) this.queried.set(source.key, source);
  }

  /** The answer to what was asked; undefined when there is nothing to say. */
  answer(): GroupRecord | undefined {
    if (this.queried.size === 0) return this.current();
    const sources = [...this.queried.values()].filter((source) => allows(this.filter, source));
    this.queried.clear();
    return sources.length ? { type: RECORD.isInclude, group: this.group, sources } : undefined;
  }
}
