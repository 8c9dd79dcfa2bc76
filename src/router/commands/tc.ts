/** `tc [-s] qdisc|class show|add|replace|change|del dev DEV …` and `tc filter add`: tc(8) against the router's queues. */
import type { QdiscOptions } from "../../queue/options.ts";
import { attachQueue, queueOf } from "../../queue/queue.ts";
import { changeTree, takeWord } from "../qdisc-words.ts";
import { type Command, pick, usage } from "./command.ts";
import { classText, qdiscText } from "./tc-show.ts";

export const tc: Command = ({ host }, words) => {
  const options = words.filter((word) => word.startsWith("-"));
  const withStats = options.some((word) => word === "-s" || word.startsWith("-stat"));
  const [object, verb, ...rest] = words.slice(options.length);
  const kind = pick(object, ["qdisc", "class", "filter"] as const, "qdisc");
  if (!kind || object === undefined) throw usage(`Object "${object ?? ""}" is unknown, try "tc help".`);
  const [device, left] = takeWord(rest, "dev");
  const { engine, ip } = host;
  const wanted = ip.interfaces.filter(({ name }) => device === undefined || name === device);
  if (wanted.length === 0) throw usage(`Cannot find device "${device}"`);
  if (pick(verb, ["show", "list", "ls"] as const, "show") !== undefined) {
    const texts = wanted.flatMap(({ name, port }) => {
      const reports = queueOf(engine, port)?.report() ?? [];
      if (kind === "qdisc")
        return reports.length > 0
          ? reports.map((each) => qdiscText(name, each, withStats))
          : [`qdisc noqueue 0: dev ${name} root refcnt 2 `];
      return reports.flatMap((each) => {
        const known = each.options.kind === "htb" ? (each.options.classes ?? []) : [];
        return each.classes.flatMap((stats) => {
          const own = known.find(({ id }) => id === stats.id);
          return own ? [classText(name, each, stats, own, withStats)] : [];
        });
      });
    });
    return { stdout: texts.map((text) => `${text}\n`).join("") };
  }
  if (device === undefined) throw usage('Command line is not complete. Try option "help"');
  const { port } = ip.interface(device);
  const queue = queueOf(engine, port);
  const changed: QdiscOptions | undefined = changeTree(queue?.options, kind, verb, left);
  if (changed) attachQueue(engine, port, changed);
  else queue?.remove();
  return {};
};
