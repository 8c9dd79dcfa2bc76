/**
 * Port mappings that clients ask a router for: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP's Internet Gateway Device. Each speaks its own
 * protocol and none decides anything: `mapper.ts` says who gets which port for how long, and keeps what it gave; the data plane
 * holds the mappings themselves (src/track/mappings.ts).
 *
 *   const mapper = new PortMapper(host, { external: "wan", masquerades: true });
 *   const ports = servePortControl(host, mapper, { interfaces: ["lan"] });
 */
export { type ControlCounters, type PortControl, type PortControlOptions, servePortControl } from "./control.ts";
export {
  type Entry,
  type Granted,
  type MapKind,
  type MapRequest,
  PortMapper,
  type PortMapperOptions,
  type Refusal,
} from "./mapper.ts";
export { answerNatPmp } from "./nat-pmp.ts";
export { answerPcp, PCP_PORT } from "./pcp.ts";
export { Gateway, type GatewayOptions } from "./upnp/gateway.ts";
