/** The graph of queue lengths (uPlot), loaded with the mesh page. Colours are the page's own. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Device, Sample } from "../../model";
import { LINES_MAX } from "./lines";

const HEIGHT_PX = 220;
const SHOWN_MIN_S = 60; // less would show a line of two points as if it were history
const DASHES = [[], [6, 3], [2, 3]]; // beside the colour, for who does not tell colours apart

/** Draws into `box`, which must be on the page; call `destroy` when it leaves. */
export class Graph {
  private plot: uPlot | null = null;
  private names = "";
  private readonly resized = new ResizeObserver(() => this.fit());

  constructor(private readonly box: HTMLElement) {
    this.resized.observe(box);
  }

  /** Shows the histories of these devices. */
  show(devices: readonly Device[]): void {
    const shown = devices.slice(0, LINES_MAX);
    const names = shown.map((device) => device.id).join(" ");
    const data = align(shown);
    if (this.plot !== null && names === this.names) {
      this.plot.setData(data);
      return;
    }
    this.plot?.destroy();
    this.names = names;
    this.plot = new uPlot(this.options(shown), data, this.box);
  }

  destroy(): void {
    this.resized.disconnect();
    this.plot?.destroy();
    this.plot = null;
  }

  private fit(): void {
    const width = this.box.clientWidth;
    if (width > 0 && this.plot !== null && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT_PX });
  }

  private options(devices: readonly Device[]): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: Math.max(this.box.clientWidth, 200),
      height: HEIGHT_PX,
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: false },
      scales: {
        x: { range: (_plot, min, max) => [Math.min(min ?? 0, (max ?? 0) - SHOWN_MIN_S), max ?? 0] },
        y: { range: (_plot, _min, max) => [0, Math.max(4, Math.ceil((max ?? 0) * 1.1))] },
      },
      axes: [
        { ...axis, space: 70, values: (_plot, times) => times.map(clock) },
        { ...axis, size: 36, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] },
      ],
      series: [
        {},
        ...devices.map((device, index): uPlot.Series => ({
          label: device.id,
          stroke: colour(`--line-${(index % LINES_MAX) + 1}`),
          width: 2,
          dash: DASHES[Math.floor(index / 3) % DASHES.length],
          points: { show: false },
          spanGaps: true,
        })),
      ],
    };
  }
}

/** One row of times for all, as uPlot wants it; a device has no value where it told none. */
function align(devices: readonly Device[]): uPlot.AlignedData {
  const times = [...new Set(devices.flatMap((device) => device.history.map((sample) => second(sample))))].sort(
    (a, b) => a - b,
  );
  const rows = devices.map((device) => {
    const values = new Map(device.history.map((sample) => [second(sample), sample.requestsWaiting]));
    return times.map((time) => values.get(time) ?? null);
  });
  return [times, ...rows];
}

/** Seconds only where they are not 0: the ticks of a longer time stand on whole minutes. */
function clock(time: number): string {
  const at = new Date(time * 1000);
  const [hour, minute] = [at.getHours(), String(at.getMinutes()).padStart(2, "0")];
  return at.getSeconds() === 0 ? `${hour}:${minute}` : `${hour}:${minute}:${String(at.getSeconds()).padStart(2, "0")}`;
}

const second = (sample: Sample): number => Math.round(sample.at / 1000);
