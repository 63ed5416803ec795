/** Pairing by a pasted link, for a desktop or where the camera will not open it. */
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { useEngine } from "../engine";
import { announce } from "../shell/announcer";
import { pairWith } from "./pairing";

export function PairForm(): VNode {
  const engine = useEngine();
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const pair = async (): Promise<void> => {
    const link = text.trim();
    if (link === "") {
      setError("Paste the link that moamesh pair prints under its QR code.");
      return;
    }
    try {
      if (!(await pairWith(engine, link))) return;
      setText(""); // it holds the secret
      setError("");
      announce("Paired.");
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form class="pair-form" onSubmit={(event) => (event.preventDefault(), void pair())}>
      <label for="pairing-link">Pairing link</label>
      <div class="pair-row">
        <input
          id="pairing-link"
          type="text"
          inputMode="url"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          placeholder="https://…#pair=…"
          value={text}
          aria-invalid={error !== ""}
          aria-describedby={error === "" ? undefined : "pairing-error"}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="primary">
          Pair
        </button>
      </div>
      {error !== "" && (
        <p class="warning" role="alert" id="pairing-error">
          {error}
        </p>
      )}
    </form>
  );
}
