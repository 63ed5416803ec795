/** How an answer was made: who proposed in which layer, what each inference cost, who stood in, who was missing. */
import { Fragment, type VNode } from "preact";
import { useState } from "preact/hooks";
import type { Exchange } from "../../model";
import type { Contribution, Provenance } from "../../wire/messages";
import { count, seconds } from "../format";
import { pictureRows, words, type Cell, type Row } from "./picture_rows";
import { SessionPicture } from "./session_picture";

export function ProvenanceView({ exchange, provenance }: { exchange: Exchange; provenance: Provenance }): VNode {
  const [open, setOpen] = useState(false); // a table is drawn when it is wanted: a long history holds hundreds
  return (
    <details class="provenance" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span>How it was made</span> <span class="muted">{summary(exchange, provenance)}</span>
      </summary>
      {open && <Details exchange={exchange} provenance={provenance} />}
    </details>
  );
}

function inferences(provenance: Provenance): Contribution[] {
  const judged = provenance.decisions.flatMap((decision) => (decision.work === null ? [] : [decision.work]));
  const last = provenance.aggregation === null ? [] : [provenance.aggregation];
  return [...provenance.layers.flat(), ...judged, ...last];
}

function summary(exchange: Exchange, provenance: Provenance): string {
  const all = inferences(provenance);
  const devices = new Set(all.map((one) => one.device_id)).size;
  const parts = [count(devices, "device"), count(all.length, "inference")];
  if (exchange.endToEndLatencyS !== null) parts.push(seconds(exchange.endToEndLatencyS));
  if (all.some((one) => one.synthetic)) parts.push("synthetic");
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · "); // a line breaks between parts, not in them
}

function Details({ exchange, provenance }: { exchange: Exchange; provenance: Provenance }): VNode {
  const rows = pictureRows(exchange);
  const longest = Math.max(...inferences(provenance).map((one) => one.waiting_time_s + one.service_time_s), 0);
  return (
    <div class="provenance-body">
      <SessionPicture rows={rows} />
      <div class="md-scroll" role="group" aria-label="Inferences" tabIndex={0}>
        <table class="figures">
          <caption class="visually-hidden">Every inference of this answer</caption>
          <thead>
            <tr>
              <th scope="col">Device</th>
              <th scope="col">Waited</th>
              <th scope="col">Service</th>
              <th scope="col">
                Tokens <span class="muted">in → out</span>
              </th>
            </tr>
          </thead>
          {rows.map((row) => (
            <RowView key={row.label} row={row} longest={longest} />
          ))}
        </table>
      </div>
      <Facts exchange={exchange} provenance={provenance} />
    </div>
  );
}

function RowView({ row, longest }: { row: Row; longest: number }): VNode {
  return (
    <tbody>
      <tr class="group">
        <th scope="rowgroup" colSpan={4}>
          {row.label === "Answer" ? "Answer, made from the last layer" : row.label}
        </th>
      </tr>
      {row.cells.map((cell) => (
        <CellRow key={cell.deviceId + cell.state} cell={cell} longest={longest} />
      ))}
    </tbody>
  );
}

function CellRow({ cell, longest }: { cell: Cell; longest: number }): VNode {
  const { work } = cell;
  if (work === null) {
    return (
      <tr class="gone">
        <th scope="row">{cell.deviceId}</th>
        <td colSpan={3}>missing: {cell.note}</td>
      </tr>
    );
  }
  return (
    <tr>
      <th scope="row">
        {cell.deviceId}
        <span class="muted">
          {work.model}
          {work.synthetic && <em class="tag">synthetic</em>}
        </span>
        {cell.note !== "" && <span class="muted">{cell.note}</span>}
        <Bar waited={work.waiting_time_s} served={work.service_time_s} longest={longest} />
      </th>
      <td>{seconds(work.waiting_time_s)}</td>
      <td>{seconds(work.service_time_s)}</td>
      <td>
        {work.input_tokens} → {work.output_tokens}
        {work.input_tokens_cut > 0 && <span class="muted">{work.input_tokens_cut} cut</span>}
      </td>
    </tr>
  );
}

/** Waiting and service of one inference, to scale with the longest of the answer. The figures stand beside it. */
function Bar({ waited, served, longest }: { waited: number; served: number; longest: number }): VNode {
  const share = (value: number): string => `${longest > 0 ? (100 * value) / longest : 0}%`;
  return (
    <span class="bar" aria-hidden="true">
      <span class="bar-waited" style={{ width: share(waited) }} />
      <span class="bar-served" style={{ width: share(served) }} />
    </span>
  );
}

function Facts({ exchange, provenance }: { exchange: Exchange; provenance: Provenance }): VNode {
  const facts: [string, string][] = [
    ["Asked", `${exchange.deviceId}, ${count(provenance.layer_count, "layer")}, fanout ${provenance.fanout}`],
    ["Messages", `${provenance.messages_sent} sent, ${provenance.messages_received} received`],
    ...provenance.policies.map(([kind, name]): [string, string] => [capital(words(kind)), name]),
    ...provenance.decisions.map((decision): [string, string] => [
      `${capital(words(decision.kind))}, layer ${decision.layer}`,
      [decision.chosen.join(", "), decision.stops ? "no more layers" : "", decision.detail].filter(Boolean).join("; "),
    ]),
  ];
  if (exchange.endToEndLatencyS !== null) facts.unshift(["End to end", seconds(exchange.endToEndLatencyS)]);
  if (provenance.restarts > 0) facts.push(["Resumed", `${count(provenance.restarts, "time")} after a restart`]);
  return (
    <dl class="facts">
      {facts.map(([name, value], index) => (
        <Fragment key={index}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
