/** Commands that follow each other and add elements to one set: done at once, since each alone goes through all that the set holds. */
import type { AddCommand, Command } from "./ast.ts";

type ElementCommand = AddCommand & { readonly c: "element" };
export type Run = readonly Command[];

export const isElements = (command: Command): command is ElementCommand & Command => command.c === "element";

export function runsOf(commands: readonly Command[]): readonly Run[] {
  const runs: Command[][] = [];
  for (const command of commands) {
    const run = runs.at(-1);
    if (run && goesWith(run[0], command)) run.push(command);
    else runs.push([command]);
  }
  return runs;
}

function goesWith(a: Command, b: Command): boolean {
  if (!isElements(a) || !isElements(b) || a.op !== "add" || b.op !== "add") return false;
  return typeof a.name.name === "string" && a.family === b.family && a.table.name === b.table.name && a.name.name === b.name.name;
}
