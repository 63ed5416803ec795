// Prints what AsyncAPI's own parser says of a document, as JSON: its version (null: not read), and its diagnostics.
// Severities are Spectral's: 0 error, 1 warning, 2 information, 3 hint.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const found = diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path: path.join("/"), message }));
console.log(JSON.stringify({ version: document?.version() ?? null, diagnostics: found }));
