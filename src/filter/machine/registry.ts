/** Numbers that programs and the data plane know things by: chains in the program's function table, and what speaks to the host. */
import type { Expression, Family, ObjectSpec } from "../expressions.ts";

/** A statement that speaks to the host, or an object that the data plane knows by number. */
export type Statement =
  | Extract<Expression, { op: "log" | "synproxy" }>
  | { readonly op: "object"; readonly object: ObjectSpec }
  | ({ readonly op: "trace" } & TracePoint);

/** What tells of a packet that is followed: a rule, or without a handle the policy of a chain. */
export interface TracePoint {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly handle?: number;
}

/** Who uses numbers of a registry. */
export interface User {
  readonly chainKeys: readonly string[];
  readonly statementNumbers: ReadonlySet<number>;
}

export class Registry {
  private readonly statements = new Map<number, Statement>();
  private readonly chains = new Map<string, number>();
  private readonly taken = new Set<number>();
  private last = 0;

  /** A number that no other statement has had. */
  add(statement: Statement): number {
    this.statements.set(++this.last, statement);
    return this.last;
  }

  statement(number: number): Statement | undefined {
    return this.statements.get(number);
  }

  /** A chain's number; it keeps it as long as it is in force, for elements of maps that name it. */
  chain(key: string): number {
    let number = this.chains.get(key);
    if (number === undefined) {
      for (number = 0; this.taken.has(number); ) number++;
      this.chains.set(key, number);
      this.taken.add(number);
    }
    return number;
  }

  /** The chain that a number names, as it was given: family, table and name. */
  chainKey(number: number): string | undefined {
    for (const [key, each] of this.chains) if (each === number) return key;
    return undefined;
  }

  /** Forgets what nobody uses. */
  prune(users: readonly User[]): void {
    const statements = new Set(users.flatMap(({ statementNumbers }) => [...statementNumbers]));
    for (const number of this.statements.keys()) if (!statements.has(number)) this.statements.delete(number);
    const chains = new Set(users.flatMap(({ chainKeys }) => chainKeys));
    for (const [key, number] of this.chains) {
      if (chains.has(key)) continue;
      this.chains.delete(key);
      this.taken.delete(number);
    }
  }
}
