/**
 * BBR's states (draft-ietf-ccwg-bbr §5.3): STARTUP finds the rate, DRAIN empties the queue that this took, PROBE_BW goes
 * round DOWN, CRUISE, REFILL and UP, PROBE_RTT looks at the empty path.
 */
import type { AckSample, Flow } from "../control.ts";
import { checkStartupLoss, isTooHigh, resetCongestion } from "./congestion.ts";
import {
  ACKS_INIT,
  ACKS_PROBE_FEEDBACK,
  ACKS_PROBE_STARTING,
  ACKS_PROBE_STOPPING,
  ACKS_REFILLING,
  type BbrModel,
  BETA,
  CRUISE,
  DOWN,
  DRAIN,
  PROBE_RTT,
  REFILL,
  STARTUP,
  UP,
} from "./model.ts";

/** §5.3.3.5.3: between probes, two to three seconds, or as many rounds as Reno would take to grow by a window. */
const PROBE_WAIT_MS = 2000;
const PROBE_WAIT_SPREAD_MS = 1000;
const RENO_ROUNDS = 63;
const DRAIN_ROUNDS = 3;

/** A state that a loss ended, to go back to when the loss turns out to be none; -1: none. */
export const NO_STATE = -1;

export class BbrStates {
  readonly model: BbrModel;
  undoState = NO_STATE;
  private drainRound = 0;

  constructor(model: BbrModel) {
    this.model = model;
  }

  get isProbingBw(): boolean {
    return this.model.state >= DOWN && this.model.state <= UP;
  }

  /** STARTUP and DRAIN, after an acknowledgement. */
  leaveStartup(flow: Flow, sample: AckSample): void {
    const { model } = this;
    if (checkStartupLoss(model, flow, sample)) this.undoState = STARTUP;
    if (model.state === STARTUP && model.fullBwReached) {
      model.state = DRAIN;
      this.drainRound = model.rounds;
    }
    if (model.state !== DRAIN) return;
    if (flow.pipe <= model.inflight(flow) || model.rounds > this.drainRound + DRAIN_ROUNDS) this.startDown(flow);
  }

  // ── PROBE_BW (§5.3.3.6) ──

  startDown(flow: Flow): void {
    const { model } = this;
    resetCongestion(model);
    model.upAckedPerStep = Number.POSITIVE_INFINITY;
    // Chance keeps flows from probing together.
    model.roundsSinceProbe = flow.random() < 0.5 ? 0 : 1;
    model.probeWait = PROBE_WAIT_MS + PROBE_WAIT_SPREAD_MS * flow.random();
    model.cycleAt = flow.now;
    model.ackPhase = ACKS_PROBE_STOPPING;
    model.startRound(flow);
    model.state = DOWN;
  }

  startRefill(flow: Flow): void {
    const { model } = this;
    model.resetShortTerm();
    model.upRounds = model.upAcked = 0;
    model.wasPrecautionary = false;
    model.ackPhase = ACKS_REFILLING;
    model.startRound(flow);
    model.state = REFILL;
  }

  private startUp(flow: Flow, sample: AckSample): void {
    const { model } = this;
    model.isProbeSample = true;
    model.ackPhase = ACKS_PROBE_STARTING;
    model.startRound(flow);
    model.resetFullBw(sample.rate);
    model.state = UP;
    this.raiseSlope(flow);
  }

  updateCycle(flow: Flow, sample: AckSample): void {
    const { model } = this;
    if (!model.fullBwReached || this.adaptLongTerm(flow, sample) || !this.isProbingBw) return;
    if (model.state === REFILL) {
      if (model.roundStart) this.startUp(flow, sample);
    } else if (model.state === UP) {
      if (!this.isTimeToGoDown(flow, sample)) return;
      model.wasTooHigh = false;
      this.startDown(flow);
    } else if (this.isTimeToProbe(flow)) this.startRefill(flow);
    else if (model.state === DOWN && this.isTimeToCruise(flow)) model.state = CRUISE;
  }

  private isTimeToProbe(flow: Flow): boolean {
    const { model } = this;
    const renoRounds = Math.min(model.targetInflight(flow) / flow.mss, RENO_ROUNDS);
    return flow.now > model.cycleAt + model.probeWait || model.roundsSinceProbe >= renoRounds;
  }

  private isTimeToCruise(flow: Flow): boolean {
    const { model } = this;
    return flow.pipe <= model.withHeadroom(flow) && flow.pipe <= model.inflight(flow, model.maxBw);
  }

  private isTimeToGoDown(flow: Flow, sample: AckSample): boolean {
    const { model } = this;
    // After a probe that went too high, only a touch of the bound (§5.3.3.4.2).
    if (model.wasTooHigh && flow.pipe >= model.inflightHi) {
      model.wasPrecautionary = true;
      return true;
    }
    if (!flow.cwndLimited || flow.cwnd < model.inflightHi) return model.fullBwNow;
    model.resetFullBw(sample.rate);
    return false;
  }

  /** One segment more in the first round, two in the next, four, … */
  private raiseSlope(flow: Flow): void {
    const { model } = this;
    const growth = 2 ** model.upRounds;
    model.upRounds = Math.min(model.upRounds + 1, 30);
    model.upAckedPerStep = Math.max(flow.cwnd / growth, flow.mss);
  }

  private probeUpward(flow: Flow, sample: AckSample): void {
    const { model } = this;
    if (!flow.cwndLimited || flow.cwnd < model.inflightHi) return;
    model.upAcked += sample.delivered;
    const steps = Math.floor(model.upAcked / model.upAckedPerStep);
    if (steps > 0) {
      model.upAcked -= steps * model.upAckedPerStep;
      model.inflightHi += steps * flow.mss;
    }
    if (model.roundStart) this.raiseSlope(flow);
  }

  /** Moves the filter of rates on and the bound of the volume up; true when it has changed the state. */
  private adaptLongTerm(flow: Flow, sample: AckSample): boolean {
    const { model } = this;
    if (model.ackPhase === ACKS_PROBE_STARTING && model.roundStart) model.ackPhase = ACKS_PROBE_FEEDBACK;
    if (model.ackPhase === ACKS_PROBE_STOPPING && model.roundStart) {
      model.isProbeSample = false;
      model.ackPhase = ACKS_INIT;
      if (this.isProbingBw && !sample.appLimited) model.advanceMaxBw();
      if (this.isProbingBw && model.wasPrecautionary && !model.wasTooHigh) {
        this.startRefill(flow);
        return true;
      }
    }
    if (isTooHigh(flow, sample.lostSince + model.markedInRound, sample.txInFlight)) {
      // Losses were answered one by one, where there were any; marks are answered here.
      if (model.isProbeSample && model.markedInRound > 0) this.tooHigh(flow, sample.txInFlight, sample.appLimited);
      return false;
    }
    if (model.inflightHi === Number.POSITIVE_INFINITY) return false;
    model.inflightHi = Math.max(model.inflightHi, sample.txInFlight);
    if (model.state === UP) this.probeUpward(flow, sample);
    return false;
  }

  /** The probe put too much in flight; once for each probe. */
  tooHigh(flow: Flow, txInFlight: number, appLimited: boolean): void {
    const { model } = this;
    model.wasTooHigh = true;
    model.isProbeSample = false;
    if (!appLimited) model.inflightHi = Math.max(txInFlight, model.targetInflight(flow) * BETA);
    if (model.state !== UP) return;
    this.undoState = UP;
    this.startDown(flow);
  }

  /** The loss was none: back to where it was found (§5.5.11.2). */
  undo(flow: Flow): void {
    const { model, undoState } = this;
    this.undoState = NO_STATE;
    if (undoState === STARTUP && model.state !== STARTUP) {
      model.fullBwReached = false;
      if (model.state !== PROBE_RTT) model.state = STARTUP;
    } else if (undoState === UP && model.state !== UP && model.state !== PROBE_RTT) this.startRefill(flow);
  }
}
