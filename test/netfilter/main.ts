/**
 * For people. `node dist/test/netfilter/main.js`
 *   show FILE…             prints what the kernel makes of the cases of files
 *   record FILE…           writes it into them
 *   corpus FILE COUNT SEED writes generated cases that the kernel answers twice alike
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseCases, printCase } from "./case.ts";
import { generateCorpus } from "./corpus.ts";
import { KernelRouter } from "./kernel-router.ts";
import { run } from "./router.ts";

const [verb, ...rest] = process.argv.slice(2);
const router = await KernelRouter.create();
try {
  if (verb === "corpus") {
    const [file, count, seed] = rest;
    const { cases, refused, unsteady } = await generateCorpus(router, Number(count), Number(seed));
    writeFileSync(file, cases.map(printCase).join("\n"));
    console.log(`${cases.length} cases; ${refused} refused by nft; ${unsteady.length} not the same twice: ${unsteady.join(" | ")}`);
  } else {
    for (const file of rest) {
      const texts: string[] = [];
      for (const it of parseCases(readFileSync(file, "utf8"))) texts.push(printCase(await run(router, it)));
      if (verb === "record") writeFileSync(file, texts.join("\n"));
      else console.log(texts.join("\n"));
    }
  }
} finally {
  await router.close();
}
