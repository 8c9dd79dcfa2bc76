/**
 * For people. `node dist/test/netfilter/main.js`
 *   show FILE…             prints what the kernel makes of the cases of files
 *   record FILE…           writes it into them
 *   ours FILE…             compares packetloom with what is written in them
 *   corpus FILE COUNT SEED writes generated cases that the kernel answers twice alike
 */
import { readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { parseCases, printCase } from "./case.ts";
import { compare } from "./compare.ts";
import { generateCorpus } from "./corpus.ts";
import { KernelRouter } from "./kernel-router.ts";
import { OurRouter } from "./ours.ts";
import { run } from "./router.ts";

const readCases = (file: string) => (file.endsWith(".gz") ? gunzipSync(readFileSync(file)) : readFileSync(file)).toString();
const [verb, ...rest] = process.argv.slice(2);

if (verb === "ours") {
  const ours = await OurRouter.create();
  let [same, others] = [0, 0];
  for (const file of rest) {
    for (const it of parseCases(readCases(file)).filter(({ varies }) => !varies)) {
      const text = await run(ours, it).then(
        (got) => compare(it, got)?.text,
        (error) => (error as Error).stack ?? "",
      );
      if (text === undefined) same++;
      else console.log(`--- ${file}: ${it.title}\n${text}`);
      others += text === undefined ? 0 : 1;
    }
  }
  console.log(`${same} as the kernel's, ${others} not`);
  process.exit();
}
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
