/**
 * The life of a backend, as a table: what may happen to it in which state, and what it is then.
 *
 *                    failed                     passed (with slow start)            ramped
 *   up, slow-start ─────────▶ down        down ─────────────────────────▶ slow-start ──────▶ up
 *                                              passed (without)
 *                                         down ────────────────▶ up
 *
 *   any of these ─ drain ─▶ draining ─ drained ─▶ disabled      any ─ disable ─▶ disabled
 *   draining, disabled ─ enable ─▶ down (until its checks pass), or up where nothing checks it
 *
 * New flows go to "up" and "slow-start" alone. In every state the flows that it has live on, until their own end.
 */
export type BackendState = "up" | "down" | "slow-start" | "draining" | "disabled";

/** Of health checks: failed, passed. Of time: ramped, drained. Of whoever operates it: drain, disable, enable. */
export type BackendEvent = "failed" | "passed" | "ramped" | "drained" | "drain" | "disable" | "enable";

export interface LifeOptions {
  /** Something checks its health: it is not trusted before it has passed. */
  readonly isChecked: boolean;
  readonly hasSlowStart: boolean;
}

const OUT: Partial<Record<BackendEvent, BackendState>> = { drain: "draining", disable: "disabled" };

const NEXT: Record<BackendState, Partial<Record<BackendEvent, BackendState>>> = {
  up: { ...OUT, failed: "down" },
  down: { ...OUT, passed: "slow-start" },
  "slow-start": { ...OUT, failed: "down", ramped: "up" },
  draining: { disable: "disabled", drained: "disabled", enable: "down" },
  disabled: { enable: "down" },
};

/** The state after an event; the same when the event means nothing there. */
export function nextState(state: BackendState, event: BackendEvent, { isChecked, hasSlowStart }: LifeOptions): BackendState {
  let next = NEXT[state][event] ?? state;
  if (event === "enable" && next === "down" && !isChecked) next = "slow-start";
  return next === "slow-start" && !hasSlowStart ? "up" : next;
}

/** It takes new flows. */
export function isOpen(state: BackendState): boolean {
  return state === "up" || state === "slow-start";
}

/** Its health is checked. */
export function isWatched(state: BackendState): boolean {
  return state !== "disabled";
}
