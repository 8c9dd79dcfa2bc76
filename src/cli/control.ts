/** `packetloom nft|iptables|conntrack|ip|bridge|tc|lb …`, `reload`, `status`: words for a router that runs, by its control socket. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { LoomError } from "../base/errors.ts";
import { takeWord } from "../router/commands/command.ts";
import { restoredFile } from "../router/commands/iptables.ts";
import { ask } from "../router/control-node.ts";
import { DEFAULT_SOCKET, loadConfig } from "./router.ts";
import { expanded, readRules, readText } from "./rules-file.ts";
import { top } from "./top.ts";

const TOOLS: Readonly<Record<string, string>> = {
  nft: "rules of a running router, as nft(8): list ruleset, -f FILE, add rule …",
  iptables: "rules of a running router, as iptables(8): -A, -I, -D, -C, -N, -X, -E, -F, -P",
  ip6tables: "the same for IPv6, as ip6tables(8)",
  "iptables-restore": "rules of a running router from what iptables-save has printed: [-n] [-t] [FILE], or the standard input",
  "ip6tables-restore": "the same for IPv6",
  conntrack: "connections of a running router, as conntrack(8): -L, -E, -D, -F, -S, -C",
  ip: "addresses, routes, neighbours, links and rules of a running router, as ip(8)",
  bridge: "ports, stations and VLANs of a running router's bridges, as bridge(8): fdb show, link, vlan …",
  tc: "queues of a running router, as tc(8): -s qdisc, qdisc replace dev DEV root …",
  lb: "balancers of a running router: list [--stats|--rate], add, remove, weight, drain, enable, disable",
};

async function send(socket: string, tool: string, words: readonly string[], input?: string): Promise<void> {
  const code = await ask(socket, { tool, words, input }, (stream, text) => void process[stream].write(text));
  if (code !== 0) process.exitCode = code;
}

async function watch(socket: string): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  await top(async () => {
    let text = "";
    await ask(socket, { tool: "router", words: ["look"] }, (_, part) => {
      text += part;
    });
    const { status, flows } = JSON.parse(text);
    return { status, flows: new Map(flows) };
  }, stop.signal);
}

/** The file behind `-f`, or that iptables-restore reads: read here, as the router may see other files, or none. */
function inputOf(tool: string, words: readonly string[]): string | undefined {
  if (tool.endsWith("-restore")) {
    const file = restoredFile(words);
    return file === undefined ? readFileSync(0, "utf8") : readText(file, "ruleset");
  }
  if (tool !== "nft") return undefined;
  const at = words.findIndex((word) => /^-[a-zA-Z]*f[a-zA-Z]*$/.test(word) || word === "--file");
  if (at < 0) return undefined;
  const name = words[at + 1];
  if (name === undefined) throw new LoomError("EINVAL", "nft -f: a file is missing; expected its name, or - for the standard input");
  return name === "-" ? expanded(readFileSync(0, "utf8"), "stdin", 0) : readRules(name);
}

/** `--socket` stands in front of a tool's words or among them: none of the tools has a word like that. */
function takeSocket(words: readonly string[], socket: string): [rest: readonly string[], socket: string] {
  const [path, rest] = takeWord(words, "--socket");
  if (path === "") throw new LoomError("EINVAL", "--socket: a path is missing; expected that of a router's control socket");
  return path === undefined ? [words, socket] : [rest, path];
}

const SOCKET = ["--socket <path>", "control socket of the router", DEFAULT_SOCKET] as const;

export function addControl(program: Command): void {
  program.enablePositionalOptions();
  for (const [tool, description] of Object.entries(TOOLS)) {
    program
      .command(tool)
      .description(description)
      .helpOption("--help", "display help for command")
      .option(...SOCKET)
      .argument("[words...]", `what to do, in the words of ${tool}`)
      .allowUnknownOption()
      .passThroughOptions()
      .action((words: string[], options) => {
        const [rest, socket] = takeSocket(words, options.socket);
        return send(socket, tool, rest, inputOf(tool, rest));
      });
  }
  program
    .command("reload")
    .description("give a running router its configuration anew; tracked connections live on")
    .requiredOption("--config <file>", "the configuration")
    .option(...SOCKET)
    .action(({ config, socket }) => send(socket, "router", ["reload", config], JSON.stringify(loadConfig(config))));
  program
    .command("top")
    .description("a running router, live: rates, connections, drops, who talks most; q quits, without a terminal a line a second")
    .option(...SOCKET)
    .action(({ socket }) => watch(socket));
  program
    .command("status")
    .description("what a running router does, as one JSON object")
    .option(...SOCKET)
    .action(({ socket }) => send(socket, "router", ["status"]));
}
