/** Texts of files, and rulesets with what they include in the place where it is included (nft's `include "file"`, `include "dir/*.nft"`). */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LoomError } from "../base/errors.ts";

/** As nft has it. */
const DEEPEST = 16;
/** A file's text; what it cannot be read for is one sentence. */
export function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      { ENOENT: "there is no such file", EISDIR: "it is a folder", EACCES: "it may not be read by this user" }[code ?? ""] ?? message;
    throw new LoomError("ENOENT", `cannot read the ${what} ${path}: ${why}`);
  }
}

export function readRules(path: string): string {
  return expanded(readText(path, "ruleset"), path, 0);
}

/** Strings and comments, in which nothing is included; and `include "…"` where a command may begin. */
const TOKEN = /"[^"\n]*"|#[^\n]*|(?<=^|[;{\n])([ \t]*)include[ \t]+"([^"\n]+)"/g;

/** Relative paths begin at the file that includes, so that rules can be kept in one folder, wherever that is. */
export function expanded(text: string, path: string, depth: number): string {
  if (depth > DEEPEST) throw new LoomError("EINVAL", `${path}: includes are nested more than ${DEEPEST} deep`);
  return text.replace(TOKEN, (token: string, _indent: string, pattern: string | undefined, offset: number) => {
    if (pattern === undefined) return token;
    const files = matching(resolve(dirname(path), pattern));
    if (!files) {
      const row = text.slice(0, offset).split("\n").length;
      throw new LoomError("ENOENT", `${path}:${row}: ${token.trim()}: there is no such file`);
    }
    // What stands behind the include is no part of a file's last line.
    return files.map((file) => expanded(readText(file, "ruleset"), file, depth + 1).replace(/[^\n]$/, "$&\n")).join("");
  });
}

/** Files whose names fit, in alphabetical order; undefined when the one that is named is not there. A folder's name, with a slash behind it, stands for none. */
function matching(path: string): string[] | undefined {
  if (!/[*?[]/.test(path)) return existsSync(path) ? (statSync(path).isDirectory() ? [] : [path]) : undefined;
  const parts = path.split("/").filter((part) => part !== "");
  return parts
    .reduce<string[]>((folders, part) => folders.flatMap((folder) => within(folder, part)), ["/"])
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
}
/** What of a folder fits one part of a pattern; hidden names only where they are written so. */
function within(folder: string, part: string): string[] {
  if (!/[*?[]/.test(part)) return existsSync(join(folder, part)) ? [join(folder, part)] : [];
  const pattern = new RegExp(
    `^${part
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replace(/\*/g, ".*")
      .replace(/\?/g, ".")}$`,
  );
  try {
    const names = readdirSync(folder).filter((each) => pattern.test(each) && (part.startsWith(".") || !each.startsWith(".")));
    return names.sort().map((each) => join(folder, each));
  } catch {
    return [];
  }
}
