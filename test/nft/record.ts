/** Records what nft makes of the corpus: `node dist/test/nft/record.js` as root, after the build, where nft is 1.0.6. */
import { writeFileSync } from "node:fs";
import { features, file, preludeOf, type Recorded, rulesOf, split, tidy } from "./corpus.ts";
import { NftNamespace } from "./kernel.ts";

export function record(namespace: NftNamespace, line: string): Recorded {
  const [family, rule] = split(line);
  namespace.nft("flush", "ruleset");
  namespace.feed(preludeOf(family));
  const added = namespace.feed(`add rule ${family} t c ${rule}\n`, "--debug=netlink");
  const result = { rule: line, netlink: tidy(added.stdout) };
  if (added.status !== 0) return { ...result, error: added.stderr };
  const list = namespace.nft("list", "chain", family, "t", "c").stdout.split("\n")[2].trim();
  const { nftables } = JSON.parse(namespace.nft("-j", "list", "chain", family, "t", "c").stdout);
  const json = nftables.find((each: { rule?: unknown }) => each.rule)?.rule;
  return { ...result, list, json: json?.expr };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const namespace = new NftNamespace();
  try {
    for (const feature of features()) {
      const all = rulesOf(feature).map((line) => JSON.stringify(record(namespace, line)));
      writeFileSync(file(`recorded/${feature}.json`), `[\n${all.join(",\n")}\n]\n`);
    }
  } finally {
    namespace.remove();
  }
}
