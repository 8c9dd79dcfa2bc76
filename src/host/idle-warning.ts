/** An engine that several hosts share is run by its owner: who forgets that waits for ever, and is told why. */
import { realClock } from "../base/clock.ts";
import type { Engine } from "../engine/engine.ts";

const PATIENCE_MS = 1000;
const watched = new WeakSet<Engine>();

/** Says so once when a second has passed and the engine has done nothing. In virtual time the owner knows what he does. */
export function warnUnlessRun(engine: Engine): void {
  if (engine.clock !== realClock || watched.has(engine)) return;
  watched.add(engine);
  const timer = setTimeout(() => {
    console.warn("packetloom: the engine does not run, so its hosts neither send nor receive; call engine.start()");
  }, PATIENCE_MS);
  engine.whenRun(() => clearTimeout(timer));
  engine.beforeClose(async () => clearTimeout(timer));
}
