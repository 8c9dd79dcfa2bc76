/**
 * For people. `node dist/test/netfilter/main.js`
 *   show FILE…             prints what the kernel makes of the cases of files
 *   record FILE…           writes it into them
 *   corpus FILE COUNT SEED writes generated cases that the kernel answers twice alike
 *   ours FILE…             where packetloom differs from what is written in them
 *   open                   writes the titles of all recorded cases in which it does to open.txt
 *   hunt COUNT SEED        generated cases through both, differences shrunk to the least and printed
 */
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { Random } from "../../src/base/random.ts";
import { printCase } from "./case.ts";
import { generateCorpus } from "./corpus.ts";
import { Dice } from "./dice.ts";
import { generate } from "./generate.ts";
import { KernelRouter } from "./kernel-router.ts";
import { OurRouter } from "./ours.ts";
import { CORPUS, differenceOf, files, readCases, writeOpen } from "./recorded.ts";
import { run } from "./router.ts";
import { differ, shrink } from "./shrink.ts";

const [verb, ...rest] = process.argv.slice(2);

async function ours(names: readonly string[], tell: (title: string, text: string) => void): Promise<void> {
  const router = await OurRouter.create();
  for (const file of names) {
    for (const it of readCases(file)) {
      const text = await differenceOf(router, it);
      if (text !== undefined) tell(it.title, text);
    }
  }
  await router.close();
}

async function corpus(router: KernelRouter, file: string, count: number, seed: number): Promise<void> {
  const { cases, refused, unsteady } = await generateCorpus(router, count, seed);
  const text = cases.map(printCase).join("\n");
  writeFileSync(file, file.endsWith(".gz") ? gzipSync(text, { level: 9 }) : text);
  console.log(`${cases.length} cases; ${refused} refused by nft; ${unsteady.length} not the same twice\n${unsteady.join("\n")}`);
}

async function hunt(kernel: KernelRouter, count: number, seed: number): Promise<void> {
  const router = await OurRouter.create();
  for (let number = seed; number < seed + count; number++) {
    const made = await generate(new Dice(new Random(number)), kernel, `seed ${number}`);
    const steady = made && !(await differ(made, kernel, kernel));
    if (!steady || !(await differ(made, kernel, router))) continue;
    const { it, difference } = await shrink(made, kernel, router);
    console.log(`${printCase(it)}# ${difference.text.replaceAll("\n", "\n# ")}\n`);
  }
  await router.close();
}

async function withKernel(use: (router: KernelRouter) => Promise<void>): Promise<void> {
  const router = await KernelRouter.create();
  await use(router).finally(() => router.close());
}

if (verb === "ours") await ours(rest, (title, text) => console.log(`--- ${title}\n${text}`));
else if (verb === "open") {
  const titles: string[] = [];
  await ours([...files, CORPUS], (title) => titles.push(title));
  writeOpen(titles);
} else if (verb === "corpus") await withKernel((router) => corpus(router, rest[0], Number(rest[1]), Number(rest[2])));
else if (verb === "hunt") await withKernel((router) => hunt(router, Number(rest[0]), Number(rest[1])));
else {
  await withKernel(async (router) => {
    for (const file of rest) {
      const texts: string[] = [];
      for (const it of readCases(file)) texts.push(printCase(await run(router, it)));
      if (verb === "record") writeFileSync(file, texts.join("\n"));
      else console.log(texts.join("\n"));
    }
  });
}
