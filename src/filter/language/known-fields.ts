/** Raw payload that is a field nft knows: ports where the transport is given, or not. */
import type { PayloadBase } from "../expressions.ts";
import type { HeaderContext } from "./context.ts";
import { type Field, type Protocol, TH } from "./protocols.ts";

export function knownField(
  base: PayloadBase,
  offset: number,
  bits: number,
  context: HeaderContext,
): { readonly protocol?: Protocol; readonly field?: Field } {
  if (base !== "transport") return {};
  const protocol = context.transport ?? TH;
  for (const field of protocol.fields.values()) if (field.offset === offset && field.bits === bits) return { protocol, field };
  return {};
}
