/** Numbers as C reads them: `0x1f`, `017` (15), `15`; undefined for what is none, such as `08`. */
export function integer(text: string): bigint | undefined {
  if (/^(0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$/.test(text)) return BigInt(text);
  return /^0[0-7]+$/.test(text) ? BigInt(`0o${text.slice(1)}`) : undefined;
}
