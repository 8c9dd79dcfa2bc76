/** Commands that follow each other and add elements to one set, or take some out: done at once, since each alone goes through all that the set holds. */
import type { AddCommand, Command, DeleteCommand, Named, SetNode } from "./ast.ts";

export type Run = readonly Command[];
type ElementCommand = Command & ((AddCommand & { readonly c: "element" }) | DeleteCommand) & { readonly elements: SetNode };

export function runsOf(commands: readonly Command[]): readonly Run[] {
  const runs: Command[][] = [];
  for (const command of commands) {
    const run = runs.at(-1);
    if (run && goesWith(run[0], command)) run.push(command);
    else runs.push([command]);
  }
  return runs;
}

/** The one command that does what all of a run do. */
export function joined(run: Run): Command {
  const commands = run.filter(isElements);
  const [first] = commands;
  return { ...first, elements: { ...first.elements, items: commands.flatMap(({ elements }) => elements.items) } };
}

function isElements(command: Command): command is ElementCommand {
  const isOne = command.c === "element" || (command.c === "delete" && command.what === "element");
  return isOne && command.elements?.k === "set" && (command.op === "add" || command.op === "delete");
}

function goesWith(a: Command, b: Command): boolean {
  if (!isElements(a) || !isElements(b) || a.c !== b.c || a.family !== b.family) return false;
  return isSame(a.table, b.table) && isSame(a.name, b.name);
}

const isSame = (a: Named | undefined, b: Named | undefined): boolean => typeof a?.name === "string" && a.name === b?.name;
