/** `bridge [-j] link|fdb|vlan …`: bridge(8) against the router. */
import type { LinkInfo, StationInfo } from "../../host/host.ts";
import type { Router } from "../router.ts";
import { type Command, type Output, pick, takeWord, usage } from "./command.ts";
import { flagsOf, isUp } from "./ip-show.ts";
import { type Asked, done, isShow, shown } from "./ip-words.ts";

const HELP = `Usage: bridge [ -j ] OBJECT COMMAND
       bridge link [ show [ dev DEV ] ]
       bridge fdb [ show [ br BRIDGE ] [ dev DEV ] ]
       bridge vlan [ show [ dev DEV ] ]
       bridge vlan { add | del } vid VLAN[-VLAN] [ pvid untagged ] dev DEV
`;
/** What the kernel gives ports unless it is told otherwise (IEEE 802.1D §17.14): nothing here chooses by them. */
const PRIORITY = 32;
const COST = 2;

type Row<T> = T & { readonly bridge: string };

export const bridge: Command = (router, words) => {
  const options = words.filter((word) => word.startsWith("-"));
  const [object, ...rest] = words.slice(options.length);
  if (words.includes("help") || options.some((word) => word === "-h" || word === "-help")) return { stdout: HELP };
  const unknown = options.find((word) => !["-j", "-json"].includes(word));
  if (unknown) throw usage(`Option "${unknown}" is unknown, try "bridge help".`);
  const asked: Asked = { family: undefined, withStats: false, json: options.length > 0, brief: false, oneline: false };
  const kind = object === undefined ? undefined : pick(object, ["link", "fdb", "vlan"] as const, "link");
  if (!kind) throw usage(`Object "${object ?? ""}" is unknown, try "bridge help".`);
  const [verb, ...others] = rest;
  if (kind === "vlan" && (verb === "add" || verb === "del" || verb === "delete")) return changeVlan(router, verb === "add", others);
  if (!isShow(verb)) throw usage(`Command "${verb}" is unknown, try "bridge ${kind} help".`);
  const [device, left] = takeWord(others, "dev");
  if (device !== undefined) known(router, device);
  if (kind === "link") return links(router, device, asked);
  if (kind === "vlan") return vlans(router, device, asked);
  return stations(router, device, takeWord(left, "br")[0], asked);
};

function known({ host }: Router, name: string): void {
  if (!host.links().some((each) => each.name === name)) throw usage(`Cannot find device "${name}"`);
}

const bridges = ({ host }: Router) => host.links().filter(({ device }) => device === "bridge");

function links({ host }: Router, device: string | undefined, asked: Asked): Output {
  const ports = host.links().filter(({ name, master }) => master !== undefined && (device === undefined || name === device));
  const index = (name: string) => host.ip.interface(name).index;
  const state = (link: LinkInfo) => (isUp(link) ? "forwarding" : "disabled");
  return shown(
    asked,
    ports,
    (link) =>
      `${index(link.name)}: ${link.name}: <${flagsOf(link).join(",")}> mtu ${link.mtu} master ${link.master} state ${state(link)} priority ${PRIORITY} cost ${COST} `,
    (link) => ({
      ifindex: index(link.name),
      ifname: link.name,
      flags: flagsOf(link),
      mtu: link.mtu,
      master: link.master,
      state: state(link),
      priority: PRIORITY,
      cost: COST,
    }),
  );
}

function stations(router: Router, device: string | undefined, name: string | undefined, asked: Asked): Output {
  const wanted = bridges(router).filter((each) => name === undefined || each.name === name);
  if (name !== undefined && wanted.length === 0) throw usage(`Cannot find bridge device "${name}"`);
  const rows = wanted.flatMap((each): Row<StationInfo>[] =>
    router.host.stations(each.name).map((station) => ({ ...station, bridge: each.name })),
  );
  const of = ({ vlan }: StationInfo) => (vlan === 0 ? "" : `vlan ${vlan} `);
  return shown(
    asked,
    rows.filter((row) => device === undefined || row.interface === device),
    (row) =>
      `${row.mac} ${device === undefined ? `dev ${row.interface} ` : ""}${of(row)}master ${row.bridge} ${row.age === undefined ? "permanent" : ""}`,
    (row) => ({
      mac: row.mac,
      ...(device === undefined && { ifname: row.interface }),
      ...(row.vlan !== 0 && { vlan: row.vlan }),
      flags: [],
      master: row.bridge,
      state: row.age === undefined ? "permanent" : "",
    }),
  );
}

function vlans({ host }: Router, device: string | undefined, asked: Asked): Output {
  const members = host
    .links()
    .filter((link) => (link.master !== undefined || link.device === "bridge") && (device === undefined || link.name === device))
    .map(({ name }) => ({ name, vlans: host.vlans(name) }));
  const flags = ({ tagged, isDefault }: { tagged: boolean; isDefault: boolean }) => [
    ...(isDefault ? ["PVID"] : []),
    ...(tagged ? [] : ["Egress Untagged"]),
  ];
  const text = ({ name, vlans: own }: (typeof members)[number]) =>
    own.map((each, i) => `${(i === 0 ? name : "").padEnd(18)}${[each.vlan, ...flags(each)].join(" ")}`).join("\n");
  const all = shown(asked, members, text, ({ name, vlans: own }) => ({
    ifname: name,
    vlans: own.map((each) => ({ vlan: each.vlan, flags: flags(each) })),
  }));
  return asked.json ? all : { ...all, stdout: `port              vlan-id  \n${all.stdout ?? ""}` };
}

function changeVlan(router: Router, isAdded: boolean, words: readonly string[]): Output {
  const { host } = router;
  const [device, rest] = takeWord(words, "dev");
  const [word, flags] = takeWord(rest, "vid");
  if (device === undefined || word === undefined) throw usage("Device and VLAN ID are required arguments.");
  known(router, device);
  const wrong = flags.find((each) => each !== "pvid" && each !== "untagged");
  if (wrong !== undefined) throw usage(`Error: argument "${wrong}" is wrong: expected pvid untagged, or neither`);
  if (flags.includes("pvid") !== flags.includes("untagged"))
    throw usage("a port's untagged VLAN is its pvid: expected pvid untagged, or neither");
  const vids = rangeOf(word);
  const [vid] = vids;
  if (flags.length > 0 && vids.length > 1) throw usage(`a port has one pvid: expected one VLAN instead of ${word}`);
  const { master } = host.ip.interface(device);
  if (!master) throw usage(`${device} is no port of a bridge`);
  const now = host.vlans(device);
  const pvid = now.find(({ isDefault }) => isDefault)?.vlan ?? 1;
  const tagged = now.filter((each) => each.tagged && !vids.includes(each.vlan)).map(({ vlan }) => vlan);
  if (!isAdded && vids.includes(pvid)) throw usage(`VLAN ${pvid} is what untagged frames of ${device} are in; give it another pvid first`);
  const absent = isAdded ? undefined : vids.find((each) => !now.some(({ vlan }) => vlan === each));
  if (absent !== undefined) throw usage("RTNETLINK answers: No such file or directory");
  const isDefault = isAdded && flags.length > 0;
  const kept = isDefault && pvid !== vid ? [pvid] : [];
  host.setMaster(device, master.name, {
    pvid: isDefault ? vid : pvid,
    vlans: isAdded && !isDefault ? [...tagged, ...vids.filter((each) => each !== pvid)] : [...tagged, ...kept],
  });
  return done;
}

/** "10", or "10-20". */
function rangeOf(word: string): number[] {
  const [first, last = first] = /^\d{1,4}(-\d{1,4})?$/.test(word) ? word.split("-").map(Number) : [0];
  if (first < 1 || last > 4094 || last < first) throw usage(`Invalid VLAN ID "${word}"; expected 1 to 4094, or two of them with - between`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
