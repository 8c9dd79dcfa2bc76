/** Rates, sizes and times as tc reads and writes them (tc(8), "PARAMETERS"). */
import { invalid } from "../base/errors.ts";

/** Bits a second of one of each. */
const RATES: Record<string, number> = {
  "": 1,
  bit: 1,
  kbit: 1e3,
  mbit: 1e6,
  gbit: 1e9,
  tbit: 1e12,
  kibit: 1024,
  mibit: 1024 ** 2,
  gibit: 1024 ** 3,
  bps: 8,
  kbps: 8e3,
  mbps: 8e6,
  gbps: 8e9,
};
const SIZES: Record<string, number> = {
  "": 1,
  b: 1,
  k: 1024,
  kb: 1024,
  m: 1024 ** 2,
  mb: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1024 ** 3,
  kbit: 128,
  mbit: 128 * 1024,
};
/** Milliseconds of one of each; a bare number is microseconds. */
const TIMES: Record<string, number> = {
  "": 1e-3,
  us: 1e-3,
  usec: 1e-3,
  usecs: 1e-3,
  ms: 1,
  msec: 1,
  msecs: 1,
  s: 1000,
  sec: 1000,
  secs: 1000,
};

function reader(what: string, units: Record<string, number>, example: string): (text: string) => number {
  return (text) => {
    const [, number, unit] = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(text.toLowerCase()) ?? [];
    if (number === undefined || !(unit in units))
      throw invalid(`tc: "${text}" is no ${what}; expected a number with a unit, like ${example}`);
    return Number(number) * units[unit];
  };
}

export const parseRate = reader("rate", RATES, "10mbit");
export const parseTime = reader("time", TIMES, "5ms");
const parseBytes = reader("size", SIZES, "10k");
export const parseSize = (text: string) => Math.round(parseBytes(text));

export function parseNumber(text: string): number {
  const value = Number(text);
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw invalid(`tc: "${text}" is no number`);
  return value;
}

export function parseShare(text: string): number {
  const value = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (!(value >= 0 && value <= 1)) throw invalid(`tc: "${text}" is no probability; expected 0 to 1`);
  return value;
}

/** As tc: the largest unit that divides it, unless it is above a thousand of it. */
export function formatRate(bitsPerSecond: number): string {
  const units = ["bit", "Kbit", "Mbit", "Gbit", "Tbit"];
  let rate = Math.round(bitsPerSecond);
  let unit = 0;
  while (unit < 4 && rate >= 1000 && !(rate % 1000 !== 0 && rate < 1_000_000)) {
    rate /= 1000;
    unit++;
  }
  return `${Math.floor(rate)}${units[unit]}`;
}

export function formatSize(bytes: number): string {
  const [kilo, mega] = [1024, 1024 ** 2];
  if (bytes >= mega && Math.abs(mega * Math.round(bytes / mega) - bytes) < kilo) return `${Math.round(bytes / mega)}Mb`;
  if (bytes >= kilo && Math.abs(kilo * Math.round(bytes / kilo) - bytes) < 16) return `${Math.round(bytes / kilo)}Kb`;
  return `${bytes}b`;
}

export function formatTime(ms: number): string {
  const three = (value: number) => String(Number(value.toPrecision(3)));
  if (ms >= 1000) return `${three(ms / 1000)}s`;
  return ms >= 1 ? `${three(ms)}ms` : `${Math.round(ms * 1000)}us`;
}

/** "1:10" of numbers; a minor of 0 is left out. */
export function formatId(major: number, minor = 0): string {
  return `${major.toString(16)}:${minor === 0 ? "" : minor.toString(16)}`;
}

/** "1:", "1:10" (hexadecimal). */
export function parseId(text: string): { major: number; minor: number } {
  const [, major, minor] = /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/i.exec(text) ?? [];
  if (major === undefined) throw invalid(`tc: "${text}" is no handle; expected MAJOR: or MAJOR:MINOR, hexadecimal`);
  return { major: Number.parseInt(major, 16), minor: minor === "" ? 0 : Number.parseInt(minor, 16) };
}
