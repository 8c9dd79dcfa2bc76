/** Connections and what happens to them in the forms that `conntrack -o` knows. */
import * as abi from "../../../assembly/abi.ts";
import type { Clock } from "../../base/clock.ts";
import type { FlowEvent } from "../../track/conntrack.ts";
import { type Flow, PROTOCOL_NAMES } from "../../track/flow.ts";
import { flowText, zoneText } from "../../track/index.ts";
import { eventXml, flowXml, XML_HEAD, XML_TAIL } from "../../track/xml.ts";

export const OUTPUTS = ["extended", "id", "xml", "timestamp"] as const;
export type OutputName = (typeof OUTPUTS)[number];

/** A listing. */
export function flowLines(flows: readonly Flow[], counted: boolean, outputs: ReadonlySet<OutputName>): string {
  if (outputs.has("xml")) return `${XML_HEAD}${flows.map((flow) => `${flowXml(flow, counted)}\n`).join("")}${XML_TAIL}`;
  return flows
    .map((flow) => {
      const text = flowText(flow, counted);
      const line = outputs.has("extended") ? text : text.replace(/^ipv\d +\d+ /, "");
      return `${line}${outputs.has("id") ? ` id=${flow.id}` : ""}\n`;
    })
    .join("");
}

/** Milliseconds since 1970 of an event, of which 32 bits of the engine's clock are known. */
const timeOf = ({ at }: FlowEvent, clock: Clock): number => (clock.epoch ?? 0) + clock.now() - ((clock.now() - at) >>> 0);

/** As conntrack prints it; `counted`: what a flow that ends has carried is known. */
export function eventLine(event: FlowEvent, counted: boolean, outputs: ReadonlySet<OutputName>, clock: Clock): string {
  const at = timeOf(event, clock);
  if (outputs.has("xml")) return `${eventXml(event, counted, outputs.has("timestamp") ? new Date(at) : undefined)}\n`;
  const { kind, family, protocol, status, state, mark, expiresMs, id } = event;
  const isEnd = kind === "destroy";
  const tuple = (direction: "original" | "reply") => {
    const { src, dst, sport, dport, type, code, id: echo, packets, bytes } = event[direction];
    return [
      `src=${src} dst=${dst}`,
      sport !== undefined ? `sport=${sport} dport=${dport}` : type !== undefined ? `type=${type} code=${code} id=${echo}` : "",
      zoneText(event, direction),
      isEnd && counted ? `packets=${packets} bytes=${bytes}` : "",
    ]
      .filter((word) => word !== "")
      .join(" ");
  };
  const stamp = outputs.has("timestamp") ? `[${Math.floor(at / 1000)}.${String(Math.round((at % 1000) * 1000)).padStart(6, "0")}]\t` : "";
  return `${stamp}${[
    `[${kind.toUpperCase()}]`.padStart(9),
    outputs.has("extended") ? (family === 4 ? "ipv4     2" : "ipv6     10") : "",
    (PROTOCOL_NAMES[protocol] ?? "unknown").padEnd(8),
    protocol,
    ...(isEnd ? [] : [Math.ceil(expiresMs / 1000)]),
    state ?? "",
    tuple("original"),
    ...(status & abi.IPS_SEEN_REPLY ? [] : ["[UNREPLIED]"]),
    tuple("reply"),
    ...(status & abi.IPS_ASSURED ? ["[ASSURED]"] : []),
    isEnd && mark === 0 ? "" : `mark=${mark}`,
    zoneText(event, undefined),
    outputs.has("id") ? `id=${id}` : "",
  ]
    .filter((word) => word !== "")
    .join(" ")}\n`;
}
