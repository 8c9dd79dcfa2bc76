/** Times as nft writes them: spans ("1h30m"), days with hours, hours of a day. Dates are UTC. */

const UNIT_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
export function milliseconds(text: string): number {
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[dhms])/g)) sum += Number(count) * UNIT_MS[unit];
  return sum;
}

/** Largest unit first, units that are zero left out. */
export function formatTime(ms: number): string {
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
    ["ms", 1],
  ];
  let text = "";
  for (const [unit, size] of units) {
    const count = Math.floor(ms / size);
    if (count > 0) text += `${count}${unit}`;
    ms -= count * size;
  }
  return text || "0s";
}

const DATE = /^(\d{4}-\d\d-\d\d)(?: (\d\d?:\d\d)(?::(\d\d))?)?$/;
/** Nanoseconds since 1970. */
export function parseDate(text: string): bigint | string {
  const match = DATE.exec(text);
  if (!match) return /^\d+$/.test(text) ? BigInt(text) * 1_000_000_000n : "Cannot parse date";
  const ms = Date.parse(`${match[1]}T${(match[2] ?? "00:00").padStart(5, "0")}:${match[3] ?? "00"}Z`);
  return Number.isNaN(ms) ? "Cannot parse date" : BigInt(ms) * 1_000_000n;
}
export const formatDate = (value: bigint): string =>
  `"${new Date(Number(value / 1_000_000n)).toISOString().slice(0, 19).replace("T", " ")}"`;

const HOUR = /^(\d\d?):(\d\d)(?::(\d\d))?$/;
/** Seconds of the day. */
export function parseHour(text: string): bigint | string {
  const match = HOUR.exec(text);
  if (!match) return /^\d+$/.test(text) ? BigInt(text) : `Can't parse "${text}": expected hh:mm or hh:mm:ss`;
  const [hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  if (hours > 23 || minutes > 59 || seconds > 59) return `Can't parse "${text}": expected 00:00 to 23:59:59`;
  return BigInt(Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3] ?? 0));
}
export function formatHour(value: bigint): string {
  const seconds = Number(value);
  const two = (count: number) => count.toString().padStart(2, "0");
  const rest = seconds % 60;
  return `"${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}${rest === 0 ? "" : `:${two(rest)}`}"`;
}
