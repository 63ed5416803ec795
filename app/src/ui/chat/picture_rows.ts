/** What the picture of a session shows: from the news of its layers while it runs, from its provenance afterwards. */
import type { Exchange } from "../../model";
import type { Contribution } from "../../wire/messages";

/** `late`: its layer went on without it. */
export type CellState = "asked" | "joined" | "missing" | "aggregating" | "done";

export interface Cell {
  deviceId: string;
  state: CellState;
  /** More about it, such as in whose place it was asked; "" if there is nothing. */
  note: string;
  work: Contribution | null;
}

export interface Row {
  label: string;
  /** Whether this is where the session stands now. */
  active: boolean;
  cells: Cell[];
}

/** The rows of an exchange: one for each layer known of, and one for the aggregation. Empty at first. */
export function pictureRows(exchange: Exchange): Row[] {
  return exchange.provenance === null ? liveRows(exchange) : finalRows(exchange);
}

function liveRows(exchange: Exchange): Row[] {
  const { progress, state } = exchange;
  const last = progress.at(-1);
  if (last === undefined) return [];
  const underWay = state === "proposing" || state === "accepted";
  const rows = progress.map((layer): Row => {
    const closed = layer.joined.length > 0;
    const asked = layer.asked.map((deviceId): Cell => {
      const state = layer.joined.includes(deviceId) ? "joined" : closed ? "missing" : "asked";
      return { deviceId, state, note: "", work: null };
    });
    const others = layer.joined.filter((deviceId) => !layer.asked.includes(deviceId));
    const substitutes = others.map((deviceId): Cell => ({ deviceId, state: "joined", note: "substitute", work: null }));
    return { label: `Layer ${layer.layer}`, active: underWay && !closed, cells: [...asked, ...substitutes] };
  });
  for (let layer = last.layer + 1; layer <= last.layer_count; layer += 1) {
    rows.push({ label: `Layer ${layer}`, active: false, cells: [] });
  }
  const all = last.layer === last.layer_count && last.joined.length > 0;
  const active = state === "streaming" || (underWay && all);
  const cells: Cell[] = active ? [{ deviceId: exchange.deviceId, state: "aggregating", note: "", work: null }] : [];
  return [...rows, { label: "Answer", active, cells }];
}

function finalRows({ provenance, state }: Exchange): Row[] {
  if (provenance === null) return [];
  const { layers, substitutes, missing, aggregation } = provenance;
  const count = Math.max(layers.length, ...missing.map((one) => one.layer));
  const rows = Array.from({ length: count }, (_, index): Row => {
    const layer = index + 1;
    const made = (layers[index] ?? []).map((work): Cell => {
      const place = substitutes.find((one) => one.layer === layer && one.device_id === work.device_id);
      const note = place === undefined ? "" : `for ${place.instead_of}: ${words(place.reason)}`;
      return { deviceId: work.device_id, state: "joined", note, work };
    });
    const gone = missing
      .filter((one) => one.layer === layer)
      .map((one): Cell => ({ deviceId: one.device_id, state: "missing", note: words(one.reason), work: null }));
    return { label: `Layer ${layer}`, active: false, cells: [...made, ...gone] };
  });
  if (aggregation !== null) {
    const cell: Cell = {
      deviceId: aggregation.device_id,
      state: state === "answered" ? "done" : "joined",
      note: "",
      work: aggregation,
    };
    rows.push({ label: "Answer", active: false, cells: [cell] });
  }
  return rows;
}

/** A reason as the wire has it ("queue_full") in words. */
export function words(reason: string): string {
  return reason.replaceAll("_", " ");
}
