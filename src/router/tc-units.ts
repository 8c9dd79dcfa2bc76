/** Amounts as tc(8) writes them: rates, sizes, times. Rates in bits a second, sizes in bytes, times in milliseconds. */
import { invalid } from "../base/errors.ts";

const amounts = (expected: string, units: Readonly<Record<string, number>>) => (word: string | undefined, of: string) => {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(word ?? "") ?? [];
  const factor = digits === undefined ? undefined : units[unit.toLowerCase()];
  if (factor === undefined) throw invalid(`tc: ${of} is ${JSON.stringify(word ?? "")}; expected ${expected}`);
  return Number(digits) * factor;
};

const bits: Record<string, number> = { "": 1, bit: 1, bps: 8 };
for (const [i, letter] of ["k", "m", "g", "t"].entries()) {
  for (const [name, each] of [
    ["bit", 1],
    ["bps", 8],
  ] as const) {
    bits[letter + name] = each * 1000 ** (i + 1);
    bits[`${letter}i${name}`] = each * 1024 ** (i + 1);
  }
}

export const rate = amounts("a rate, such as 100mbit", bits);
export const size = amounts("a size, such as 1500, 32kb or 1mb", {
  "": 1,
  b: 1,
  k: 1024,
  kb: 1024,
  m: 1024 ** 2,
  mb: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1024 ** 3,
  kbit: 1000 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
});
export const time = amounts("a time, such as 5ms", {
  "": 0.001,
  us: 0.001,
  usec: 0.001,
  usecs: 0.001,
  ms: 1,
  msec: 1,
  msecs: 1,
  s: 1000,
  sec: 1000,
  secs: 1000,
});
export const count = amounts("a number", { "": 1, p: 1 });
export const ratio = amounts("a share from 0 to 1", { "": 1 });

/** "1:", "1:10", "10" (a minor number), hexadecimal as tc has it. */
export function classId(word: string | undefined): { major: number; minor: number } {
  const [, major, minor] = /^(?:([0-9a-f]{1,4}):)?([0-9a-f]{0,4})$/i.exec(word ?? "") ?? [];
  if (minor === undefined || word === "") throw invalid(`tc: ${JSON.stringify(word ?? "")} is no handle; expected one such as 1: or 1:10`);
  return { major: Number.parseInt(major ?? "0", 16), minor: minor === "" ? 0 : Number.parseInt(minor, 16) };
}

const scaled = (value: number, base: number, names: readonly string[], unit: string): string => {
  let i = 0;
  let left = value;
  while (i + 1 < names.length && left >= base && left % base === 0) {
    left /= base;
    i++;
  }
  return `${Number(left.toFixed(3))}${names[i]}${unit}`;
};

export const rateText = (bps: number) => scaled(bps, 1000, ["", "K", "M", "G", "T"], "bit");
export const sizeText = (bytes: number) => scaled(bytes, 1024, ["", "K", "M", "G"], "b");

export function timeText(ms: number): string {
  if (ms >= 1000) return `${Number((ms / 1000).toFixed(3))}s`;
  return ms >= 1 ? `${Number(ms.toFixed(3))}ms` : `${Math.round(ms * 1000)}us`;
}
