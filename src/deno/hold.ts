/** `ref` and `unref` of Deno's resources: whether the process waits for them, once the engine alone does not keep it. */
import type { Engine } from "../engine/engine.ts";

export class Hold {
  private readonly engine: Engine;
  private holds = false;
  private isOver = false;

  constructor(engine: Engine) {
    this.engine = engine;
    this.ref();
  }

  ref(): void {
    if (this.holds || this.isOver) return;
    this.holds = true;
    this.engine.hold();
  }

  unref(): void {
    if (!this.holds) return;
    this.holds = false;
    this.engine.letGo();
  }

  end(): void {
    this.unref();
    this.isOver = true;
  }
}

/** The process waits while something is being done. */
export async function holding<T>(engine: Engine, what: Promise<T>): Promise<T> {
  const hold = new Hold(engine);
  try {
    return await what;
  } finally {
    hold.end();
  }
}

/** Settles what waits for a resource that is closed meanwhile. */
export class Closing {
  isClosed = false;
  private reject!: (error: Error) => void;
  private readonly promise: Promise<never>;

  constructor() {
    this.promise = new Promise((_, reject) => {
      this.reject = reject;
    });
    // Nobody may be waiting.
    this.promise.catch(() => {});
  }

  close(error: Error): void {
    this.isClosed = true;
    this.reject(error);
  }

  /** What comes first: the end of `what`, or the close. */
  race<T>(what: Promise<T>): Promise<T> {
    return Promise.race([what, this.promise]);
  }
}
