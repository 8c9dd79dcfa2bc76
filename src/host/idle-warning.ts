/** An engine that several hosts share is run by its owner: who forgets that waits for ever, and is told why. */
import { realClock } from "../base/clock.ts";
import type { Engine } from "../engine/engine.ts";

const LOOKS = 10;
const LOOK_MS = 100;
const watched = new WeakSet<Engine>();

/** Says so once when a second has passed and the engine has done nothing. In virtual time the owner knows what he does. */
export function warnUnlessRun(engine: Engine): void {
  if (engine.clock !== realClock || engine.hasRun || watched.has(engine)) return;
  watched.add(engine);
  let looks = 0;
  const timer = setInterval(() => {
    if (++looks < LOOKS && !engine.hasRun) return;
    clearInterval(timer);
    if (!engine.hasRun) console.warn("packetloom: the engine does not run, so its hosts neither send nor receive; call engine.start()");
  }, LOOK_MS);
  engine.beforeClose(async () => clearInterval(timer));
}
