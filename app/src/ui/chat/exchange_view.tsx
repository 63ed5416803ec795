/** One prompt and what came back. */
import type { VNode } from "preact";
import type { Exchange } from "../../model";
import { useEngine } from "../engine";
import { when } from "../format";
import { Markdown } from "../markdown/markdown";
import { memo } from "../memo";
import { isPartial, isUnderWay } from "../words";
import { pictureRows } from "./picture_rows";
import { ProvenanceView } from "./provenance";
import { SessionPicture } from "./session_picture";
import { ExchangeActions, StateNote } from "./state_note";

/** Drawn anew with each token of this exchange, and of no other. */
export const ExchangeView = memo(({ id }: { id: string }): VNode | null => {
  const exchange = useEngine().exchange(id).value;
  return exchange === null ? null : draw(exchange);
});

function draw(exchange: Exchange): VNode {
  const underWay = isUnderWay(exchange.state);
  const rows = underWay ? pictureRows(exchange) : [];
  return (
    <article
      class="exchange"
      data-state={exchange.state}
      data-partial={isPartial(exchange)}
      data-prompt-id={exchange.id}
      aria-busy={underWay}
    >
      <h2 class="visually-hidden">You asked {exchange.deviceId}</h2>
      <p class="prompt" dir="auto">
        {exchange.prompt}
      </p>
      <div class="reply">
        <p class="reply-head">
          <strong>{exchange.deviceId}</strong>
          <time dateTime={new Date(exchange.askedAt).toISOString()}>{when(exchange.askedAt, Date.now())}</time>
          {exchange.provenance !== null && isSynthetic(exchange) && (
            <span class="tag" title="Made by the synthetic engine: no language model was asked">
              synthetic
            </span>
          )}
        </p>
        {rows.length > 0 && <SessionPicture rows={rows} />}
        {exchange.answer !== "" && (
          <div class="md" data-part="answer" dir="auto">
            <Markdown text={exchange.answer} live={underWay} />
          </div>
        )}
        <StateNote exchange={exchange} />
        {exchange.provenance !== null && <ProvenanceView exchange={exchange} provenance={exchange.provenance} />}
        <ExchangeActions exchange={exchange} />
      </div>
    </article>
  );
}

function isSynthetic(exchange: Exchange): boolean {
  const { aggregation, layers } = exchange.provenance ?? { aggregation: null, layers: [] };
  return aggregation?.synthetic ?? layers.flat().some((one) => one.synthetic);
}
