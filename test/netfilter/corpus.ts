/** Many generated cases, each from a seed of its own that is its title. */
import { Random } from "../../src/base/random.ts";
import type { Case } from "./case.ts";
import { compare } from "./compare.ts";
import { Dice } from "./dice.ts";
import { generate } from "./generate.ts";
import { type Router, run } from "./router.ts";

export interface Corpus {
  readonly cases: readonly Case[];
  readonly refused: number;
  /** Where the router answered the same packets differently the second time: it drew lots. */
  readonly unsteady: readonly string[];
}

export async function generateCorpus(router: Router, count: number, seed: number): Promise<Corpus> {
  const cases: Case[] = [];
  const unsteady: string[] = [];
  let refused = 0;
  for (let number = seed; cases.length < count; number++) {
    const made = await generate(new Dice(new Random(number)), router, `seed ${number}`);
    if (!made) {
      refused++;
      continue;
    }
    const difference = compare(made, await run(router, made));
    if (difference) unsteady.push(`${made.title}: ${difference.text}`);
    else cases.push(made);
  }
  return { cases, refused, unsteady };
}
