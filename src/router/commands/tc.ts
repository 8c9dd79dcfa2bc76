/** `tc [-s] [-j] qdisc|class|filter …`: tc(8) against the router's queues. */
import type { Command } from "./command.ts";

export const tc: Command = ({ queues }, words) => ({ stdout: queues.run(words) });
