/**
 * A configuration from YAML or from an object. Whatever is wrong is told all at once, a line each:
 *
 *   router.yaml:12:10: interfaces[0].mtu is 20; expected a whole number from 68 to 65535
 */
import * as v from "valibot";
import { type Document, isMap, isPair, isScalar, LineCounter, type Node, parseDocument, visit } from "yaml";
import { LoomError } from "../base/errors.ts";
import { shown } from "../base/options.ts";
import type { Source } from "../filter/index.ts";
import { type Mistake, pathText } from "./mistakes.ts";
import { references } from "./references.ts";
import { CONFIG, type RouterConfig } from "./schema.ts";

/** Every mistake of an object, without places. */
export function mistakesOf(value: unknown): Mistake[] {
  const result = v.safeParse(CONFIG, value);
  if (result.success) return references(result.output);
  const found = result.issues.map((issue): Mistake => {
    const holder = issue.path?.at(-1);
    if (issue.type === "strict_object" && Array.isArray(holder?.input)) return instead(issue.path ?? [], holder.input);
    const path = (issue.path ?? []).map(({ key }) => key as string | number);
    const isName = issue.type === "strict_object" && issue.expected === "never";
    const where = pathText(path);
    if (isName) {
      const holder = pathText(path.slice(0, -1));
      return { path, isName, message: holder ? `${holder}: ${issue.message}` : issue.message };
    }
    if (issue.message.startsWith("is missing")) return { path, message: `${where} ${issue.message}` };
    return { path, message: `${where || "the configuration"} is ${shownValue(issue.input)}; ${issue.message}` };
  });
  return [...new Map(found.map((mistake) => [mistake.message, mistake])).values()];
}

/** A list is an object too: what its names would be is not what is wrong with it. */
function instead(inner: readonly { readonly key: unknown }[], list: unknown): Mistake {
  const path = inner.slice(0, -1).map(({ key }) => key as string | number);
  return { path, message: `${pathText(path) || "the configuration"} is ${shown(list)}; expected an object` };
}

function shownValue(value: unknown): string {
  if (value === undefined) return "missing";
  return value !== null && typeof value === "object" && !Array.isArray(value) ? "an object" : shown(value);
}

/** A checked configuration from an object; throws EINVAL with a line for each mistake. */
export function checkConfig(value: unknown, where = "router"): RouterConfig {
  return checked(value, (mistake) => `${where}: ${mistake.message}`);
}

/** Reads YAML text; `file` is its name in the messages. `isRead`: files that it names have been read, and their texts stand beside the names. */
export function parseConfig(source: string, file = "router.yaml", isRead = false): RouterConfig {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    throw told(document.errors.map((error) => () => `${at(error.pos[0])}: ${sentence(error.message)}`));
  }
  const twice = twins(document);
  if (twice.length > 0)
    throw told(
      twice.map(
        ([offset, name]) =>
          () =>
            `${at(offset)}: "${name}" is there twice`,
      ),
    );
  const value = plainOf(document, file);
  for (const name of isRead ? [] : RULES_KEYS) {
    const other = `${name}File`;
    if (!document.has(name) || !document.has(other)) continue;
    const place = placeOf(document, { path: [other], message: "" });
    throw told([() => `${at(place)}: ${other}: there is "${name}" already; expected one of the two`]);
  }
  const config = checked(value, (mistake) => `${at(placeOf(document, mistake))}: ${mistake.message}`);
  const places: Places = {};
  for (const key of RULES_KEYS) {
    const place = blockOf(document.getIn([key], true) as Node | undefined, source, lines);
    if (place) places[key] = { name: file, ...place };
  }
  return { ...config, [RULES]: places } as RouterConfig;
}

const RULES_KEYS = ["ruleset", "iptables", "ip6tables"] as const;
export type RulesKey = (typeof RULES_KEYS)[number];
/** Where rules that stand in a configuration begin in it: not an option, but what its text says by itself. */
const RULES = Symbol("places of the rules");
type Places = { [Key in RulesKey]?: Omit<Source, "text"> };

export function placeOfRules(config: RouterConfig, key: RulesKey): Omit<Source, "text"> {
  return (config as { readonly [RULES]?: Places })[RULES]?.[key] ?? { name: key };
}

/** Lines in front of a literal block (`ruleset: |`), and how far its lines are indented; of other texts the lines are not their own. */
function blockOf(node: Node | undefined, source: string, counter: LineCounter): { lines: number; columns: number } | undefined {
  if (!isScalar(node) || node.type !== "BLOCK_LITERAL" || !node.range) return undefined;
  const lines = counter.linePos(node.range[0]).line;
  const first = /[^\n]*\n(?: *\n)*( *)/.exec(source.slice(node.range[0]));
  return { lines, columns: first?.[1].length ?? 0 };
}

function checked(value: unknown, line: (mistake: Mistake) => string): RouterConfig {
  const mistakes = mistakesOf(value);
  if (mistakes.length > 0) throw told(mistakes.map((mistake) => () => line(mistake)));
  return value as RouterConfig;
}

/** More lines than that help nobody. */
const MOST_LINES = 40;

function told(lines: readonly (() => string)[]): LoomError {
  const shown = lines.slice(0, MOST_LINES).map((line) => line());
  const more = lines.length - shown.length;
  return new LoomError("EINVAL", [...shown, ...(more > 0 ? [`and ${more} more mistakes`] : [])].join("\n"));
}

/** Names that stand twice in one map, and where they stand again. */
function twins(document: Document): [offset: number, name: string][] {
  const found: [number, string][] = [];
  visit(document, {
    Map(_, { items }) {
      const names = new Set<string>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        if (names.has(name)) found.push([key.range?.[0] ?? 0, name]);
        names.add(name);
      }
    },
  });
  return found;
}

/** What the text stands for; aliases that multiply, or that nothing stands behind, are refused. */
function plainOf(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    throw new LoomError("EINVAL", `${file}: ${sentence((error as Error).message)}`);
  }
}

const sentence = (message: string) => message.split("\n")[0].replace(/:$/, "");

/** Where the deepest part of the path that is there stands: a missing name is missing in what should hold it. */
function placeOf(document: Document, { path, isName }: Mistake): number {
  for (let depth = path.length; depth > 0; depth--) {
    const holder = document.getIn(path.slice(0, depth - 1), true);
    const key = path[depth - 1];
    if (isName && depth === path.length && isMap(holder)) {
      const pair = holder.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key));
      const name = pair?.key as Node | undefined;
      if (name?.range) return name.range[0];
    }
    const node = document.getIn(path.slice(0, depth), true) as Node | undefined;
    if (node?.range) return node.range[0];
  }
  return (document.contents as Node | null)?.range?.[0] ?? 0;
}
