// Makes the page of src/playground in a folder: scripts bundled, the code that it shows taken from the files that run.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const ENTRIES = ["page", "tcp-worker", "lab-worker", "gateway-worker", "tab-worker", "worker"];
const IMPORTS = {
  tcp: 'import { Engine, Host, joinPorts } from "packetloom";',
  lab: 'import { Lab } from "packetloom";',
  gateway: 'import { Engine, Host, joinPorts } from "packetloom";',
  tabs: 'import { channelLink, Host } from "packetloom";',
  router: 'import { Engine, parseMac } from "packetloom";',
};
const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Takes away the spaces that all lines begin with. */
function flush(lines) {
  const depth = Math.min(...lines.filter((line) => line.trim()).map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(depth));
}

/** The lines between `// #show NAME` and `// #end`, piece after piece. */
function shown(source, name, file) {
  const pieces = [...source.matchAll(new RegExp(`^ *// #show ${name}\\n([\\s\\S]*?)^ *// #end$`, "gm"))];
  if (pieces.length === 0) throw new Error(`${file} has no lines to show between "// #show ${name}" and "// #end"`);
  return pieces.flatMap(([, text]) => flush(text.trimEnd().split("\n"))).join("\n");
}

/** From the first line that begins with `from` to the first after it that begins with `to`. */
function between(source, from, to, file) {
  const lines = source.split("\n");
  const first = lines.findIndex((line) => line.startsWith(from));
  const last = lines.findIndex((line, i) => i > first && line.startsWith(to));
  if (first < 0 || last < 0) throw new Error(`${file} has no lines from "${from}" to "${to}"`);
  return lines.slice(first, last + 1).join("\n");
}

/** Strings, comments and keywords in their colours. */
function coloured(code) {
  const TOKENS = /(\/\/.*)|("[^"\n]*"|`[^`\n]*`)|\b(import|from|const|await|for|of|void|while|new|async|return)\b/g;
  let out = "";
  let at = 0;
  for (const match of code.matchAll(TOKENS)) {
    const kind = match[1] ? "c" : match[2] ? "s" : "k";
    out += `${escapeHtml(code.slice(at, match.index))}<span class="${kind}">${escapeHtml(match[0])}</span>`;
    at = match.index + match[0].length;
  }
  return out + escapeHtml(code.slice(at));
}

/** Links to the repository, when package.json names one, and to the texts that stand beside the page. */
function links({ repository, homepage }) {
  const url = homepage ?? (repository?.url ?? repository)?.replace(/^git\+/, "").replace(/\.git$/, "");
  const source = url?.startsWith("http") ? [`<a href="${escapeHtml(url)}">source</a>`] : [];
  return [...source, '<a href="text/README.md.txt">README</a>', '<a href="text/devices.md.txt">in a browser</a>'].join(" ");
}

export async function makePage(root, out, entry = (name) => join(root, `dist/src/playground/${name}.js`)) {
  const read = (name) => readFileSync(join(root, name), "utf8");
  const playground = (name) => read(`src/playground/${name}`);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "text"), { recursive: true });
  await build({
    entryPoints: ENTRIES.map(entry),
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    minify: true,
    sourcemap: true,
    platform: "browser",
    target: "es2022",
    logLevel: "warning",
  });
  const code = (name, text) => `${coloured(`${IMPORTS[name]}\n\n${text}`)}`;
  const example = read("examples/forward.ts");
  const manifest = JSON.parse(read("package.json"));
  const file = (name) => {
    writeFileSync(join(out, "text", `${name}.txt`), playground(name));
    return `<a href="text/${name}.txt">src/playground/${name}</a>`;
  };
  const fill = {
    "code:tcp": () => code("tcp", shown(playground("tcp-worker.ts"), "tcp", "tcp-worker.ts")),
    "code:lab": () => code("lab", shown(playground("lab-worker.ts"), "lab", "lab-worker.ts")),
    "code:gateway": () => code("gateway", shown(playground("gateway-worker.ts"), "gateway", "gateway-worker.ts")),
    "code:tabs": () => code("tabs", shown(playground("tab-worker.ts"), "tabs", "tab-worker.ts")),
    "code:router": () => code("router", between(example, "const engine =", "engine.port(0).configure", "examples/forward.ts")),
    links: () => links(manifest),
    version: () => manifest.version,
  };
  const html = playground("index.html").replaceAll(/\{\{(?:file:)?([^}]+)\}\}/g, (whole, name) => {
    if (whole.startsWith("{{file:")) return file(name);
    if (!fill[name]) throw new Error(`index.html has ${whole}; expected one of ${Object.keys(fill).join(", ")}`);
    return fill[name]();
  });
  writeFileSync(join(out, "index.html"), html);
  writeFileSync(join(out, "text/forward.ts.txt"), example);
  for (const [from, to] of [
    ["src/playground/style.css", "style.css"],
    ["node_modules/uplot/dist/uPlot.min.css", "uplot.css"],
    ["data/internet4.bin.gz", "internet4.bin.gz"],
    ["data/internet6.bin.gz", "internet6.bin.gz"],
    ["README.md", "text/README.md.txt"],
    ["docs/devices.md", "text/devices.md.txt"],
  ]) {
    copyFileSync(join(root, from), join(out, to));
  }
}
