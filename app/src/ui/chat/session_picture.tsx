/** The layers of a session and who proposes in each: live while it runs. */
import type { VNode } from "preact";
import type { Cell, CellState, Row } from "./picture_rows";

const STATE: Record<CellState, { mark: string; word: string }> = {
  asked: { mark: "○", word: "asked" },
  joined: { mark: "✓", word: "joined" },
  missing: { mark: "×", word: "missing" },
  aggregating: { mark: "●", word: "aggregating" },
  done: { mark: "✓", word: "aggregated" },
};

export function SessionPicture({ rows }: { rows: Row[] }): VNode {
  return (
    <ol class="picture" aria-label="Layers" role="list">
      {rows.map((row) => (
        <li key={row.label} class={row.active ? "active" : undefined}>
          <span class="picture-label">{row.label}</span>
          <ul role="list" aria-label={`${row.label}: devices`}>
            {row.cells.map((cell) => (
              <CellView key={cell.deviceId + cell.state} cell={cell} />
            ))}
            {row.cells.length === 0 && (
              <li class="cell" data-state="later">
                not yet
              </li>
            )}
          </ul>
        </li>
      ))}
    </ol>
  );
}

function CellView({ cell }: { cell: Cell }): VNode {
  const { mark, word } = STATE[cell.state];
  return (
    <li class="cell" data-state={cell.state} data-device={cell.deviceId} title={`${cell.deviceId}: ${word}`}>
      <span aria-hidden="true" class="mark">
        {mark}
      </span>
      <span class="cell-name">{cell.deviceId}</span>
      <span class={cell.note === "" ? "visually-hidden" : "cell-note"}>{cell.note === "" ? word : cell.note}</span>
    </li>
  );
}
