/** Commands against a running router: `nft`, `iptables`, `conntrack`, `ip`, `bridge`, `tc`, `lb`, and `router` for what concerns the whole of it. */
import { LoomError } from "../../base/errors.ts";
import { parseConfig } from "../config.ts";
import type { Router } from "../router.ts";
import { talk } from "../top.ts";
import { bridge } from "./bridge.ts";
import { type Command, type Output, Refused, usage } from "./command.ts";
import { conntrack } from "./conntrack.ts";
import { ip } from "./ip.ts";
import { ip6tables, ip6tablesRestore, iptables, iptablesRestore } from "./iptables.ts";
import { lb } from "./lb.ts";
import { nft } from "./nft.ts";
import { tc } from "./tc.ts";

export type { Output } from "./command.ts";

const COMMANDS: Readonly<Record<string, Command>> = {
  nft,
  iptables,
  ip6tables,
  "iptables-restore": iptablesRestore,
  "ip6tables-restore": ip6tablesRestore,
  conntrack,
  ip,
  bridge,
  tc,
  lb,
};
export const TOOLS: readonly string[] = Object.keys(COMMANDS);

export interface Request {
  /** One of `TOOLS`; "router" for status and reload. */
  readonly tool: string;
  readonly words: readonly string[];
  /** Text of a file that the words name. */
  readonly input?: string;
}

/** Does what is asked. What is wrong with it is in the answer, as the tool would say it. */
export async function run(router: Router, { tool, words, input }: Request): Promise<Output> {
  try {
    if (tool === "router") return await whole(router, words, input);
    const command = Object.hasOwn(COMMANDS, tool) ? COMMANDS[tool] : undefined;
    if (!command) throw usage(`there is no command "${tool}"; expected one of ${TOOLS.join(", ")}`);
    return command(router, words, input);
  } catch (error) {
    if (!(error instanceof LoomError)) throw error;
    return { stderr: `${error.message}\n`, code: error instanceof Refused ? 2 : 1 };
  }
}

async function whole(router: Router, [verb, file]: readonly string[], input: string | undefined): Promise<Output> {
  if (verb === "status") return { stdout: `${JSON.stringify(router.status())}\n` };
  if (verb === "look") {
    const flows = [...talk(router.rules.conntrack?.list() ?? [])];
    return { stdout: `${JSON.stringify({ status: router.status(), flows })}\n` };
  }
  if (verb !== "reload" || input === undefined) throw usage(`there is no "router ${verb ?? ""}"; expected status or reload`);
  const left = await router.reload(parseConfig(input, file, true));
  return { stdout: left.length ? `changed with the next start only: ${left.join(", ")}\n` : "" };
}
