/** Code in an answer: what language it is, a button to copy it, colours once it is complete. */
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { CopyButton } from "../copy_button";
import type { Piece } from "./highlight";

/** Longer code is shown without colours: colouring it would hold up the page. */
const HIGHLIGHT_LENGTH_MAX = 20_000;

export function CodeBlock({ code, language, live }: { code: string; language: string; live: boolean }): VNode {
  const name = (language.split(/\s/, 1)[0] ?? "").slice(0, 20);
  const pieces = usePieces(code, name, live);
  return (
    <figure class="md-code">
      <figcaption>
        <span>{name || "code"}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0} aria-label={name === "" ? "Code" : `Code, ${name}`} role="group">
        <code>{pieces === null ? code : pieces.map(draw)}</code>
      </pre>
    </figure>
  );
}

const draw = (piece: Piece): VNode | string =>
  typeof piece === "string" ? piece : <span class={piece.kind}>{piece.parts.map(draw)}</span>;

function usePieces(code: string, language: string, live: boolean): Piece[] | null {
  const [done, setDone] = useState<{ code: string; pieces: Piece[] | null }>({ code: "", pieces: null });
  useEffect(() => {
    if (live || language === "" || code.length > HIGHLIGHT_LENGTH_MAX) return;
    let wanted = true;
    import("./highlight").then(
      ({ highlight }) => wanted && setDone({ code, pieces: highlight(code, language) }),
      () => undefined, // offline before it was ever loaded: code without colours is code all the same
    );
    return () => {
      wanted = false;
    };
  }, [code, language, live]);
  return done.code === code ? done.pieces : null;
}
