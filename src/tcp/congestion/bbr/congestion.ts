/**
 * BBR and congestion (draft-ietf-ccwg-bbr §5.5.10): losses while probing bound the volume for long, losses at other times
 * bound rate and volume until the next probe. A byte that a router marked counts as a lost one (§3.6, RFC 3168 §5).
 */
import type { AckSample, Flow, LostSegment } from "../control.ts";
import { type BbrModel, BETA, LOSS_THRESH, REFILL, STARTUP, UP } from "./model.ts";

/** Acknowledgements with losses in a round before STARTUP is over by them. */
const FULL_LOSS_COUNT = 6;

/** Near the start of an acknowledgement: what this round delivered so far, and whether it is over. */
export function updateLatestDelivery(model: BbrModel, flow: Flow, sample: AckSample): void {
  model.bwLatest = Math.max(model.bwLatest, sample.rate);
  model.inflightLatest = Math.max(model.inflightLatest, sample.rateDelivered);
  model.lossRoundStart = sample.priorDelivered >= model.lossRoundEnd;
  if (model.lossRoundStart) model.lossRoundEnd = flow.delivered;
  model.markedInRound += sample.ce;
}

/** Once in a round: after losses, down to what was delivered, by three tenths at most. */
export function adaptLowerBounds(model: BbrModel, flow: Flow): void {
  if (!model.lossRoundStart) return;
  const isProbing = model.state === STARTUP || model.state === REFILL || model.state === UP;
  if (model.lossInRound && !isProbing) {
    if (model.bwLo === Number.POSITIVE_INFINITY) model.bwLo = model.maxBw;
    if (model.inflightLo === Number.POSITIVE_INFINITY) model.inflightLo = flow.cwnd;
    model.bwLo = Math.max(model.bwLatest, BETA * model.bwLo);
    model.inflightLo = Math.max(model.inflightLatest, BETA * model.inflightLo);
  }
  model.lossInRound = false;
}

/** Near the end of an acknowledgement. */
export function advanceLatestDelivery(model: BbrModel, sample: AckSample): void {
  if (!model.lossRoundStart) return;
  model.bwLatest = sample.rate;
  model.inflightLatest = sample.rateDelivered;
  model.markedInRound = 0;
}

export function resetCongestion(model: BbrModel): void {
  model.lossInRound = false;
  model.bwLatest = model.inflightLatest = 0;
}

/** More was lost than probing for bandwidth may cost. Without SACK, any loss. */
export function isTooHigh(flow: Flow, lost: number, txInFlight: number): boolean {
  return lost > txInFlight * LOSS_THRESH || (lost > 0 && !flow.sackOk);
}

/** Bytes in flight at which the losses crossed the threshold, somewhere inside the unit that was lost. */
export function inflightAtLoss(segment: LostSegment, lost: number, bytes: number): number {
  const before = Math.max(segment.txInFlight - bytes, 0);
  const prefix = (LOSS_THRESH * before - (lost - bytes)) / (1 - LOSS_THRESH);
  return before + Math.max(prefix, 0);
}

/** STARTUP ends by losses: a round in recovery, more than the threshold lost, in several places (§5.3.1.3). */
export function checkStartupLoss(model: BbrModel, flow: Flow, sample: AckSample): boolean {
  if (model.state !== STARTUP || model.fullBwReached) return false;
  if (sample.lost > 0 || sample.ce > 0) model.lossEvents++;
  if (!model.lossRoundStart) return false;
  const isSpread = model.lossEvents >= (flow.sackOk ? FULL_LOSS_COUNT : 1);
  const congested = sample.lostSince + model.markedInRound;
  const isFull = isSpread && (flow.inRecovery || model.markedInRound > 0) && isTooHigh(flow, congested, sample.txInFlight);
  model.lossEvents = 0;
  if (isFull) {
    model.fullBwReached = model.fullBwNow = true;
    model.inflightHi = Math.max(model.bdp(flow), model.inflightLatest);
  }
  return isFull;
}
