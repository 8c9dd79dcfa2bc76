/** Who hears of replies to echo requests, by their identifier (RFC 792, RFC 4443 §4): what ports are to UDP. */
import * as abi from "../../assembly/abi.ts";
import { u16 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IcmpErrorReport } from "../ip/icmp.ts";
import type { IpStack, Transport } from "../ip/stack.ts";
import { PROTOCOL } from "../wire/index.ts";

const IDENTIFIERS = 65_536;
const NOBODY: readonly EchoUser[] = [];

export interface EchoUser {
  /** May others with this wish have its identifier, too? The last of them gets what is for one. */
  readonly shares: boolean;
  /** A reply, from its type on; its packet is the one in hand. False: it is for somebody else. */
  replied(message: Uint8Array, id: number): boolean;
  /** A request with this user's identifier came to grief. False: it was somebody else's. */
  toldOf(report: IcmpErrorReport): boolean;
  close(why: LoomError): void;
}

export class EchoLayer implements Transport {
  readonly stack: IpStack;
  /** By identifier, the last first. */
  private readonly users = { 4: new Map<number, readonly EchoUser[]>(), 6: new Map<number, readonly EchoUser[]>() };
  private over: LoomError | undefined;

  constructor(stack: IpStack) {
    this.stack = stack;
    stack.setTransport(PROTOCOL.icmp, this);
    stack.setTransport(PROTOCOL.icmpv6, this);
  }

  close(why: LoomError): void {
    if (this.over) return;
    this.over = why;
    for (const user of new Set([...this.users[4].values(), ...this.users[6].values()].flat())) user.close(why);
  }

  /** An identifier: this one, or (0) one that is free in all of `families`. Throws EADDRINUSE for one that is not to be shared. */
  choose(families: readonly (4 | 6)[], wanted = 0, shares = false): number {
    if (this.over) throw this.over;
    if (wanted === 0) return this.free(families);
    for (const user of families.flatMap((family) => this.of(family, wanted)))
      if (!shares || !user.shares) throw new LoomError("EADDRINUSE", `echo identifier ${wanted} is in use`);
    return wanted;
  }

  add(user: EchoUser, families: readonly (4 | 6)[], identifier: number): void {
    for (const family of families) this.users[family].set(identifier, [user, ...this.of(family, identifier)]);
  }

  release(user: EchoUser, families: readonly (4 | 6)[], identifier: number): void {
    for (const family of families) {
      const rest = this.of(family, identifier).filter((each) => each !== user);
      if (rest.length > 0) this.users[family].set(identifier, rest);
      else this.users[family].delete(identifier);
    }
  }

  private of(family: 4 | 6, identifier: number): readonly EchoUser[] {
    return this.users[family].get(identifier) ?? NOBODY;
  }

  private isFree(identifier: number, families: readonly (4 | 6)[]): boolean {
    return families.every((family) => !this.users[family].has(identifier));
  }

  private free(families: readonly (4 | 6)[]): number {
    const start = this.stack.random.below(IDENTIFIERS);
    for (let i = 0; i < IDENTIFIERS; i++) {
      const identifier = (start + i) % IDENTIFIERS;
      if (identifier !== 0 && this.isFree(identifier, families)) return identifier;
    }
    throw new LoomError("EADDRINUSE", "all echo identifiers are in use");
  }

  receive(id: number): void {
    const { words, engine } = this.stack;
    const start = words[abi.SEG_PAYLOAD / 4] - engine.memory.getU16(engine.memory.descriptor(id) + abi.DESC_L3);
    const message = this.stack.packetBytes(id).subarray(start, start + words[abi.SEG_PAYLOAD_LENGTH / 4]);
    for (const user of this.of((words[0] & 255) as 4 | 6, u16(message, 4))) if (user.replied(message, id)) return;
  }

  failed(report: IcmpErrorReport): boolean {
    return this.of(report.source.family, u16(report.transport, 4)).some((user) => user.toldOf(report));
  }
}
