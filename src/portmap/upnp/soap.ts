/** SOAP 1.1 as UPnP uses it (UDA 1.1 §3): one action in, its values or a fault out. */
import { parseXml, type XmlElement } from "@rgrove/parse-xml";
import { ACTIONS, type Context, UpnpError } from "./actions.ts";
import { document, element, escaped } from "./xml.ts";

const ENVELOPE = 'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"';

export interface SoapAnswer {
  readonly status: 200 | 400 | 500;
  readonly body: string;
}

/** Runs the action that a body names, of the service that was posted to. */
export function control(service: string, body: string, context: Context): SoapAnswer {
  let action: XmlElement | undefined;
  try {
    action = actionIn(body);
  } catch {
    // Whatever is wrong with it: it is not XML, or too deep.
  }
  if (!action) return { status: 400, body: "expected a SOAP envelope with an action\n" };
  try {
    const name = localName(action.name);
    const table = ACTIONS[service];
    if (!Object.hasOwn(table, name)) throw new UpnpError(401, "Invalid Action");
    const { takes, gives, run } = table[name];
    const given = new Map(elements(action).map((each) => [localName(each.name), each.text]));
    const values: Record<string, string> = {};
    for (const { name: argument } of takes) {
      const value = given.get(argument);
      if (value === undefined) throw new UpnpError(402, "Invalid Args");
      values[argument] = value;
    }
    const found = run(values, context);
    const results = gives.map(({ name: argument }) => element(argument, escaped(found[argument] ?? "")));
    return { status: 200, body: envelope(`<u:${name}Response xmlns:u="${service}">${results.join("")}</u:${name}Response>`) };
  } catch (error) {
    if (!(error instanceof UpnpError)) throw error;
    return { status: 500, body: fault(error) };
  }
}

const localName = (name: string) => name.slice(name.indexOf(":") + 1);
const elements = (parent: XmlElement) => parent.children.filter((each): each is XmlElement => each.type === "element");
const child = (parent: XmlElement | undefined, name: string) => parent && elements(parent).find((each) => localName(each.name) === name);

function actionIn(body: string): XmlElement | undefined {
  const root = parseXml(body).root ?? undefined;
  if (!root || localName(root.name) !== "Envelope") return undefined;
  const inner = child(root, "Body");
  return inner && elements(inner)[0];
}

const envelope = (body: string) => document(element(`s:Envelope`, [element("s:Body", body)], ENVELOPE));

function fault({ code, message }: UpnpError): string {
  const error = element(
    "UPnPError",
    [element("errorCode", String(code)), element("errorDescription", message)],
    'xmlns="urn:schemas-upnp-org:control-1-0"',
  );
  const parts = [element("faultcode", "s:Client"), element("faultstring", "UPnPError"), element("detail", error)];
  return envelope(element("s:Fault", parts));
}
