/** `ip neigh …`: neighbours, shown and set by hand. */
import { parseMac } from "../../base/address.ts";
import type { IpAddress } from "../../base/ip-address.ts";
import type { Neighbour } from "../../ip/neighbours.ts";
import type { Router } from "../router.ts";
import { type Output, refused, takeWord, usage } from "./command.ts";
import { neighbourJson } from "./ip-json.ts";
import { neighbourText } from "./ip-show.ts";
import { type Asked, addressNamed, deviceOf, done, interfaceOf, isShow, shown } from "./ip-words.ts";

export function neighbour({ host }: Router, [verb, ...words]: readonly string[], asked: Asked): Output {
  const { family } = asked;
  if (verb === "add" || verb === "change" || verb === "replace") return setNeighbour(host, verb, words);
  const isOne = verb === "del" || verb === "delete";
  if (!isOne && verb !== "flush" && !isShow(verb)) throw usage(`Command "${verb}" is unknown, try "ip neigh help".`);
  const [state, named] = takeWord(words, "nud");
  const isAll = verb === "flush" && named[0] === "all";
  const device = isOne ? takeWord(words, "dev")[0] : deviceOf(isAll ? named.slice(1) : named);
  if (device) interfaceOf(host, device);
  const { neighbours } = host.ip;
  const wanted = neighbours
    .list()
    .filter(({ address: own, iface }) => (family === undefined || own.family === family) && (!device || iface.name === device));
  if (isShow(verb))
    return shown(asked, wanted.filter(words.join(" ").includes("nud all") ? () => true : isKnown), neighbourText, neighbourJson);
  if (!device && !isAll) throw usage(isOne ? "Device and destination are required arguments." : "Flush requires arguments.");
  const found = isOne
    ? wanted.filter(({ address: own }) => own.equals(addressIn(words)))
    : wanted.filter((each) => (state === undefined ? each.state !== "PERMANENT" : state === "all" || each.state === state.toUpperCase()));
  if (isOne && found.length === 0) throw refused("RTNETLINK answers: No such file or directory");
  for (const each of found) neighbours.remove(each);
  return done;
}

/** As ip(8) has it: neither who needs no asking, nor who was never asked for (the gateway of a route that nobody has used). */
function isKnown({ state, probes }: Neighbour): boolean {
  return state !== "NOARP" && !(probes === 0 && (state === "INCOMPLETE" || state === "FAILED"));
}

/** The address that is no option's value. */
function addressIn(words: readonly string[]): IpAddress {
  const [, others] = takeWord(words, "dev");
  const [, rest] = takeWord(others, "lladdr");
  return addressNamed(rest.find((each) => each !== "to") ?? "");
}

/** A neighbour that is known once and for all (`nud permanent`, the only state that is set by hand here). */
function setNeighbour(host: Router["host"], verb: "add" | "change" | "replace", given: readonly string[]): Output {
  const [state = "permanent", words] = takeWord(given, "nud");
  if (state !== "permanent") throw usage(`Error: argument "${state}" is wrong: nud state is bad; expected permanent`);
  const [device, [mac]] = [takeWord(words, "dev")[0], takeWord(words, "lladdr")];
  if (device === undefined) throw usage("Device and destination are required arguments.");
  const iface = interfaceOf(host, device);
  if (mac === undefined) throw usage("Error: No link layer address given.");
  const address = addressIn(words);
  const known = host.ip.neighbours.list().some((each) => each.iface === iface && each.address.equals(address) && each.mac !== undefined);
  if (verb === "add" && known) throw refused("RTNETLINK answers: File exists");
  if (verb === "change" && !known) throw refused("RTNETLINK answers: No such file or directory");
  host.ip.neighbours.setPermanent(iface, address, parseMac(mac));
  return done;
}
