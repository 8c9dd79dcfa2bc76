/** What several tests need: seeds that are printed, engines of a convenient size, packets through an engine. */
import { readFileSync } from "node:fs";
import { Engine, type EngineOptions, Random } from "../src/index.ts";
import { STATES } from "../src/tcp/states.ts";
import type { Tcb } from "../src/tcp/tcb.ts";

/** Seed of this run: SEED from the environment to repeat one. */
export const SEED = Number(process.env.SEED ?? Date.now() & 0x7fffffff);

/** A seeded generator whose seed is printed when the test fails. */
export function random(t: { diagnostic(message: string): void }): Random {
  t.diagnostic(`SEED=${SEED}`);
  return new Random(SEED);
}

export const BUILDS = ["shared", "plain"] as const;

export function engineOf(build: "shared" | "plain", options: EngineOptions = {}): Promise<Engine> {
  return Engine.create({ build, buffers: 512, routes4: 20_000, routes6: 5_000, secret: new Uint8Array(8), ...options });
}

/** A file of this repository. */
export function fixture(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../${path}`, import.meta.url)));
}

/** State's name as RFC 9293 spells it. */
export const stateName = (tcb: Tcb) => STATES[tcb.state];

export const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 1, last);

/** Everything that ports hold for their devices, and punts, as the engine's own counters would name them. */
export interface Outcome {
  readonly sent: { port: number; bytes: Uint8Array }[];
  readonly punted: { reason: string; bytes: Uint8Array }[];
}

/** Runs frames through port `ingress` and collects what comes out. */
export function through(engine: Engine, frames: readonly Uint8Array[], ingress = 0): Outcome {
  const sent: Outcome["sent"] = [];
  const punted: Outcome["punted"] = [];
  engine.punted = (punt) => {
    punted.push({ reason: punt.reason, bytes: punt.bytes() });
    punt.release();
  };
  for (const frame of frames) {
    if (!engine.port(ingress).receive(frame)) throw new Error("no room for a test's frame");
    engine.poll();
    for (let p = 0; p < engine.memory.layout.sizes.ports - engine.memory.layout.sizes.bridges; p++) {
      engine.port(p).transmitted((bytes) => sent.push({ port: p, bytes: bytes.slice() }));
    }
  }
  return { sent, punted };
}
