import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { START_BYTES_MAX, measure, startBytes } from "../../tools/start_size";

type Bundle = Parameters<typeof measure>[0];

/** A file of the build; what is random cannot be compressed, so that its size is known. */
function file(fileName: string, bytes: number, change: object = {}): object {
  const body = randomBytes(bytes / 2).toString("hex");
  const chunk = { type: "chunk", fileName, name: fileName, code: body, imports: [], isEntry: false };
  const asset = { type: "asset", fileName, source: body };
  return { ...(fileName.endsWith(".js") ? chunk : asset), ...change };
}

function bundleOf(...files: object[]): Bundle {
  return Object.fromEntries(files.map((one) => [(one as { fileName: string }).fileName, one])) as unknown as Bundle;
}

test("a start is the page, its script with all that it imports, its styles, and the session's chunk", () => {
  const bundle = bundleOf(
    file("index.html", 1_000),
    file("entry.js", 2_000, { isEntry: true, imports: ["part.js"], viteMetadata: { importedCss: new Set(["a.css"]) } }),
    file("part.js", 2_000),
    file("a.css", 1_000),
    file("session-1.js", 4_000, { name: "session" }),
    file("graph.js", 8_000),
    file("sw.js", 8_000),
  );
  const rows = measure(bundle);
  const names = (when: string): string[] => rows.filter((row) => row.when === when).map(({ name }) => name);
  expect(names("start").sort()).toEqual(["a.css", "entry.js", "index.html", "part.js", "session-1.js"]);
  expect(names("later")).toEqual(["graph.js"]);
  expect(startBytes(rows)).toBeGreaterThan(10_000 / 2);
  expect(startBytes(rows)).toBeLessThan(10_000);
});

test("one that is too large is seen", () => {
  const bundle = bundleOf(file("entry.js", 4 * START_BYTES_MAX, { isEntry: true }));
  expect(startBytes(measure(bundle))).toBeGreaterThan(START_BYTES_MAX);
});
