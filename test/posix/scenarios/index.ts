/** All programs of test/posix-kernel.test.ts, by what they ask. Each runs on the kernel and over a host. */
import { DATA } from "./data.ts";
import { DESCRIPTORS } from "./descriptors.ts";
import { ENDING } from "./ending.ts";
import { OPENING } from "./opening.ts";
import { OPTIONS } from "./options.ts";
import { PIPES } from "./pipes.ts";
import { RAW } from "./raw.ts";
import { UDP } from "./udp.ts";
import { UNIX } from "./unix.ts";

export const SCENARIOS: Record<string, string> = {
  ...OPENING,
  ...ENDING,
  ...DATA,
  ...DESCRIPTORS,
  ...UDP,
  ...RAW,
  ...UNIX,
  ...PIPES,
  ...OPTIONS,
};
