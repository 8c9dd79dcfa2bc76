/** `tc [-s] qdisc|class|filter …`: tc(8) against the router's queues. */
import type { Command } from "./command.ts";

export const tc: Command = ({ queues, host }, words) => {
  const stdout = queues.run(words);
  if (stdout !== "" || words.includes("class") || words.includes("filter") || !words.includes("qdisc")) return { stdout };
  // Of an interface without a queue tc says so.
  const isShow = words.length < 3 || words.some((word) => ["show", "list", "ls"].includes(word));
  const at = words.indexOf("dev");
  const names = at < 0 ? host.ip.interfaces.map(({ name }) => name) : [words[at + 1]];
  return isShow ? { stdout: names.map((name) => `qdisc noqueue 0: dev ${name} root refcnt 2 \n`).join("") } : {};
};
