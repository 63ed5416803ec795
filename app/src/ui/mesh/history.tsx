/** Queue lengths over time: a graph, and the same in a table for who does not see it. */
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Device } from "../../model";
import { useEngine } from "../engine";
import { figure, percent } from "../format";
import { dark } from "../media";
import type { Graph } from "./graph";
import { LINES_MAX } from "./lines";

export function History(): VNode {
  const devices = useEngine().devices.value.filter((device) => device.history.length > 0);
  return (
    <section class="history" aria-labelledby="history-title">
      <h2 id="history-title">Requests waiting, over time</h2>
      <GraphView devices={devices} />
      {devices.length > LINES_MAX && (
        <p class="muted">
          The graph has the first {LINES_MAX} of {devices.length} devices, the table all.
        </p>
      )}
      <details>
        <summary>The same data as a table</summary>
        <HistoryTable devices={devices} />
      </details>
    </section>
  );
}

function GraphView({ devices }: { devices: readonly Device[] }): VNode {
  const box = useRef<HTMLDivElement>(null);
  const graph = useRef<Graph | null>(null);
  const [failed, setFailed] = useState(false);
  const isDark = dark.value;
  const newest = useRef(devices);
  newest.current = devices;
  useEffect(() => {
    let wanted = true;
    import("./graph").then(
      ({ Graph }) => {
        if (!wanted || box.current === null) return;
        graph.current = new Graph(box.current);
        graph.current.show(newest.current);
      },
      () => wanted && setFailed(true), // offline before it was ever loaded: the table has the same
    );
    return () => {
      wanted = false;
      graph.current?.destroy();
      graph.current = null;
    };
  }, [isDark]); // its colours are the page's
  useEffect(() => graph.current?.show(devices), [devices]);
  return (
    <div class="graph" ref={box} role="img" aria-label={`Graph of requests waiting. ${spoken(devices)}`}>
      {failed && "The graph could not be loaded; the table below has its figures."}
    </div>
  );
}

function spoken(devices: readonly Device[]): string {
  return devices.map((device) => `${device.id}: ${figure(device.history.at(-1)?.requestsWaiting ?? 0)} now.`).join(" ");
}

function HistoryTable({ devices }: { devices: readonly Device[] }): VNode {
  return (
    <div class="md-scroll" role="group" aria-label="Queue lengths" tabIndex={0}>
      <table class="figures">
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">Now</th>
            <th scope="col">Mean</th>
            <th scope="col">Longest</th>
            <th scope="col">Load ρ</th>
          </tr>
        </thead>
        <tbody>
          {devices.map((device) => (
            <HistoryRow key={device.id} device={device} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function HistoryRow({ device }: { device: Device }): VNode {
  const waiting = device.history.map((sample) => sample.requestsWaiting);
  const mean = waiting.reduce((sum, value) => sum + value, 0) / Math.max(waiting.length, 1);
  const last = device.history.at(-1);
  return (
    <tr>
      <th scope="row">{device.id}</th>
      <td>{figure(last?.requestsWaiting ?? 0)}</td>
      <td>{mean.toFixed(1)}</td>
      <td>{figure(Math.max(0, ...waiting))}</td>
      <td>{percent(last?.offeredLoad ?? null)}</td>
    </tr>
  );
}
