/** What `console.log` shows of an object in Node, Deno and Bun: what a person wants to know of it, in place of its insides. */

/** The method's name: it is given how deep it is inside of something, options, and `util.inspect` itself. */
export const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;

export type Inspect = (value: unknown, options?: object) => string;

/** `Name { … }` of a few facts. */
export function facts(name: string, of: object, depth: number, options: object, inspect: Inspect | undefined): string {
  // Deno and Bun may leave the last one out, and what is deep inside is named alone.
  if (depth < 0 || !inspect) return `[${name}]`;
  return `${name} ${inspect(of, options)}`;
}
