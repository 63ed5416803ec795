/** Where an exchange stands, in words, and the ways out that it has. */
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import type { Device, Exchange } from "../../model";
import { CopyButton } from "../copy_button";
import { useEngine } from "../engine";
import { wholeSeconds } from "../format";
import { useNow } from "../media";
import { exchangeWords, isPartial, isUnderWay } from "../words";

/** The state of an exchange. While it is under way, with the seconds since it was asked. */
export function StateNote({ exchange }: { exchange: Exchange }): VNode | null {
  const engine = useEngine();
  const words = exchangeWords(exchange, engine.link.value);
  if (exchange.state === "answered" && !isPartial(exchange)) return null;
  return (
    <div class="state-note" data-tone={words.tone} data-part="state">
      <span class="state-title">{words.title}</span>
      {isUnderWay(exchange.state) && <Elapsed since={exchange.askedAt} />}
      <span>{words.text}</span>
    </div>
  );
}

function Elapsed({ since }: { since: number }): VNode {
  const now = useNow(true);
  return <span class="elapsed">{wholeSeconds((now - since) / 1000)}</span>;
}

/** What may be done with an exchange that has ended. */
export function ExchangeActions({ exchange }: { exchange: Exchange }): VNode | null {
  const engine = useEngine();
  const [error, setError] = useState("");
  if (isUnderWay(exchange.state)) return null;
  const run = (action: Promise<unknown>): void => {
    setError("");
    action.catch((cause: unknown) => setError(cause instanceof Error ? cause.message : String(cause)));
  };
  const again = (): void => run(engine.retry(exchange.id));
  const askOther = (device: Device): void =>
    run(engine.ask(exchange.chatId, device.id, exchange.prompt, exchange.options));
  const other =
    exchange.state === "answered" || exchange.state === "cancelled" ? null : idlest(engine.devices.value, exchange);
  return (
    <div class="actions">
      {exchange.answer !== "" && <CopyButton text={exchange.answer} label="Copy answer" />}
      {exchange.state === "refused" ? (
        <SendAgain exchange={exchange} onSend={again} />
      ) : (
        <button type="button" class={exchange.state === "answered" ? "quiet small" : "small"} onClick={again}>
          Retry
        </button>
      )}
      {other !== null && (
        <button type="button" class="quiet small" onClick={() => askOther(other)}>
          Ask {other.id} instead
        </button>
      )}
      {error !== "" && <span role="alert">{error}</span>}
    </div>
  );
}

/**
 * Waits for as long as the device asked, because asking earlier would only be refused again; or until the device tells
 * that it has places, if that is sooner.
 */
function SendAgain({ exchange, onSend }: { exchange: Exchange; onSend: () => void }): VNode {
  const engine = useEngine();
  const dueAt = exchange.askedAt + (exchange.retryAfterS ?? 0) * 1000;
  const now = useNow(Date.now() < dueAt);
  const device = engine.devices.value.find((one) => one.id === exchange.deviceId);
  const leftS = device !== undefined && hasRoom(device, exchange.askedAt) ? 0 : Math.ceil((dueAt - now) / 1000);
  return (
    <button type="button" class="small" disabled={leftS > 0} onClick={onSend}>
      Send again{leftS > 0 && <span class="countdown"> in {wholeSeconds(leftS)}</span>}
    </button>
  );
}

/** Whether the device has told, later than `since` (ms), that a place is free. A session holds one all along. */
function hasRoom({ history, status }: Device, since: number): boolean {
  if (status === null || (history.at(-1)?.at ?? 0) <= since) return false;
  return Math.max(status.requests_waiting + status.requests_running, status.sessions_active) < status.queue_capacity;
}

/** The online device with the least to do, other than the one that was asked; null if there is none. */
function idlest(devices: readonly Device[], exchange: Exchange): Device | null {
  const others = devices.filter((device) => device.id !== exchange.deviceId && device.state === "online" && device.able);
  const load = (device: Device): number => device.status?.requests_waiting ?? 0;
  return others.reduce<Device | null>(
    (best, device) => (best === null || load(device) < load(best) ? device : best),
    null,
  );
}
