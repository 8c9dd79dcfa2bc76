/**
 * The actions of the gateway's services (WANIPConnection:1, WANCommonInterfaceConfig:1, Layer3Forwarding:1). A client maps ports to
 * itself alone, and changes what is its own; other addresses are refused with 606.
 */
import { IpAddress } from "../../base/ip-address.ts";
import type { Entry, PortMapper, Refusal } from "../mapper.ts";
import { CONNECTION, FORWARDING, IP_CONNECTION, LINK } from "./names.ts";

/** An error of UPnP, with the code that clients understand. */
export class UpnpError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

export interface Argument {
  readonly name: string;
  readonly variable: string;
  readonly type: "string" | "ui2" | "ui4" | "boolean";
  readonly allowed?: readonly string[];
}

/** What actions work on. */
export interface Context {
  readonly mapper: PortMapper;
  readonly client: IpAddress;
  readonly connectionName: string;
  readonly uptime: number;
  /** Of the outer interface. */
  readonly traffic: {
    readonly bytesSent: number;
    readonly bytesReceived: number;
    readonly packetsSent: number;
    readonly packetsReceived: number;
  };
  readonly isUp: boolean;
}
type Values = Readonly<Record<string, string>>;
interface Action {
  readonly takes: readonly Argument[];
  readonly gives: readonly Argument[];
  run(values: Values, context: Context): Values;
}
export type ActionTable = Readonly<Record<string, Action>>;

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17 };
const protocolName = (protocol: number) => Object.keys(PROTOCOLS).find((name) => PROTOCOLS[name] === protocol);

const text = (name: string, variable = name.replace(/^New/, "")): Argument => ({ name, variable, type: "string" });
const ui2 = (name: string, variable: string): Argument => ({ name, variable, type: "ui2" });
const ui4 = (name: string, variable: string): Argument => ({ name, variable, type: "ui4" });
const REMOTE = text("NewRemoteHost");
const OUTER_PORT = ui2("NewExternalPort", "ExternalPort");
const INNER_PORT = ui2("NewInternalPort", "InternalPort");
const INNER_CLIENT = text("NewInternalClient");
const ENABLED: Argument = { name: "NewEnabled", variable: "PortMappingEnabled", type: "boolean" };
const DESCRIPTION = text("NewPortMappingDescription", "PortMappingDescription");
const LEASE = ui4("NewLeaseDuration", "PortMappingLeaseDuration");
const PROTOCOL: Argument = { name: "NewProtocol", variable: "PortMappingProtocol", type: "string", allowed: ["TCP", "UDP"] };
const ENTRY = [INNER_PORT, INNER_CLIENT, ENABLED, DESCRIPTION, LEASE];

const REFUSED: Readonly<Record<Refusal, [number, string]>> = {
  protocol: [402, "Invalid Args"],
  "no-external": [501, "Action Failed"],
  taken: [718, "ConflictInMappingEntry"],
  untranslated: [724, "SamePortValuesRequired"],
  quota: [728, "NoPortMapsAvailable"],
  "no-room": [728, "NoPortMapsAvailable"],
  "not-yours": [606, "Action not authorized"],
};

function number(value: string, most: number): number {
  const found = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(found <= most)) throw new UpnpError(402, "Invalid Args");
  return found;
}

function protocolOf(value: string): number {
  const found = Object.hasOwn(PROTOCOLS, value) ? PROTOCOLS[value] : undefined;
  if (found === undefined) throw new UpnpError(402, "Invalid Args");
  return found;
}

/** The address on which entries are: clients speak of the port alone. */
function outerOf(values: Values, { mapper, client }: Context) {
  const address = mapper.external(client);
  if (!address) throw new UpnpError(501, "Action Failed");
  return { address, port: number(values.NewExternalPort, 65_535) };
}

const valuesOf = ({ inner, description, seconds }: Entry): Values => ({
  NewInternalPort: String(inner.port),
  NewInternalClient: String(inner.address),
  NewEnabled: "1",
  NewPortMappingDescription: description,
  NewLeaseDuration: String(seconds),
});

/** What UPnP has words for. */
const isTold = ({ protocol, inner }: Omit<Entry, "seconds">) => protocolName(protocol) !== undefined && inner.address.family === 4;

function addPortMapping(values: Values, context: Context): Values {
  const { mapper, client } = context;
  if (values.NewRemoteHost !== "" && values.NewRemoteHost !== "*") throw new UpnpError(726, "RemoteHostOnlySupportsWildcard");
  const protocol = protocolOf(values.NewProtocol);
  const outer = outerOf(values, context);
  const inner = { address: addressOf(values.NewInternalClient), port: number(values.NewInternalPort, 65_535) };
  const lease = number(values.NewLeaseDuration, 0xffff_ffff);
  if (!inner.address.equals(client)) throw new UpnpError(606, "Action not authorized");
  if (outer.port === 0) throw new UpnpError(716, "WildCardNotPermittedInExtPort");
  if (inner.port === 0) throw new UpnpError(402, "Invalid Args");
  // Disabled entries keep a place for nobody: there are none.
  if (!/^(1|true|yes)$/i.test(values.NewEnabled)) throw new UpnpError(501, "Action Failed");
  const there = mapper.entry(protocol, outer);
  if (there && !isTheirs(there, client)) throw new UpnpError(718, "ConflictInMappingEntry");
  const isMine = there?.inner.port === inner.port;
  const granted = mapper.map({
    kind: "upnp",
    protocol,
    inner,
    wanted: outer,
    exact: true,
    another: !isMine,
    seconds: lease === 0 ? Number.POSITIVE_INFINITY : lease,
    description: values.NewPortMappingDescription.slice(0, 256),
  });
  if (typeof granted === "string") throw new UpnpError(...REFUSED[granted]);
  return {};
}

const isTheirs = ({ inner, nonce }: Entry, client: IpAddress) => nonce === undefined && inner.address.equals(client);

function addressOf(value: string): IpAddress {
  try {
    return IpAddress.parse(value.trim());
  } catch {
    throw new UpnpError(402, "Invalid Args");
  }
}

function deletePortMapping(values: Values, context: Context): Values {
  const found = find(values, context);
  if (!isTheirs(found, context.client)) throw new UpnpError(606, "Action not authorized");
  context.mapper.end(found);
  return {};
}

function find(values: Values, context: Context): Entry {
  const found = context.mapper.entry(protocolOf(values.NewProtocol), outerOf(values, context));
  if (!found) throw new UpnpError(714, "NoSuchEntryInArray");
  return found;
}

function genericEntry(values: Values, { mapper }: Context): Values {
  const found = mapper.at(number(values.NewPortMappingIndex, 65_535), isTold);
  if (!found) throw new UpnpError(713, "SpecifiedArrayIndexInvalid");
  const { outer, protocol } = found;
  return { NewRemoteHost: "", NewExternalPort: String(outer.port), NewProtocol: protocolName(protocol) as string, ...valuesOf(found) };
}

const nothing = () => ({});
const ipConnection: ActionTable = {
  SetConnectionType: {
    takes: [text("NewConnectionType")],
    gives: [],
    run: ({ NewConnectionType: type }) => {
      if (type !== "IP_Routed") throw new UpnpError(402, "Invalid Args");
      return {};
    },
  },
  GetConnectionTypeInfo: {
    takes: [],
    gives: [text("NewConnectionType"), text("NewPossibleConnectionTypes")],
    run: () => ({ NewConnectionType: "IP_Routed", NewPossibleConnectionTypes: "IP_Routed" }),
  },
  RequestConnection: { takes: [], gives: [], run: nothing },
  ForceTermination: {
    takes: [],
    gives: [],
    run: () => {
      throw new UpnpError(606, "Action not authorized");
    },
  },
  GetStatusInfo: {
    takes: [],
    gives: [text("NewConnectionStatus"), text("NewLastConnectionError"), ui4("NewUptime", "Uptime")],
    run: (_, { isUp, uptime, mapper, client }) => ({
      NewConnectionStatus: isUp && mapper.external(client) ? "Connected" : "Disconnected",
      NewLastConnectionError: "ERROR_NONE",
      NewUptime: String(uptime),
    }),
  },
  GetNATRSIPStatus: {
    takes: [],
    gives: [
      { name: "NewRSIPAvailable", variable: "RSIPAvailable", type: "boolean" },
      { name: "NewNATEnabled", variable: "NATEnabled", type: "boolean" },
    ],
    run: (_, { mapper }) => ({ NewRSIPAvailable: "0", NewNATEnabled: mapper.options.masquerades ? "1" : "0" }),
  },
  GetGenericPortMappingEntry: {
    takes: [ui2("NewPortMappingIndex", "PortMappingNumberOfEntries")],
    gives: [REMOTE, OUTER_PORT, PROTOCOL, ...ENTRY],
    run: genericEntry,
  },
  GetSpecificPortMappingEntry: {
    takes: [REMOTE, OUTER_PORT, PROTOCOL],
    gives: ENTRY,
    run: (values, context) => valuesOf(find(values, context)),
  },
  AddPortMapping: { takes: [REMOTE, OUTER_PORT, PROTOCOL, ...ENTRY], gives: [], run: addPortMapping },
  DeletePortMapping: { takes: [REMOTE, OUTER_PORT, PROTOCOL], gives: [], run: deletePortMapping },
  GetExternalIPAddress: {
    takes: [],
    gives: [text("NewExternalIPAddress")],
    run: (_, { mapper, client }) => ({ NewExternalIPAddress: String(mapper.external(client) ?? "") }),
  },
};

/** Counters are of 32 bits, and wrap. */
const counter = (value: number) => String(value % 2 ** 32);
const link: ActionTable = {
  GetCommonLinkProperties: {
    takes: [],
    gives: [
      text("NewWANAccessType"),
      ui4("NewLayer1UpstreamMaxBitRate", "Layer1UpstreamMaxBitRate"),
      ui4("NewLayer1DownstreamMaxBitRate", "Layer1DownstreamMaxBitRate"),
      text("NewPhysicalLinkStatus"),
    ],
    run: (_, { isUp }) => ({
      NewWANAccessType: "Ethernet",
      NewLayer1UpstreamMaxBitRate: "0",
      NewLayer1DownstreamMaxBitRate: "0",
      NewPhysicalLinkStatus: isUp ? "Up" : "Down",
    }),
  },
  GetTotalBytesSent: {
    takes: [],
    gives: [ui4("NewTotalBytesSent", "TotalBytesSent")],
    run: (_, { traffic }) => ({ NewTotalBytesSent: counter(traffic.bytesSent) }),
  },
  GetTotalBytesReceived: {
    takes: [],
    gives: [ui4("NewTotalBytesReceived", "TotalBytesReceived")],
    run: (_, { traffic }) => ({ NewTotalBytesReceived: counter(traffic.bytesReceived) }),
  },
  GetTotalPacketsSent: {
    takes: [],
    gives: [ui4("NewTotalPacketsSent", "TotalPacketsSent")],
    run: (_, { traffic }) => ({ NewTotalPacketsSent: counter(traffic.packetsSent) }),
  },
  GetTotalPacketsReceived: {
    takes: [],
    gives: [ui4("NewTotalPacketsReceived", "TotalPacketsReceived")],
    run: (_, { traffic }) => ({ NewTotalPacketsReceived: counter(traffic.packetsReceived) }),
  },
};

const DEFAULT_CONNECTION = text("NewDefaultConnectionService");
const forwarding: ActionTable = {
  SetDefaultConnectionService: { takes: [DEFAULT_CONNECTION], gives: [], run: nothing },
  GetDefaultConnectionService: {
    takes: [],
    gives: [DEFAULT_CONNECTION],
    run: (_, { connectionName }) => ({
      NewDefaultConnectionService: `${connectionName}:${CONNECTION.split(":").slice(3, 5).join(":")},urn:upnp-org:serviceId:WANIPConn1`,
    }),
  },
};

export const ACTIONS: Readonly<Record<string, ActionTable>> = { [FORWARDING]: forwarding, [LINK]: link, [IP_CONNECTION]: ipConnection };
