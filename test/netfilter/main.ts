/**
 * For people: `node dist/test/netfilter/main.js show FILE…` prints what the kernel makes of the cases of files,
 * `record FILE…` writes it into them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseCases, printCase } from "./case.ts";
import { KernelRouter } from "./kernel-router.ts";
import { run } from "./router.ts";

const [verb, ...files] = process.argv.slice(2);
const router = await KernelRouter.create();
try {
  for (const file of files) {
    const texts: string[] = [];
    for (const it of parseCases(readFileSync(file, "utf8"))) texts.push(printCase(await run(router, it)));
    if (verb === "record") writeFileSync(file, texts.join("\n"));
    else console.log(texts.join("\n"));
  }
} finally {
  await router.close();
}
