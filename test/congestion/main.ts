/** `npm run throughput`: measures the table of docs/throughput.md anew and writes it there. */
import { readFileSync, writeFileSync } from "node:fs";
import { measureAll, render } from "./table.ts";

const [unknown] = process.argv.slice(2);
if (unknown !== undefined) {
  console[unknown === "--help" ? "log" : "error"]("usage: npm run throughput, without options: it measures and writes docs/throughput.md");
  process.exit(unknown === "--help" ? 0 : 2);
}

const PAGE = "docs/throughput.md";
const table = render(await measureAll());
const page = readFileSync(PAGE, "utf8");
const start = page.indexOf("| RTT");
const end = page.indexOf("\n\n", start);
writeFileSync(PAGE, `${page.slice(0, start)}${table}${page.slice(end < 0 ? page.length : end)}`);
console.log(table);
