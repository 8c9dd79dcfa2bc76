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
  private error: Error | undefined;
  /** A promise that lives as long as the resource would keep whatever was ever raced with it. */
  private readonly waiting = new Set<(error: Error) => void>();

  close(error: Error): void {
    this.isClosed = true;
    this.error = error;
    for (const reject of this.waiting) reject(error);
    this.waiting.clear();
  }

  /** What comes first: the end of `what`, or the close. */
  race<T>(what: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.error) reject(this.error);
      this.waiting.add(reject);
      const over = () => this.waiting.delete(reject);
      what.then(
        (value) => {
          over();
          resolve(value);
        },
        (error) => {
          over();
          reject(error);
        },
      );
    });
  }
}
