/**
 * A backend of a service: its state (backend-state.ts), and what follows from it: whether and how much it takes of new flows,
 * whether its health is asked for, when it has drained.
 */
import type { Clock } from "../base/clock.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { after } from "./after.ts";
import { type BackendEvent, type BackendState, isOpen, isWatched, nextState } from "./backend-state.ts";
import { Estimator, type Rates } from "./estimator.ts";
import type { CheckResult, HealthCheck } from "./health.ts";
import type { Traffic } from "./plane.ts";
import { checkWeight } from "./scheduler.ts";

/** In ipvsadm's words, and what it has no word for. */
export interface BackendStats extends Rates {
  readonly name: string;
  readonly state: BackendState;
  readonly weight: number;
  /** Part of the weight that it takes now. */
  readonly fraction: number;
  readonly activeConns: number;
  readonly conns: number;
  readonly inPkts: number;
  readonly outPkts: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

/** What changes without a change of state. */
export type BackendChange = "weight" | "step" | "next hop";

/** What a backend asks of its service. */
export interface BackendOwner {
  readonly clock: Clock;
  readonly slowStartMs: number;
  /** State, weight or fraction changed. */
  changed(backend: Backend, before: BackendState, event: BackendEvent | BackendChange): void;
  live(number: number): number;
  traffic(number: number): Traffic;
}

const STEPS = 10;
/** How often it is looked whether the last flow has ended. */
const DRAIN_POLL_MS = 1000;

export class Backend {
  readonly name: string;
  readonly address: IpAddress;
  readonly port: number;
  /** By which plane and schedulers know it. */
  readonly number: number;
  readonly estimator: Estimator;
  private readonly owner: BackendOwner;
  private readonly check: HealthCheck | undefined;
  private current: BackendState = "up";
  private ownWeight: number;
  private ownHop: number;
  private step = STEPS;
  private stopTimer: (() => void) | undefined;
  private readonly drained: (() => void)[] = [];

  constructor(
    owner: BackendOwner,
    given: { name: string; address: IpAddress; port: number; number: number; nextHop: number; weight: number },
    makeCheck: (backend: Backend) => HealthCheck | undefined,
  ) {
    this.owner = owner;
    this.name = given.name;
    this.address = given.address;
    this.port = given.port;
    this.number = given.number;
    this.ownHop = given.nextHop;
    this.ownWeight = given.weight;
    this.estimator = new Estimator(owner.traffic(this.number), owner.clock.now());
    this.check = makeCheck(this);
    this.check?.start();
  }

  get state(): BackendState {
    return this.current;
  }

  get weight(): number {
    return this.ownWeight;
  }

  /** Takes effect with the next new flow. 0: no new flows, though it is up. */
  set weight(weight: number) {
    this.ownWeight = checkWeight(weight);
    this.owner.changed(this, this.current, "weight");
  }

  /** The next hop that leads to it (dsr); 0: as its address is routed. */
  get nextHop(): number {
    return this.ownHop;
  }

  set nextHop(hop: number) {
    this.ownHop = hop;
    this.owner.changed(this, this.current, "next hop");
  }

  /** Part of the weight that it takes now: 0, or tenths in slow start, or 1. */
  get fraction(): number {
    return isOpen(this.current) ? this.step / STEPS : 0;
  }

  /** The last health check. */
  get health(): CheckResult | undefined {
    return this.check?.last;
  }

  /** No new flows, affinity or not; resolves when the last one has ended, and it is "disabled" then. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.drained.push(resolve);
      this.happen("drain");
      if (this.current === "disabled") this.tellDrained();
      else this.awaitDrained();
    });
  }

  /** No new flows and no checks, at once. */
  disable(): void {
    this.happen("disable");
  }

  /** Back in: when its checks have passed, or at once where nothing checks it. */
  enable(): void {
    this.happen("enable");
  }

  /** Something happened to it; true when that changed its state. */
  happen(event: BackendEvent): boolean {
    const before = this.current;
    const next = nextState(before, event, { isChecked: this.check !== undefined, hasSlowStart: this.owner.slowStartMs > 0 });
    if (next === before) return false;
    this.current = next;
    this.stopTimer?.();
    this.step = next === "slow-start" ? 1 : STEPS;
    if (next === "slow-start") this.ramp();
    if (isWatched(next)) this.check?.start();
    else this.check?.stop();
    this.owner.changed(this, before, event);
    if (next === "disabled") this.tellDrained();
    return true;
  }

  stats(): BackendStats {
    const { flows, inPackets, outPackets, inBytes, outBytes } = this.owner.traffic(this.number);
    const counts = { conns: flows, inPkts: inPackets, outPkts: outPackets, inBytes, outBytes };
    const { name, state, weight, fraction } = this;
    return { name, state, weight, fraction, activeConns: this.owner.live(this.number), ...counts, ...this.estimator.rates };
  }

  /** Its service lets it go. */
  close(): void {
    this.stopTimer?.();
    this.check?.stop();
    this.current = "disabled";
    this.tellDrained();
  }

  private ramp(): void {
    this.stopTimer = after(this.owner.clock, this.owner.slowStartMs / STEPS, () => {
      if (++this.step === STEPS) this.happen("ramped");
      else {
        this.ramp();
        this.owner.changed(this, this.current, "step");
      }
    });
  }

  private awaitDrained(): void {
    this.stopTimer?.();
    if (this.owner.live(this.number) === 0) this.happen("drained");
    else this.stopTimer = after(this.owner.clock, DRAIN_POLL_MS, () => this.awaitDrained());
  }

  private tellDrained(): void {
    for (const resolve of this.drained.splice(0)) resolve();
  }
}
