/** Something wrong in a configuration, and where. */
export type Path = readonly (string | number)[];

export interface Mistake {
  readonly path: Path;
  readonly message: string;
  /** It is the name itself that is wrong, not what stands behind it. */
  readonly isName?: boolean;
}

/** "interfaces[0].mtu" */
export function pathText(path: Path): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`)).join("");
}
