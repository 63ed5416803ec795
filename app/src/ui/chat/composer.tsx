/** Where a prompt is written, the device chosen, and the prompt asked or cancelled. */
import type { TargetedKeyboardEvent, VNode } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Exchange, Options } from "../../model";
import { useEngine } from "../engine";
import { Icon } from "../icons";
import { wide } from "../media";
import { prefer, preferences } from "../preferences";
import { go } from "../route";
import { isUnderWay } from "../words";
import { AskOptions, predictionLine, useDepth, usePrediction } from "./ask_options";
import { DevicePicker, useChosenDevice } from "./device_picker";
import { keepDraft, readDraft } from "./drafts";

interface ComposerProps {
  chatId: string | null;
  /** Whether M and k stand open at first: where there is no conversation yet, there is room. */
  open: boolean;
}

export function Composer({ chatId, open }: ComposerProps): VNode {
  const engine = useEngine();
  const deviceId = useChosenDevice();
  const { layers, fanout } = useDepth();
  const [text, setText] = useState(() => readDraft(chatId));
  const [error, setError] = useState("");
  const [tuning, setTuning] = useState(open);
  const underWay = useUnderWay(chatId);
  const field = usePromptField(text);
  const write = (next: string): void => {
    setText(next);
    keepDraft(chatId, next);
  };
  const ask = async (): Promise<void> => {
    const prompt = text.trim();
    if (prompt === "" || deviceId === "") return;
    setError("");
    write("");
    try {
      const { chatId: id } = await engine.ask(chatId, deviceId, prompt, options(layers, fanout));
      prefer({ device: deviceId });
      if (chatId === null) go({ page: "chat", chatId: id }, true);
    } catch (cause) {
      write(prompt); // nothing that was typed is lost
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  const cancel = (): void => {
    if (underWay !== null) void engine.cancel(underWay.id);
    field.current?.focus();
  };
  useEscape(underWay === null ? null : cancel);
  const onKey = (event: TargetedKeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void ask();
  };
  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), void ask())}>
      {error !== "" && (
        <p class="warning" role="alert">
          {error}
        </p>
      )}
      {tuning && <AskOptions deviceId={deviceId} />}
      <div class="composer-row">
        <DevicePicker deviceId={deviceId} />
        <Depth deviceId={deviceId} open={tuning} onToggle={() => setTuning(!tuning)} />
      </div>
      <div class="composer-field">
        <textarea
          ref={field}
          aria-label="Prompt"
          dir="auto"
          placeholder={deviceId === "" ? "Ask your mesh" : `Ask ${deviceId}`}
          rows={1}
          enterkeyhint="send"
          value={text}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={onKey}
        />
        {underWay !== null && (
          <button type="button" class="round stop" aria-label="Cancel" title="Cancel (Esc)" onClick={cancel}>
            <Icon name="stop" />
          </button>
        )}
        <button
          type="submit"
          class="round primary"
          aria-label="Ask"
          title="Ask (Enter)"
          disabled={text.trim() === "" || deviceId === ""}
        >
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}

function Depth({ deviceId, open, onToggle }: { deviceId: string; open: boolean; onToggle: () => void }): VNode {
  const { layers, fanout } = useDepth();
  const prediction = usePrediction(deviceId);
  return (
    <button
      type="button"
      class="quiet depth"
      aria-expanded={open}
      aria-controls="ask-options"
      data-stable={prediction.stable}
      onClick={onToggle}
    >
      <Icon name="tune" />
      <span>
        M {layers}
        {layers > 0 && ` · k ${fanout}`}
      </span>
      {!open && (
        <span class="muted depth-more">
          {prediction.stable ? predictionLine(prediction, !wide.value) : "not stable"}
        </span>
      )}
    </button>
  );
}

function options(layers: number, fanout: number): Options {
  const { maxOutputTokens, temperature, deadlineS } = preferences.value;
  return { layers, fanout: layers === 0 ? 0 : fanout, deadlineS, maxOutputTokens, temperature };
}

/** The newest exchange of the chat that has not ended: what "Cancel" is about. */
function useUnderWay(chatId: string | null): Exchange | null {
  const engine = useEngine();
  if (chatId === null) return null;
  return engine.exchanges(chatId).value.findLast((exchange) => isUnderWay(exchange.state)) ?? null;
}

/** A field that is as high as what is written in it, up to what its style allows. */
function usePromptField(text: string): { current: HTMLTextAreaElement | null } {
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const box = field.current;
    if (box === null || CSS.supports("field-sizing: content")) return;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  }, [text]);
  useLayoutEffect(() => {
    // On a phone this would bring up the keyboard over the page.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);
  return field;
}

/** Listens from the moment that what Escape would end is seen. */
function useEscape(action: (() => void) | null): void {
  useLayoutEffect(() => {
    if (action === null) return;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]") !== null) return;
      action();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [action]);
}
