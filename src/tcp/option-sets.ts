/** Options that many connections have in common: one object for all that were made alike. */
import { DEFAULT_OPTIONS, type TcpOptions } from "./tcb.ts";

type Key = keyof TcpOptions;
const KEYS: ReadonlySet<string> = new Set(Object.keys(DEFAULT_OPTIONS));

export class OptionSets {
  /** What a new connection has unless it says otherwise. */
  private defaults: Readonly<TcpOptions>;
  /** The set that was made last: its keys that were given, and the set. */
  private given: ReadonlyMap<string, unknown> = new Map();
  private last: Readonly<TcpOptions>;

  constructor(defaults: Partial<TcpOptions> = {}) {
    this.defaults = this.last = { ...DEFAULT_OPTIONS, ...defaults };
  }

  get common(): Readonly<TcpOptions> {
    return this.defaults;
  }

  /** For connections that begin from now on. */
  change(defaults: Partial<TcpOptions>): void {
    this.defaults = this.last = { ...this.defaults, ...defaults };
    this.given = new Map();
  }

  /** The defaults with what `given` names of them; other keys are not looked at. Not to be changed: others have it too. */
  with(given: Partial<TcpOptions>): Readonly<TcpOptions> {
    if (!this.isLast(given)) {
      const keys = Object.keys(given).filter((key) => isNamed(given, key)) as Key[];
      this.given = new Map(keys.map((key) => [key, given[key]]));
      this.last = keys.length === 0 ? this.defaults : { ...this.defaults, ...Object.fromEntries(this.given) };
    }
    return this.last;
  }

  private isLast(given: Partial<TcpOptions>): boolean {
    let same = 0;
    for (const key in given) {
      if (!isNamed(given, key)) continue;
      if (!this.given.has(key) || this.given.get(key) !== given[key as Key]) return false;
      same++;
    }
    return same === this.given.size;
  }
}

function isNamed(given: Partial<TcpOptions>, key: string): boolean {
  return KEYS.has(key) && given[key as Key] !== undefined;
}
