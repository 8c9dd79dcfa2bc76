/**
 * BBR version 3 (draft-ietf-ccwg-bbr): window and pacing rate follow a model of the path, its bandwidth and its round-trip
 * time, instead of the losses alone. Here: what happens on each event, and what follows for rate and window (§5.6).
 */
import { type AckSample, type CongestionControl, type Flow, initialWindow, type LostSegment } from "../control.ts";
import { adaptLowerBounds, advanceLatestDelivery, inflightAtLoss, isTooHigh, updateLatestDelivery } from "./congestion.ts";
import { BbrModel, CRUISE, DOWN, PROBE_RTT, STATES } from "./model.ts";
import { ProbeRtt } from "./probe-rtt.ts";
import { BbrStates, NO_STATE } from "./states.ts";

/** Paces one percent below the estimate, so that queues shrink (§5.6.2). */
const PACING_MARGIN = 0.99;

export class Bbr implements CongestionControl {
  readonly name = "bbr";
  readonly steers = true;
  readonly usesEcn = true;
  private readonly model = new BbrModel();
  private readonly states = new BbrStates(this.model);
  private readonly probeRtt = new ProbeRtt(this.model, this.states);
  private begun = false;
  private hasRtt = false;
  /** The window before recovery or PROBE_RTT, and whether recovery holds it. */
  private priorCwnd = 0;
  private inLoss = false;
  private readonly undo = { bwLo: 0, inflightLo: 0, inflightHi: 0 };

  // ── Events ──

  /** §5.4.1: after silence, at the rate that was known, without looking for the RTT. */
  starting(flow: Flow, now: number): void {
    const { model, probeRtt } = this;
    this.begin(flow);
    if (!flow.appLimited || flow.delivered === 0) return;
    probeRtt.idleRestart = true;
    model.extraSince = now;
    if (this.states.isProbingBw) this.setPacingRate(flow, 1);
    else if (model.state === PROBE_RTT && probeRtt.finish(flow)) this.restoreCwnd(flow);
  }

  acked(flow: Flow, sample: AckSample): void {
    const { model, states, probeRtt } = this;
    this.begin(flow);
    if (sample.ce > 0) this.noteLoss(flow);
    if (sample.delivered === 0) return;
    updateLatestDelivery(model, flow, sample);
    model.updateRound(flow, sample);
    model.updateMaxBw(sample);
    adaptLowerBounds(model, flow);
    model.updateAggregation(flow, sample);
    model.checkFullBw(sample);
    states.leaveStartup(flow, sample);
    states.updateCycle(flow, sample);
    probeRtt.update(sample);
    if (probeRtt.check(flow, sample)) this.saveCwnd(flow);
    if (probeRtt.handle(flow)) this.restoreCwnd(flow);
    advanceLatestDelivery(model, sample);
    model.boundBw();
    this.setPacingRate(flow, STATES[model.state].pacing);
    this.setCwnd(flow, sample);
  }

  segmentLost(flow: Flow, segment: LostSegment, bytes: number): void {
    this.noteLoss(flow);
    if (!this.model.isProbeSample) return;
    const lost = flow.lost - segment.priorLost;
    if (isTooHigh(flow, lost, segment.txInFlight)) {
      this.states.tooHigh(flow, inflightAtLoss(segment, lost, bytes), segment.appLimited);
    }
  }

  /** Recovery begins, or a probe has repaired a loss: the window is not reduced but remembered. */
  reduce(flow: Flow): number {
    this.saveCwnd(flow);
    this.noteLoss(flow);
    this.saveForUndo();
    this.inLoss = true;
    return flow.ssthresh;
  }

  timedOut(flow: Flow): void {
    this.saveCwnd(flow);
    this.inLoss = true;
  }

  recovered(flow: Flow): void {
    this.inLoss = false;
    this.restoreCwnd(flow);
  }

  undone(flow: Flow): void {
    const { model, undo } = this;
    this.recovered(flow);
    model.lossInRound = false;
    model.resetFullBw();
    model.bwLo = Math.max(model.bwLo, undo.bwLo);
    model.inflightLo = Math.max(model.inflightLo, undo.inflightLo);
    model.inflightHi = Math.max(model.inflightHi, undo.inflightHi);
    this.states.undo(flow);
  }

  // ── Beginning, memory ──

  /** §5.2.1, and the first pace: the initial window in a round trip, or in a millisecond while that is unknown. */
  private begin(flow: Flow): void {
    const { model } = this;
    if (!this.begun) {
      this.begun = true;
      model.minRttAt = model.probeRttMinAt = model.extraSince = flow.now;
      if (flow.srtt > 0) model.minRtt = flow.srtt;
      model.roundEnd = flow.delivered;
    }
    if (this.hasRtt) return;
    this.hasRtt = flow.srtt > 0;
    flow.pacingRate = (STATES[0].pacing * initialWindow(flow.mss) * 1000) / (flow.srtt || 1);
  }

  private noteLoss(flow: Flow): void {
    const { model } = this;
    if (!model.lossInRound) {
      model.lossRoundEnd = flow.delivered;
      this.saveForUndo();
    }
    model.lossInRound = true;
  }

  private saveForUndo(): void {
    const { model, undo } = this;
    this.states.undoState = NO_STATE;
    undo.bwLo = model.bwLo;
    undo.inflightLo = model.inflightLo;
    undo.inflightHi = model.inflightHi;
  }

  private saveCwnd(flow: Flow): void {
    const isGood = !this.inLoss && this.model.state !== PROBE_RTT;
    this.priorCwnd = isGood ? flow.cwnd : Math.max(this.priorCwnd, flow.cwnd);
  }

  private restoreCwnd(flow: Flow): void {
    flow.cwnd = Math.max(flow.cwnd, this.priorCwnd);
  }

  // ── Rate and window ──

  private setPacingRate(flow: Flow, gain: number): void {
    const rate = gain * this.model.bw * PACING_MARGIN;
    if (rate > 0 && (this.model.fullBwReached || rate > flow.pacingRate)) flow.pacingRate = rate;
  }

  /** §5.6.4.6: up by what arrived, down at once. */
  private setCwnd(flow: Flow, sample: AckSample): void {
    const { model } = this;
    const most = model.withQuanta(flow, model.bdp(flow, model.bw, STATES[model.state].cwnd) + model.aggregation);
    if (model.fullBwReached) flow.cwnd = Math.min(flow.cwnd + sample.delivered, most);
    else if (flow.cwnd < most || flow.delivered < initialWindow(flow.mss)) flow.cwnd += sample.delivered;
    flow.cwnd = Math.max(flow.cwnd, model.minPipe(flow));
    if (model.state === PROBE_RTT) flow.cwnd = Math.min(flow.cwnd, this.probeRtt.window(flow));
    flow.cwnd = Math.min(flow.cwnd, this.volumeCap(flow));
  }

  /** §5.6.4.7. */
  private volumeCap(flow: Flow): number {
    const { model } = this;
    let cap = Number.POSITIVE_INFINITY;
    if (model.state === PROBE_RTT || model.state === CRUISE) cap = model.withHeadroom(flow);
    else if (model.state >= DOWN) cap = model.inflightHi;
    return Math.max(Math.min(cap, model.inflightLo), model.minPipe(flow));
  }

  /** Rates in bytes a second, volumes in bytes, times in milliseconds; a bound that is not set is absent. */
  state(): Record<string, number | string> {
    const { model } = this;
    const { mode, phase, pacing, cwnd } = STATES[model.state];
    const all: Record<string, number | string> = {
      mode,
      phase,
      bw: model.bw,
      bw_hi: model.maxBw,
      bw_lo: model.bwLo,
      inflight_hi: model.inflightHi,
      inflight_lo: model.inflightLo,
      min_rtt: model.minRtt,
      extra_acked: model.aggregation,
      pacing_gain: pacing,
      cwnd_gain: cwnd,
      rounds: model.rounds,
      full_bw_reached: model.fullBwReached ? 1 : 0,
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== "" && value !== Number.POSITIVE_INFINITY));
  }
}
