/**
 * The host side of IGMP and MLD on one interface: changes are told, questions answered, older routers heeded
 * (RFC 3376 §5 and §7.2, RFC 2236 §3, RFC 3810 §6 and §8.2, RFC 2710 §4).
 */
import type { IpAddress } from "../../base/ip-address.ts";
import type { Random } from "../../base/random.ts";
import { Timer, type Timers } from "../../base/timers.ts";
import { isNothing, type SourceFilter } from "./filter.ts";
import { Membership } from "./membership.ts";
import type { GroupQuery, GroupRecord } from "./records.ts";

/** A protocol's messages on an interface. */
export interface GroupWire {
  /** IGMP 3, MLD 2. */
  readonly newest: number;
  /** Told to nobody: all-nodes groups, and those that never leave the node. */
  isSilent(group: IpAddress): boolean;
  report(records: readonly GroupRecord[]): void;
  /** Reports and leave messages of the older versions. */
  reportOld(version: number, group: IpAddress): void;
  leaveOld(version: number, group: IpAddress): void;
}

export interface MachineWorld {
  readonly timers: Timers;
  readonly random: Random;
  readonly now: number;
}

/** RFC 3376 §8: robustness, and how far unsolicited reports are apart (version 3, and the older ones). */
const ROBUSTNESS = 2;
const MOST_ROBUSTNESS = 7;
const UNSOLICITED_MS = 1000;
const UNSOLICITED_OLD_MS = 10_000;
const QUERY_INTERVAL_MS = 125_000;

export class GroupMachine {
  readonly memberships = new Map<string, Membership>();
  private readonly world: MachineWorld;
  private readonly wire: GroupWire;
  private robustness = ROBUSTNESS;
  private queryIntervalMs = QUERY_INTERVAL_MS;
  /** Until when a router of version 1 (index 1) or 2 is believed to be there. */
  private readonly olderUntil = [0, 0, 0];
  private readonly general = new Timer(() => this.answerAll());
  private readonly changes = new Timer(() => this.tellChanges());

  constructor(world: MachineWorld, wire: GroupWire) {
    this.world = world;
    this.wire = wire;
  }

  /** The version spoken: the oldest one a router was heard with lately. */
  get version(): number {
    const { now } = this.world;
    for (let version = 1; version < this.wire.newest; version++) if (this.olderUntil[version] > now) return version;
    return this.wire.newest;
  }

  /** What one owner wants of a group from now on; nothing at all ends its membership. */
  want(group: IpAddress, owner: object, filter: SourceFilter): void {
    let membership = this.memberships.get(group.key);
    if (!membership) {
      if (isNothing(filter)) return;
      membership = new Membership(group, (each) => this.answerGroup(each));
      this.memberships.set(group.key, membership);
    }
    if (isNothing(filter)) membership.owners.delete(owner);
    else membership.owners.set(owner, filter);
    const wasMember = !isNothing(membership.filter);
    const changed = membership.update(this.robustness);
    if (this.wire.isSilent(group)) membership.forgetChanges();
    else if (changed) this.announce(membership, wasMember);
    this.forget(membership);
  }

  private announce(membership: Membership, wasMember: boolean): void {
    if (this.version === this.wire.newest) {
      this.wire.report(membership.takeChanges());
      this.scheduleChanges();
      return;
    }
    membership.forgetChanges();
    if (isNothing(membership.filter)) {
      if (membership.isLastReporter) this.wire.leaveOld(this.version, membership.group);
    } else if (!wasMember) {
      this.reportOld(membership);
      this.arm(membership.timer, UNSOLICITED_OLD_MS);
    }
  }

  private reportOld(membership: Membership): void {
    membership.isLastReporter = true;
    this.wire.reportOld(this.version, membership.group);
  }

  private forget(membership: Membership): void {
    if (membership.owners.size > 0 || membership.hasChanges) return;
    this.world.timers.remove(membership.timer);
    this.memberships.delete(membership.group.key);
  }

  private scheduleChanges(): void {
    for (const membership of this.memberships.values()) {
      if (!membership.hasChanges) continue;
      if (!this.changes.armed) this.arm(this.changes, UNSOLICITED_MS);
      return;
    }
  }

  private tellChanges(): void {
    const records = [...this.memberships.values()].flatMap((each) => each.takeChanges());
    if (records.length) this.wire.report(records);
    for (const membership of [...this.memberships.values()]) this.forget(membership);
    this.scheduleChanges();
  }

  /** At a random moment within `ms`. */
  private arm(timer: Timer, ms: number): void {
    this.world.timers.arm(timer, this.world.now + this.world.random.float() * ms);
  }

  // ── Questions ─────────────────────────────────────────────────────────────────────────────────

  query(query: GroupQuery): void {
    const { version, group } = query;
    if (version < this.wire.newest) this.heardOlder(version, query.maxResponseMs);
    else {
      this.robustness = Math.min(query.robustness || ROBUSTNESS, MOST_ROBUSTNESS);
      this.queryIntervalMs = query.intervalMs || QUERY_INTERVAL_MS;
    }
    if (this.version < this.wire.newest) this.queryOld(query);
    else if (!group) this.sooner(this.general, query.maxResponseMs);
    else this.queryGroup(group, query);
  }

  private queryGroup(group: IpAddress, { maxResponseMs, sources }: GroupQuery): void {
    const membership = this.memberships.get(group.key);
    if (!membership || this.wire.isSilent(group)) return;
    const at = this.world.now + this.world.random.float() * maxResponseMs;
    if (this.general.armed && this.general.at <= at) return;
    membership.ask(sources, !membership.timer.armed);
    if (!membership.timer.armed || membership.timer.at > at) this.world.timers.arm(membership.timer, at);
  }

  /** Moves a timer forward, never back (RFC 3376 §5.2). */
  private sooner(timer: Timer, ms: number): void {
    const at = this.world.now + this.world.random.float() * ms;
    if (!timer.armed || timer.at > at) this.world.timers.arm(timer, at);
  }

  private answerAll(): void {
    const told = [...this.memberships.values()].filter((each) => !isNothing(each.filter) && !this.wire.isSilent(each.group));
    if (told.length) this.wire.report(told.map((each) => each.current()));
  }

  private answerGroup(membership: Membership): void {
    if (isNothing(membership.filter)) return;
    if (this.version < this.wire.newest) {
      this.reportOld(membership);
      return;
    }
    const record = membership.answer();
    if (record) this.wire.report([record]);
  }

  // ── Older routers and members ─────────────────────────────────────────────────────────────────

  /** What was on its way in the newer form is not said any more (RFC 3376 §7.2.1). */
  private heardOlder(version: number, maxResponseMs: number): void {
    const before = this.version;
    this.olderUntil[version] = this.world.now + this.robustness * this.queryIntervalMs + maxResponseMs;
    if (this.version === before) return;
    const { timers } = this.world;
    timers.cancel(this.general);
    timers.cancel(this.changes);
    for (const membership of [...this.memberships.values()]) {
      membership.forgetChanges();
      timers.cancel(membership.timer);
      this.forget(membership);
    }
  }

  private queryOld({ group, maxResponseMs }: GroupQuery): void {
    for (const membership of this.memberships.values()) {
      if (this.wire.isSilent(membership.group) || isNothing(membership.filter)) continue;
      if (!group || group.equals(membership.group)) this.sooner(membership.timer, maxResponseMs);
    }
  }

  /** Another member spoke for a group: once is enough (RFC 2236 §3, RFC 2710 §4). */
  heardReport(group: IpAddress): void {
    if (this.version === this.wire.newest) return;
    const membership = this.memberships.get(group.key);
    if (!membership?.timer.armed) return;
    this.world.timers.cancel(membership.timer);
    membership.isLastReporter = false;
  }

  /** The interface goes away. */
  close(): void {
    const { timers } = this.world;
    for (const timer of [this.general, this.changes]) timers.remove(timer);
    for (const { timer } of this.memberships.values()) timers.remove(timer);
    this.memberships.clear();
  }
}
