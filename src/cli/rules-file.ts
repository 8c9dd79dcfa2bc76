/** Texts of files, and rulesets with what they include in the place where it is included (nft's `include "file"`, `include "dir/*.nft"`). */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LoomError } from "../base/errors.ts";

/** As nft has it. */
const DEEPEST = 16;
const INCLUDE = /^([ \t]*)include[ \t]+"([^"\n]+)"[ \t]*;?[ \t]*$/gm;

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

/** Paths are those of nft: relative ones begin at the file that includes. */
export function expanded(text: string, path: string, depth: number): string {
  if (depth > DEEPEST) throw new LoomError("EINVAL", `${path}: includes are nested more than ${DEEPEST} deep`);
  return text.replace(INCLUDE, (line: string, _indent: string, pattern: string, offset: number) => {
    const files = matching(resolve(dirname(path), pattern));
    if (files.length === 0 && !/[*?[]/.test(pattern)) {
      const row = text.slice(0, offset).split("\n").length;
      throw new LoomError("ENOENT", `${path}:${row}: ${line.trim()}: there is no such file`);
    }
    return files.map((file) => expanded(readText(file, "ruleset"), file, depth + 1)).join("\n");
  });
}

/** Files of a folder whose names fit, in alphabetical order; hidden ones only where they are named. */
function matching(path: string): string[] {
  const [folder, name] = [dirname(path), basename(path)];
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  const pattern = new RegExp(
    `^${name
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replace(/\*/g, ".*")
      .replace(/\?/g, ".")}$`,
  );
  return names
    .filter((each) => pattern.test(each) && (name.startsWith(".") || !each.startsWith(".")))
    .sort()
    .map((each) => join(folder, each));
}
