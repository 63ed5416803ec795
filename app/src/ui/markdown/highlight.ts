/** Colours for code, loaded when the first code block is there. A tree of pieces comes back, never HTML. */
import { createLowlight } from "lowlight";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

/** A piece of code: text, or text of a kind (a class name of highlight.js). */
export type Piece = string | { kind: string; parts: Piece[] };

interface Node {
  type: string;
  value?: string;
  children?: Node[];
  properties?: { className?: unknown };
}

const lowlight = createLowlight({
  bash,
  c,
  cpp,
  css,
  go,
  java,
  javascript,
  json,
  python,
  rust,
  sql,
  typescript,
  xml,
  yaml,
});

/** Returns the code in pieces, or null where the language is not known. */
export function highlight(code: string, language: string): Piece[] | null {
  const name = language.toLowerCase();
  if (!lowlight.registered(name)) return null;
  return (lowlight.highlight(name, code).children as Node[]).map(toPiece);
}

function toPiece(node: Node): Piece {
  if (node.type !== "element") return node.value ?? "";
  const names = node.properties?.className;
  return { kind: Array.isArray(names) ? names.join(" ") : "", parts: (node.children ?? []).map(toPiece) };
}
