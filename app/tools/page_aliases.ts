/**
 * What mqtt.js needs of Node.js, for a page: the packages that stand in for Node's own modules, and nothing for what a
 * page has no use for (debug output, timers in a worker, Node's WebSockets).
 */
import { fileURLToPath } from "node:url";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const nothing = here("./stand_ins/nothing.cjs");

export const pageAliases = [
  { find: /^buffer\/?$/, replacement: here("../node_modules/buffer/index.js") },
  { find: /^events\/?$/, replacement: here("../node_modules/events/events.js") },
  { find: /^process\/?$/, replacement: here("../node_modules/process/browser.js") },
  { find: /^string_decoder\/?$/, replacement: here("../node_modules/string_decoder/lib/string_decoder.js") },
  { find: /^debug$/, replacement: here("./stand_ins/debug.cjs") },
  { find: /^worker-timers$/, replacement: nothing }, // timerVariant is "native"
  { find: /^ws$/, replacement: nothing }, // pages have WebSocket
];

/** Globals that mqtt.js and its packages take for granted; a page has none of them. */
export const nodeGlobals: Record<string, string | [string, string]> = {
  process: "process",
  Buffer: ["buffer", "Buffer"],
};
