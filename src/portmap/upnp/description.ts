/** The description documents of the gateway and of its services (UDA 1.1 §2). */
import { ACTIONS, type ActionTable, type Argument } from "./actions.ts";
import { CONNECTION, FORWARDING, GATEWAY, IP_CONNECTION, LINK, type Names, WAN } from "./names.ts";
import { document, element, escaped } from "./xml.ts";

export const ROOT_PATH = "/description.xml";
export const CONTROL: Readonly<Record<string, string>> = {
  "/control/forwarding": FORWARDING,
  "/control/link": LINK,
  "/control/ip": IP_CONNECTION,
};
const SERVICES: Readonly<Record<string, string>> = { "/forwarding.xml": FORWARDING, "/link.xml": LINK, "/ip.xml": IP_CONNECTION };

const specVersion = element("specVersion", [element("major", "1"), element("minor", "1")]);

/** The document at a path, or undefined. */
export function documentAt(path: string, names: Names, friendlyName: string): string | undefined {
  if (path === ROOT_PATH) return rootDescription(names, friendlyName);
  const service = SERVICES[path];
  return Object.hasOwn(SERVICES, path) ? serviceDescription(ACTIONS[service]) : undefined;
}

function rootDescription(names: Names, friendlyName: string): string {
  const connection = deviceXml(CONNECTION, names.connection, "WAN connection", [serviceXml(IP_CONNECTION, "WANIPConn1", "ip")], []);
  const wan = deviceXml(WAN, names.wan, "WAN", [serviceXml(LINK, "WANCommonIFC1", "link")], [connection]);
  const root = deviceXml(GATEWAY, names.gateway, friendlyName, [serviceXml(FORWARDING, "L3Forwarding1", "forwarding")], [wan]);
  return document(element("root", [specVersion, root], 'xmlns="urn:schemas-upnp-org:device-1-0"'));
}

function deviceXml(type: string, name: string, friendly: string, services: readonly string[], devices: readonly string[]): string {
  return element("device", [
    element("deviceType", type),
    element("friendlyName", escaped(friendly)),
    element("manufacturer", "packetloom"),
    element("modelName", "packetloom router"),
    element("UDN", name),
    element("serviceList", services),
    ...(devices.length > 0 ? [element("deviceList", devices)] : []),
  ]);
}

function serviceXml(type: string, id: string, path: string): string {
  return element("service", [
    element("serviceType", type),
    element("serviceId", `urn:upnp-org:serviceId:${id}`),
    element("SCPDURL", `/${path}.xml`),
    element("controlURL", `/control/${path}`),
    element("eventSubURL", `/event/${path}`),
  ]);
}

function serviceDescription(actions: ActionTable): string {
  const variables = new Map<string, Argument>();
  const list = Object.entries(actions).map(([name, { takes, gives }]) => {
    const argument = (direction: "in" | "out") => (each: Argument) => {
      variables.set(each.variable, each);
      return element("argument", [
        element("name", each.name),
        element("direction", direction),
        element("relatedStateVariable", each.variable),
      ]);
    };
    const all = [...takes.map(argument("in")), ...gives.map(argument("out"))];
    return element("action", [element("name", name), ...(all.length > 0 ? [element("argumentList", all)] : [])]);
  });
  const table = [...variables.values()].map(({ variable, type, allowed }) =>
    element(
      "stateVariable",
      [
        element("name", variable),
        element("dataType", type),
        ...(allowed
          ? [
              element(
                "allowedValueList",
                allowed.map((each) => element("allowedValue", each)),
              ),
            ]
          : []),
      ],
      'sendEvents="no"',
    ),
  );
  const body = [specVersion, element("actionList", list), element("serviceStateTable", table)];
  return document(element("scpd", body, 'xmlns="urn:schemas-upnp-org:service-1-0"'));
}
