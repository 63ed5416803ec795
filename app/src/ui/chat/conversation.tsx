/** The exchanges of a chat, newest last. */
import type { VNode } from "preact";
import { useEngine } from "../engine";
import { Icon } from "../icons";
import { ExchangeView } from "./exchange_view";
import { useReached, useShown, useSticky } from "./scrolling";

/** Draws the end of the chat and, as the reader goes up, more of it. */
export function Conversation({ chatId }: { chatId: string }): VNode {
  const exchanges = useEngine().exchanges(chatId).value;
  const [shown, more] = useShown(exchanges.length);
  const { scroller, content, away, toEnd } = useSticky(exchanges.at(-1)?.id ?? "");
  const mark = useReached(scroller, more, shown);
  const hidden = exchanges.length - shown;
  return (
    <div class="conversation">
      <div class="scroller" ref={scroller} tabIndex={0} role="log" aria-label="Conversation" aria-live="off">
        <div class="exchanges" ref={content}>
          {hidden > 0 && (
            <div ref={mark} class="earlier">
              <button type="button" class="quiet small" onClick={more}>
                {hidden} earlier
              </button>
            </div>
          )}
          {exchanges.slice(hidden).map((exchange) => (
            <ExchangeView key={exchange.id} id={exchange.id} />
          ))}
        </div>
      </div>
      {away && (
        <button type="button" class="to-end round" aria-label="To the newest" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}
