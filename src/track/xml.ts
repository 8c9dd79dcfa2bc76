/** Flows and what happens to them as elements of XML (`conntrack -o xml`): `<flow>` within `<conntrack>`. */
import * as abi from "../../assembly/abi.ts";
import type { FlowEvent } from "./conntrack.ts";
import { type Flow, PROTOCOL_NAMES } from "./flow.ts";

/** What stands in front of the first, and behind the last. */
export const XML_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
export const XML_TAIL = "</conntrack>\n";

const element = (name: string, value: string | number | undefined) => (value === undefined ? "" : `<${name}>${value}</${name}>`);

type Told = Flow | FlowEvent;

function sideXml(told: Told, direction: "original" | "reply", counted: boolean): string {
  const { family, protocol, zone, zoneOf } = told;
  const { src, dst, sport, dport, packets, bytes } = told[direction];
  const network = `<layer3 protonum="${family === 4 ? 2 : 10}" protoname="ipv${family}">${element("src", `${src}`)}${element("dst", `${dst}`)}</layer3>`;
  const name = PROTOCOL_NAMES[protocol] ?? "unknown";
  const transport = `<layer4 protonum="${protocol}" protoname="${name}">${element("sport", sport)}${element("dport", dport)}</layer4>`;
  const own = zone !== 0 && zoneOf === direction ? element("zone", zone) : "";
  const counters = counted ? `<counters>${element("packets", packets)}${element("bytes", bytes)}</counters>` : "";
  return `<meta direction="${direction}">${network}${transport}${own}${counters}</meta>`;
}

/** What is of neither direction alone. `isListed`: a flow that lives, with what a listing shows. */
function wholeXml(told: Told, isListed: boolean): string {
  const { state, expiresMs, mark, zone, zoneOf, id, status } = told;
  const seconds = isListed ? Math.floor(expiresMs / 1000) : Math.ceil(expiresMs / 1000);
  const parts = [
    element("state", state),
    element("timeout", seconds),
    isListed || mark !== 0 ? element("mark", mark) : "",
    zone !== 0 && zoneOf === undefined ? element("zone", zone) : "",
    isListed ? element("use", 1) : "",
    element("id", id),
    status & abi.IPS_ASSURED ? "<assured/>" : "",
    status & abi.IPS_SEEN_REPLY ? "" : "<unreplied/>",
  ];
  return `<meta direction="independent">${parts.join("")}</meta>`;
}

export function flowXml(flow: Flow, counted = true): string {
  return `<flow>${sideXml(flow, "original", counted)}${sideXml(flow, "reply", counted)}${wholeXml(flow, true)}</flow>`;
}

/** `counted`: what a flow that ends has carried is known. `when`: with date and time of day. */
export function eventXml(event: FlowEvent, counted: boolean, when?: Date): string {
  const isCounted = counted && event.kind === "destroy";
  const sides = `${sideXml(event, "original", isCounted)}${sideXml(event, "reply", isCounted)}`;
  return `<flow type="${event.kind}">${sides}${wholeXml(event, false)}${when === undefined ? "" : whenXml(when)}</flow>`;
}

/** Days of the week are counted from Sunday, which is 1. */
function whenXml(when: Date): string {
  const clock = [element("hour", when.getHours()), element("min", when.getMinutes()), element("sec", when.getSeconds())];
  const day = [element("wday", when.getDay() + 1), element("day", when.getDate())];
  return `<when>${[...clock, ...day, element("month", when.getMonth() + 1), element("year", when.getFullYear())].join("")}</when>`;
}
