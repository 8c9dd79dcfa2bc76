/** Raw payload that is a field nft knows: of a header that the rule has named before, or the table; ports in any case. */
import type { PayloadBase } from "../expressions.ts";
import type { HeaderContext } from "./context.ts";
import { type Field, type Protocol, TH } from "./protocols.ts";

export function knownField(
  base: PayloadBase,
  offset: number,
  bits: number,
  context: HeaderContext,
): { readonly protocol?: Protocol; readonly field?: Field } {
  const protocol =
    base === "transport"
      ? (context.transport ?? context.presumed ?? TH)
      : base === "network"
        ? context.network
        : base === "link"
          ? context.link
          : undefined;
  if (!protocol) return {};
  for (const field of protocol.fields.values()) if (field.offset === offset && field.bits === bits) return { protocol, field };
  return {};
}
