/** Clients that a server can call by Reconfigure: their keys, and calls that wait to be answered (RFC 8415 §18.3.11, §20.4). */
import type { Alarms } from "../base/alarms.ts";
import { secret } from "../base/random.ts";
import { type Auth6, type Dhcp6Message, TYPE6 } from "./message6.ts";
import { encodeReconfigure, keyOption, type ReconfigureType } from "./reconfigure6.ts";

/** REC_TIMEOUT (ms) and REC_MAX_RC (§7.6). */
const FIRST_WAIT = 2000;
const MOST_CALLS = 8;

const TYPES = { renew: TYPE6.RENEW, rebind: TYPE6.REBIND, information: TYPE6.INFORMATION_REQUEST } as const;
const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

interface Known {
  readonly clientId: Uint8Array;
  readonly key: Uint8Array;
  /** Where its last message came from, when no relay was between. */
  source: string | undefined;
  /** The call that is not answered yet. */
  stop: (() => void) | undefined;
}

export interface CallersWorld {
  readonly duid: Uint8Array;
  readonly alarms: Alarms;
  readonly most: number;
  call(message: Uint8Array, address: string): void;
}

export class Callers6 {
  private readonly world: CallersWorld;
  private readonly known = new Map<string, Known>();
  /** Rises with every message that is signed or shows a key. */
  private replay = 0n;

  constructor(world: CallersWorld) {
    this.world = world;
  }

  /** The option that shows a client its key, in the first exchange (§20.4.2); undefined when it knows it. */
  show({ clientId, type }: Dhcp6Message, source: string | undefined): Auth6 | undefined {
    const client = hex(clientId as Uint8Array);
    const before = this.known.get(client);
    const isFirst = type === TYPE6.SOLICIT || type === TYPE6.REQUEST || type === TYPE6.INFORMATION_REQUEST;
    if (before && !isFirst) {
      before.source = source;
      return undefined;
    }
    // One that renews what another server gave is shown a key too: it has none of ours.
    const known = before ?? { clientId: (clientId as Uint8Array).slice(), key: secret(16), source, stop: undefined };
    known.source = source;
    this.known.delete(client);
    this.known.set(client, known);
    if (this.known.size > this.world.most) this.forget(this.known.keys().next().value as string);
    return keyOption(known.key, ++this.replay);
  }

  private forget(client: string): void {
    this.known.get(client)?.stop?.();
    this.known.delete(client);
  }

  /** A client said something: that answers its call; who gives back or declines is not called again. */
  heard(client: string, type: number): void {
    const known = this.known.get(client);
    if (type === TYPE6.RELEASE) this.forget(client);
    else if (type === TYPE6.RENEW || type === TYPE6.REBIND || type === TYPE6.INFORMATION_REQUEST) {
      known?.stop?.();
      if (known) known.stop = undefined;
    }
  }

  /** Calls one client, or all; returns how many. */
  call(what: keyof typeof TYPES, client: string | undefined, addressOf: (client: string) => string | undefined): number {
    let count = 0;
    for (const [each, known] of this.known) {
      if (client !== undefined && client !== each) continue;
      const address = known.source ?? addressOf(each);
      if (address === undefined) continue;
      count++;
      known.stop?.();
      this.send(known, TYPES[what], address, FIRST_WAIT, 1);
    }
    return count;
  }

  private send(known: Known, type: ReconfigureType, address: string, wait: number, calls: number): void {
    const { duid, alarms, call } = this.world;
    call(encodeReconfigure({ clientId: known.clientId, serverId: duid }, type, known.key, ++this.replay), address);
    known.stop = calls < MOST_CALLS ? alarms.after(wait, () => this.send(known, type, address, 2 * wait, calls + 1)) : undefined;
  }
}
