/** The live view of a router on this terminal; without one, a line a second. */

import { type Look, topLine, topScreen } from "../router/top.ts";

/** q, Q, ^C. */
const QUIT: ReadonlySet<number> = new Set([113, 81, 3]);

export type Seen = Omit<Look, "atMs">;

const SECOND = 1000;
const ESCAPE = "\x1b[";
const [HIDE, SHOW, OTHER_SCREEN, OWN_SCREEN, HOME, TO_END_OF_LINE, TO_END] = ["?25l", "?25h", "?1049h", "?1049l", "H", "K", "J"].map(
  (code) => ESCAPE + code,
);

/** Looks every second until `signal` is aborted or, on a terminal, somebody types q or ^C. */
export async function top(see: () => Seen | Promise<Seen>, signal: AbortSignal): Promise<void> {
  const { stdout, stdin } = process;
  const now = async (): Promise<Look> => {
    return { ...(await see()), atMs: performance.now() };
  };
  let before = await now();
  let current = before;
  const isTerminal = stdout.isTTY === true;
  const quit = new AbortController();
  const over = AbortSignal.any([signal, quit.signal]);
  const draw = () => {
    const size = { columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 };
    const lines = topScreen(current, before, size).map((line) => line + TO_END_OF_LINE);
    stdout.write(`${HOME}${lines.join("\r\n")}${TO_END}`);
  };
  const typed = (keys: Buffer) => {
    if (keys.some((key) => QUIT.has(key))) quit.abort();
  };
  if (isTerminal) {
    stdout.write(OTHER_SCREEN + HIDE);
    stdout.on("resize", draw);
    if (stdin.isTTY) stdin.setRawMode(true).on("data", typed).resume();
  }
  try {
    while (!over.aborted) {
      if (isTerminal) draw();
      await pause(SECOND, over);
      if (over.aborted) break;
      [before, current] = [current, await now()];
      if (!isTerminal) stdout.write(`${topLine(current, before)}\n`);
    }
  } finally {
    if (isTerminal) {
      stdout.off("resize", draw);
      if (stdin.isTTY) stdin.setRawMode(false).off("data", typed).pause();
      stdout.write(SHOW + OWN_SCREEN);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
