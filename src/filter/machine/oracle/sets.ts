/** Sets as a list that is searched from the front: obvious, slow. */
import type { Bytes, Expression, SetElement, SetSpec } from "../../expressions.ts";
import { hex } from "../same.ts";
import { order } from "./packet.ts";
import type { Kept } from "./state.ts";
import { keep } from "./state.ts";

export interface Element {
  readonly spec: SetElement;
  readonly key: Bytes;
  data?: Bytes;
  /** Nanoseconds; undefined: never. */
  expires?: bigint;
  life: bigint;
  readonly kept: readonly Kept[];
}

const MILLISECOND = 1_000_000n;

export class PlainSet {
  readonly spec: SetSpec;
  readonly carried: readonly Expression[];
  private readonly fields: { offset: number; bytes: number }[] = [];
  private readonly keyBytes: number;
  private readonly elements = new Map<string, Element>();
  private catchAll: Element | undefined;
  private nextSearch = 0n;

  constructor(spec: SetSpec, carried: readonly Expression[], now: bigint) {
    this.spec = spec;
    this.carried = carried;
    let offset = 0;
    for (const bytes of spec.fields.length > 0 ? spec.fields : [spec.keyLength]) {
      this.fields.push({ offset, bytes });
      offset += Math.ceil(bytes / 4) * 4;
    }
    this.keyBytes = offset;
    for (const element of spec.elements) this.add(element, now);
  }

  /** The bytes of a key that count. */
  get keyLength(): number {
    return this.keyBytes;
  }

  private padded(key: Bytes): Bytes {
    const out = new Uint8Array(this.keyBytes);
    out.set(key.subarray(0, this.keyBytes));
    return out;
  }

  add(spec: SetElement, now: bigint): void {
    const lifeMs = spec.timeoutMs ?? this.spec.timeoutMs ?? 0;
    const life = this.spec.timeouts ? BigInt(Math.round(lifeMs * 1e6)) : 0n;
    const left = spec.expiresMs === undefined ? life : BigInt(Math.round(spec.expiresMs * 1e6));
    const has = spec.expressions !== undefined || this.spec.expressions !== undefined;
    const kept = has ? this.carried.map((e, i) => keep(spec.expressions?.[i]?.op === e.op ? spec.expressions[i] : e, now)) : [];
    const element: Element = {
      spec,
      key: this.padded(spec.key),
      data: spec.data,
      life,
      expires: life === 0n ? undefined : now + left,
      kept,
    };
    if (spec.catchall) this.catchAll = element;
    else this.elements.set(`${hex(element.key)}-${hex(spec.keyEnd ?? spec.key)}`, element);
  }

  get hasCatchAll(): boolean {
    return this.catchAll !== undefined;
  }

  private live(element: Element, now: bigint): boolean {
    return element.expires === undefined || element.expires > now;
  }

  private matches(element: Element, key: Bytes): boolean {
    const { keyEnd } = element.spec;
    if (!this.spec.interval) return order(element.key, key) === 0;
    const end = this.padded(keyEnd ?? element.spec.key);
    return this.fields.every(({ offset, bytes }) => {
      const field = (from: Bytes) => from.subarray(offset, offset + bytes);
      return order(field(key), field(element.key)) >= 0 && order(field(key), field(end)) <= 0;
    });
  }

  /** The first live element that the key falls under; the catch-all one for the rest. */
  find(key: Bytes, now: bigint): Element | undefined {
    for (const element of this.elements.values()) if (this.matches(element, key)) return this.live(element, now) ? element : this.catchAll;
    return this.catchAll;
  }

  /** What a rule does that adds. */
  update(key: Bytes, data: Bytes | undefined, life: bigint, refresh: boolean, now: bigint): Element | undefined {
    if (this.spec.interval) return undefined;
    const at = [...this.elements].find(([, element]) => this.matches(element, key));
    if (at && this.live(at[1], now)) {
      const element = at[1];
      if (refresh && element.expires !== undefined) this.renew(element, life, now);
      return element;
    }
    if (at) this.elements.delete(at[0]);
    const size = this.spec.size ?? 0;
    if (size !== 0 && this.elements.size >= size) this.search(now);
    if (size !== 0 && this.elements.size >= size) return undefined;
    const element: Element = { spec: { key }, key: key.slice(), data, life: 0n, kept: this.carried.map((e) => keep(e, now)) };
    if (this.spec.timeouts) this.renew(element, life, now);
    this.elements.set(`${hex(key)}-${hex(key)}`, element);
    return element;
  }

  /** Expired elements make room when they are looked for, which a full set does once in an interval. */
  private search(now: bigint): void {
    if (now < this.nextSearch) return;
    this.nextSearch = now + BigInt(Math.max(this.spec.gcIntervalMs ?? 1000, 100)) * MILLISECOND;
    for (const [name, element] of this.elements) if (!this.live(element, now)) this.elements.delete(name);
  }

  private renew(element: Element, life: bigint, now: bigint): void {
    element.life = life !== 0n ? life : BigInt(this.spec.timeoutMs ?? 0) * MILLISECOND;
    element.expires = element.life === 0n ? undefined : now + element.life;
  }

  remove(key: Bytes): void {
    for (const [name, element] of this.elements) if (this.matches(element, key)) this.elements.delete(name);
  }

  /** Live elements by hex of their key: what the set holds. */
  list(now: bigint): Element[] {
    return [...this.elements.values()].filter((element) => this.live(element, now));
  }
}
