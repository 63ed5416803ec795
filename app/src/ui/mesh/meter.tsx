/** A share as a bar, with its words beside it. */
import type { VNode } from "preact";
import type { Tone } from "../words";

interface MeterProps {
  label: string;
  /** 0 is empty, 1 is full; more is drawn as full. */
  value: number;
  /** What the bar means, read out and shown. */
  text: string;
  tone: Tone;
  /** Where on the bar the target stands, 0 to 1; absent: no mark. */
  mark?: number;
}

export function Meter({ label, value, text, tone, mark }: MeterProps): VNode {
  const share = Math.min(Math.max(value, 0), 1);
  return (
    <div class="meter-line">
      <span class="meter-label">{label}</span>
      <div
        class="meter"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(share * 100)}
        aria-valuetext={text}
        data-tone={tone}
      >
        <span class="meter-fill" style={{ width: `${share * 100}%` }} />
        {mark !== undefined && <span class="meter-mark" style={{ left: `${mark * 100}%` }} />}
      </div>
      <span class="meter-text">{text}</span>
    </div>
  );
}
