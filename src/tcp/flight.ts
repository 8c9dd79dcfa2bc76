/**
 * What a connection remembers only while something of it is under way: sent and not acknowledged, waiting to be sent, or an
 * acknowledgement that is owed. A connection that is at rest has none of it; its next flight begins with one that another
 * connection has left (idle connections keep 1.8 KB instead of 3.5, and short ones make less garbage).
 */
import { Timer } from "../base/timers.ts";
import { Scoreboard } from "./scoreboard.ts";

/** Flights kept for the next connections. */
const MOST_SPARE = 1024;

/** What the timers do, with the connection whose flight it is. */
export interface FlightActions {
  retransmit(connection: never): void;
  ack(connection: never): void;
  pace(connection: never): void;
}

/** Whose flight it is. */
export interface Flying {
  readonly una: number;
  readonly now: number;
}

/** Sequence range that arrived ahead of its turn. */
export interface Range {
  start: number;
  end: number;
}

export class Flight {
  readonly sent = new Scoreboard();

  // ── Timers ──
  readonly retransmitTimer: Timer;
  readonly ackTimer: Timer;
  /** Releases what pacing holds back. */
  readonly paceTimer: Timer;
  timerMode: "none" | "rto" | "tlp" | "rack" | "persist" = "none";
  /** The retransmission timer counts anew: something was acknowledged. */
  rearm = false;
  retries = 0;
  /** When the oldest unacknowledged byte was first sent; for the user timeout. */
  stalledSince = 0;

  // ── Receiving ──
  /** Ranges that arrived early, in order; and those of them that were last heard of, newest first (RFC 2018 §4). */
  readonly early: Range[] = [];
  readonly recent: Range[] = [];

  // ── Use of the window ──
  /** How the last flight used the window: most bytes in flight, and whether the window was full; until this is acknowledged. */
  usedMost = 0;
  cwndLimited = false;
  usedUntil = 0;
  /** When the send buffer was last measured, and `bytesAcked` then. */
  spaceAt = 0;
  spaceMark = 0;
  /** Pacing held something back. */
  heldBack = false;
  /** Small segments have waited long enough. */
  pushing = false;

  // ── Loss recovery ──
  inRecovery = false;
  afterTimeout = false;
  /** In a reduction that marks, not losses, asked for (Linux's CWR state). */
  inCwr = false;
  recoveryEnd = 0;
  duplicateAcks = 0;
  /** PRR (RFC 6937). */
  prrDelivered = 0;
  prrOut = 0;
  recoverFlight = 0;
  /** F-RTO (RFC 5682): it is not decided yet whether the timeout was right; and new data is to go before what was lost. */
  frto = false;
  triesNew = false;
  /** Timestamp at the last timeout, 0 when its question is answered. */
  timeoutStamp = 0;
  /** Segments sent again in this reduction that no D-SACK has shown to be for nothing; -1: it cannot be undone any more. */
  undoCount = -1;
  /** Where the reduction began, and our timestamp at its first retransmission (0: none yet). */
  undoFrom = 0;
  undoStamp = 0;
  /** RACK (RFC 8985). */
  rackTime = 0;
  rackOrder = 0;
  rackEnd = 0;
  rackRtt = 0;
  forwardAck = 0;
  /** The tail-loss probe. */
  probing = false;
  probeEnd = 0;
  probeWasRetransmission = false;
  /** The peer said that the probe came twice. */
  probeCameTwice = false;

  constructor(actions: FlightActions) {
    const of = (act: (connection: never) => void) => new Timer(act, undefined);
    this.retransmitTimer = of(actions.retransmit);
    this.ackTimer = of(actions.ack);
    this.paceTimer = of(actions.pace);
  }

  /** A connection's flight begins. */
  begin(connection: Flying): void {
    this.retransmitTimer.owner = this.ackTimer.owner = this.paceTimer.owner = connection;
    this.timerMode = "none";
    this.rearm = this.cwndLimited = this.heldBack = this.pushing = false;
    this.retries = this.usedMost = this.spaceAt = this.spaceMark = 0;
    this.stalledSince = connection.now;
    this.usedUntil = this.rackEnd = this.forwardAck = connection.una;
    this.inRecovery = this.afterTimeout = this.inCwr = this.frto = this.triesNew = false;
    this.recoveryEnd = this.duplicateAcks = this.prrDelivered = this.prrOut = this.recoverFlight = 0;
    this.timeoutStamp = this.undoFrom = this.undoStamp = 0;
    this.undoCount = -1;
    this.rackTime = this.rackOrder = this.rackRtt = 0;
    this.probing = this.probeWasRetransmission = this.probeCameTwice = false;
    this.probeEnd = connection.una;
  }

  /** Nothing of it is left. */
  end(): void {
    this.sent.clear();
    if (this.early.length > 0) this.early.length = this.recent.length = 0;
    idle(this.retransmitTimer);
    idle(this.ackTimer);
    idle(this.paceTimer);
  }

  /** Nothing is under way any more, and nothing is to be remembered of it. */
  get isOver(): boolean {
    const { sent, retransmitTimer, ackTimer, paceTimer } = this;
    if (sent.first || this.early.length > 0 || retransmitTimer.armed || ackTimer.armed || paceTimer.armed) return false;
    return this.undoCount <= 0 && !this.inRecovery && !this.afterTimeout && !this.inCwr && !this.probing;
  }
}

/** It stays where it is in the heap, and does nothing when it comes up there. */
function idle(timer: Timer): void {
  timer.at = Number.POSITIVE_INFINITY;
  timer.owner = undefined;
}

/** Flights of one host, used again and again. */
export class Flights {
  private readonly spare: Flight[] = [];
  private readonly actions: FlightActions;

  constructor(actions: FlightActions) {
    this.actions = actions;
  }

  take(connection: Flying): Flight {
    const flight = this.spare.pop() ?? new Flight(this.actions);
    flight.begin(connection);
    return flight;
  }

  /** Over, or ended with its connection. */
  give(flight: Flight): void {
    flight.end();
    if (this.spare.length < MOST_SPARE) this.spare.push(flight);
  }
}

/** What a connection at rest has: nothing under way. Shared, so nobody may write to it. */
export const AT_REST: Flight = freeze(new Flight({ retransmit: () => {}, ack: () => {}, pace: () => {} }));

function freeze(flight: Flight): Flight {
  for (const part of Object.values(flight)) if (typeof part === "object") Object.freeze(part);
  return Object.freeze(flight);
}
