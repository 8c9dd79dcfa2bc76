/**
 * What a configuration wants opened is opened before anything of it is done: that a device cannot be is known while everything is as it
 * was.
 */
import type { LoomError } from "../base/errors.ts";
import type { Host, InterfaceOptions, PreparedInterface } from "../host/host.ts";

/** The kernel's interface, a queue of it, a socket's path, a generator's memory or the last port is another's now. */
const TAKEN = ["EBUSY", "EADDRINUSE", "ENOMEM"];

export class Opening {
  private readonly prepared = new Map<string, PreparedInterface>();

  /** All of them or none. `leaving`: interfaces go in this change; what is taken now is tried again when they are gone. */
  static async open(host: Host, wanted: readonly InterfaceOptions[], leaving: boolean): Promise<Opening> {
    const opening = new Opening();
    try {
      for (const options of wanted) await opening.add(host, options, leaving);
    } catch (error) {
      opening.close();
      throw error;
    }
    return opening;
  }

  private async add(host: Host, options: InterfaceOptions, leaving: boolean): Promise<void> {
    try {
      this.prepared.set(options.name as string, await host.prepareInterface(options));
    } catch (error) {
      if (!leaving || !TAKEN.includes((error as LoomError).code)) throw error;
    }
  }

  /** What was opened for an interface. */
  of(name: string): PreparedInterface | undefined {
    return this.prepared.get(name);
  }

  /** Closes what became no interface. */
  close(): void {
    for (const each of this.prepared.values()) each.close();
  }
}
