/**
 * Says after each build what a first visit loads, and fails where that is too much.
 *
 * "Start" is everything a phone fetches before it can ask: the page, its script with all that this imports, its styles,
 * and the chunks in AT_START, which are fetched right after the first paint whatever the user does.
 */
import { gzipSync } from "node:zlib";
import type { Plugin, Rolldown } from "vite";

/** What the issue promises, in bytes of gzip. */
export const START_BYTES_MAX = 150_000;

/** Chunks that are loaded lazily only so that the page can be seen before them. */
const AT_START = ["session"];

interface Row {
  name: string;
  when: "start" | "later";
  bytes: number;
  gzip: number;
}

/** Returns the plugin. */
export function startSize(): Plugin {
  return {
    name: "moamesh-start-size",
    apply: "build",
    enforce: "post",
    writeBundle(_options, bundle) {
      const rows = measure(bundle);
      const start = startBytes(rows);
      console.log(table(rows, start));
      if (start > START_BYTES_MAX) {
        this.error(`a start takes ${start} bytes of gzip, at most ${START_BYTES_MAX} are allowed`);
      }
    },
  };
}

/** Returns the bytes of gzip that a start takes. */
export function startBytes(rows: readonly Row[]): number {
  return rows.filter((row) => row.when === "start").reduce((sum, row) => sum + row.gzip, 0);
}

/** Returns every file that a page may load, those of a start first. */
export function measure(bundle: Rolldown.OutputBundle): Row[] {
  const start = filesOfAStart(bundle);
  return Object.values(bundle)
    .filter((file) => /\.(html|js|css)$/.test(file.fileName) && !/^(sw|registerSW|workbox-)/.test(file.fileName))
    .map((file): Row => {
      const body = Buffer.from(file.type === "chunk" ? file.code : file.source);
      const when = start.has(file.fileName) ? "start" : "later";
      return { name: file.fileName, when, bytes: body.length, gzip: gzipSync(body, { level: 9 }).length };
    })
    .sort((a, b) => b.when.localeCompare(a.when) || b.gzip - a.gzip);
}

function filesOfAStart(bundle: Rolldown.OutputBundle): Set<string> {
  const files = new Set<string>();
  const add = (name: string): void => {
    const file = bundle[name];
    if (file === undefined || files.has(name)) return;
    files.add(name);
    if (file.type !== "chunk") return;
    file.imports.forEach(add);
    file.viteMetadata?.importedCss.forEach((css) => files.add(css));
  };
  for (const file of Object.values(bundle)) {
    const needed = file.type === "chunk" && (file.isEntry || AT_START.includes(file.name));
    if (needed || file.fileName.endsWith(".html")) add(file.fileName);
  }
  return files;
}

function table(rows: Row[], start: number): string {
  const lines = rows.map((row) => [row.when, String(row.bytes), String(row.gzip), row.name]);
  const all = [["when", "bytes", "gzip", "file"], ...lines, ["start", "", String(start), `at most ${START_BYTES_MAX}`]];
  return all.map(([a, b, c, d]) => `${a!.padEnd(6)} ${b!.padStart(8)} ${c!.padStart(8)}  ${d}`).join("\n");
}
