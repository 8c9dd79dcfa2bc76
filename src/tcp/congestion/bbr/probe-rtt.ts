/**
 * BBR's look at the empty path (draft-ietf-ccwg-bbr §5.3.4): when five seconds brought no smaller RTT, half a path's
 * volume for 200 ms. The estimate itself is the least of the last ten seconds.
 */
import type { AckSample, Flow } from "../control.ts";
import { ACKS_PROBE_STOPPING, type BbrModel, CRUISE, PROBE_RTT, STARTUP, STATES } from "./model.ts";
import type { BbrStates } from "./states.ts";

const MIN_RTT_WINDOW = 10_000;
const INTERVAL = 5000;
const DURATION = 200;

export class ProbeRtt {
  /** Sending has begun again after the application was silent; that was rest enough for the path. */
  idleRestart = false;
  private readonly model: BbrModel;
  private readonly states: BbrStates;
  private expired = false;
  private doneAt = 0;
  private roundDone = false;

  constructor(model: BbrModel, states: BbrStates) {
    this.model = model;
    this.states = states;
  }

  update(sample: AckSample): void {
    const { model } = this;
    const { now, rtt } = sample;
    this.expired = now > model.probeRttMinAt + INTERVAL;
    if (rtt > 0 && (rtt < model.probeRttMin || this.expired)) {
      model.probeRttMin = rtt;
      model.probeRttMinAt = now;
    }
    if (model.probeRttMin < model.minRtt || now > model.minRttAt + MIN_RTT_WINDOW) {
      model.minRtt = model.probeRttMin;
      model.minRttAt = model.probeRttMinAt;
    }
  }

  /** True when the state was entered just now: the window is to be remembered. */
  check(flow: Flow, sample: AckSample): boolean {
    const { model } = this;
    const enters = model.state !== PROBE_RTT && this.expired && !this.idleRestart;
    if (enters) {
      model.state = PROBE_RTT;
      this.doneAt = 0;
      model.ackPhase = ACKS_PROBE_STOPPING;
      model.startRound(flow);
    }
    if (sample.rateDelivered > 0) this.idleRestart = false;
    return enters;
  }

  /** True when the look is over and the window may be what it was. */
  handle(flow: Flow): boolean {
    const { model } = this;
    if (model.state !== PROBE_RTT) return false;
    // What is slow by intention says nothing of the path's rate.
    flow.markAppLimited();
    if (this.doneAt === 0) {
      if (flow.pipe > this.window(flow)) return false;
      this.doneAt = flow.now + DURATION;
      this.roundDone = false;
      model.startRound(flow);
      return false;
    }
    if (model.roundStart) this.roundDone = true;
    return this.roundDone && this.finish(flow);
  }

  /** Leaves the state when its time is over. */
  finish(flow: Flow): boolean {
    const { model, states } = this;
    if (this.doneAt === 0 || flow.now <= this.doneAt) return false;
    model.probeRttMinAt = flow.now;
    model.resetShortTerm();
    if (model.fullBwReached) {
      // Not at once a probe: the queue is empty, and raising the volume may cost losses.
      states.startDown(flow);
      model.state = CRUISE;
    } else model.state = STARTUP;
    return true;
  }

  window(flow: Flow): number {
    const { model } = this;
    return Math.max(model.bdp(flow, model.bw, STATES[PROBE_RTT].cwnd), model.minPipe(flow));
  }
}
