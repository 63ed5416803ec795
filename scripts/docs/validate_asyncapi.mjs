// Prints what AsyncAPI's own parser says of documents, a line of JSON each: its version (null: not read), its diagnostics.
// Severities are Spectral's: 0 error, 1 warning, 2 information, 3 hint.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
  const found = diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path: path.join("/"), message }));
  console.log(JSON.stringify({ version: document?.version() ?? null, diagnostics: found }));
}
