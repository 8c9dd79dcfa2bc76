// Derives the route tables that ship in data/ from the npm package @ip-location-db/asn (RouteViews and DB-IP data,
// CC-BY-4.0): address ranges of one origin AS become CIDR blocks, the next hop is a hash of the AS number.
//
//   node scripts/make-tables.mjs [folder of the unpacked package]
//
// Without a folder the package is installed into a temporary one.
import { execFileSync } from "node:child_process";
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { Columns4, Columns6, encodeCompact, parse4, parse6 } from "../dist/src/index.js";

const VERSION = "2.3.2026061719";

/** At most 250 next hops, so that a leaf takes one byte: Knuth's multiplicative hash of the AS number. */
const hopOf = (as) => 1 + ((Math.imul(as, 0x9e3779b1) >>> 0) % 250);

function folder() {
  if (process.argv[2]) return { path: process.argv[2], done() {} };
  const temporary = mkdtempSync(join(tmpdir(), "tables-"));
  execFileSync("npm", ["install", "--prefix", temporary, "--no-save", `@ip-location-db/asn@${VERSION}`], { stdio: "inherit" });
  return { path: join(temporary, "node_modules/@ip-location-db/asn"), done: () => rmSync(temporary, { recursive: true }) };
}

async function* rows(path) {
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const [from, to, as] = line.split(",", 3);
    yield { from, to, hop: hopOf(Number(as)) };
  }
}

/** The fewest CIDR blocks that make up a range, in order; `width` 32 or 128, `one` of the number's own type. */
function* blocks(from, to, width) {
  while (from <= to) {
    let bits = 0n;
    while (bits < width && (from & ((2n << bits) - 1n)) === 0n && from + (2n << bits) - 1n <= to) bits++;
    yield { address: from, length: Number(width - bits) };
    from += 1n << bits;
  }
}

async function make(path, columns, parse, width) {
  for await (const { from, to, hop } of rows(path)) {
    for (const { address, length } of blocks(parse(from), parse(to), width)) {
      if (width === 32n) columns.add(Number(address), length, hop);
      else columns.add(address >> 64n, address & 0xffffffffffffffffn, length, hop);
    }
  }
  return columns;
}

const wide = (text) => {
  const { high, low } = parse6(text);
  return (high << 64n) | low;
};
const source = folder();
const v4 = await make(join(source.path, "asn-ipv4.csv"), new Columns4(), (text) => BigInt(parse4(text)), 32n);
const v6 = await make(join(source.path, "asn-ipv6.csv"), new Columns6(), wide, 128n);
mkdirSync("data", { recursive: true });
for (const [name, columns] of [
  ["internet4", v4],
  ["internet6", v6],
]) {
  const bytes = gzipSync(encodeCompact(columns), { level: 9 });
  writeFileSync(`data/${name}.bin.gz`, bytes);
  console.log(`data/${name}.bin.gz: ${columns.count} prefixes, ${bytes.length} bytes`);
}
writeFileSync(
  "data/ATTRIBUTION.md",
  `# Where the tables come from

\`internet4.bin.gz\` (${v4.count} IPv4 prefixes) and \`internet6.bin.gz\` (${v6.count} IPv6 prefixes) are derived by
\`scripts/make-tables.mjs\` from the npm package \`@ip-location-db/asn\` ${VERSION}, which is made of:

- RouteViews data by the University of Oregon, licensed CC BY 4.0 (https://www.routeviews.org)
- DB-IP.com IP-to-ASN Lite data, licensed CC BY 4.0 (https://db-ip.com)

Changes made: address ranges are split into CIDR blocks; the next hop of a block is 1 + (AS number × 0x9e3779b1 mod
2^32) mod 250, so that one AS is one next hop; names are left out. The tables stay under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/); the rest of this repository is MIT.
`,
);
console.log(readFileSync("data/ATTRIBUTION.md", "utf8").split("\n")[2]);
source.done();
