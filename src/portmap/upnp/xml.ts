/** XML as it is written here: text between tags, nothing else. */
export function element(name: string, content: string | readonly string[], attributes = ""): string {
  const inner = typeof content === "string" ? content : content.join("");
  return `<${name}${attributes && ` ${attributes}`}>${inner}</${name.split(" ")[0]}>`;
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };
/** What XML 1.0 has no way to write is left out. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that may not be there
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

export const escaped = (text: string): string => text.replace(FORBIDDEN, "").replace(/[&<>"']/g, (each) => ESCAPES[each]);

export const document = (root: string): string => `<?xml version="1.0"?>\n${root}\n`;
