/** An expectation as the data plane takes it (abi.EXPECTATION_*). */
import * as abi from "../../../assembly/abi.ts";
import type { IpAddress } from "../../base/ip-address.ts";
import type { Engine } from "../../engine/engine.ts";
import { type Place, writeTuple } from "../flow.ts";

export interface Expectation {
  readonly protocol: number;
  /** From that address alone; undefined: from anywhere. */
  readonly source?: IpAddress;
  readonly destination: IpAddress;
  readonly port: number;
  readonly place: Place;
  readonly master: number;
  readonly timeoutMs: number;
  /** Where its packets are sent on to. */
  readonly translateTo?: { readonly address: IpAddress; readonly port: number };
  /** Of the flow to come. */
  readonly helper?: number;
  readonly permanent?: boolean;
  /** Most that the master may expect at once: the oldest makes room. */
  readonly most: number;
}

export type Expected = "expected" | "no place" | "taken";

/** Expects a flow, or with `ask` says whether it could. "taken": another flow expects one to the same address and port. */
export function expectFlow({ memory, plane, clock }: Engine, wanted: Expectation, ask = false): Expected {
  const at = memory.base(abi.REGION_HOST);
  const { source, destination, translateTo } = wanted;
  const ticks = clock.now() >>> 0;
  memory.u8.fill(0, at, at + abi.EXPECTATION_SIZE);
  writeTuple(memory, at, {
    protocol: wanted.protocol,
    ...wanted.place,
    src: source && { address: source, port: 0 },
    dst: { address: destination, port: wanted.port },
  });
  const flags = (source ? abi.EXPECT_SOURCE : 0) | (wanted.permanent ? abi.EXPECT_PERMANENT : 0) | (ask ? abi.EXPECT_ASK : 0);
  memory.setU32(at + abi.EXPECTATION_FLAGS, flags);
  memory.setU32(at + abi.EXPECTATION_MASTER, wanted.master);
  memory.setU32(at + abi.EXPECTATION_EXPIRES, (ticks + wanted.timeoutMs) >>> 0);
  memory.setU16(at + abi.EXPECTATION_HELPER, wanted.helper ?? 0);
  memory.setU16(at + abi.EXPECTATION_MOST, wanted.most);
  if (translateTo) {
    memory.u8[at + abi.EXPECTATION_NAT] = abi.NAT_DESTINATION + 1;
    memory.u8[at + abi.EXPECTATION_NAT + 1] = translateTo.address.family;
    memory.setU16(at + abi.EXPECTATION_NAT_PORT, translateTo.port);
    memory.u8.set(translateTo.address.bytes(), at + abi.EXPECTATION_NAT_ADDRESS);
  }
  return (["no place", "expected", "taken"] as const)[plane.flowExpect(at, ticks)];
}
