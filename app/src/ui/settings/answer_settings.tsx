/** What goes along with every prompt beside M and k. */
import { Fragment, type VNode } from "preact";
import { useId } from "preact/hooks";
import { seconds } from "../format";
import { DEADLINE_CHOICES_S, OUTPUT_TOKENS_CHOICES, prefer, preferences } from "../preferences";

export function AnswerSettings(): VNode {
  const { maxOutputTokens, temperature, deadlineS } = preferences.value;
  return (
    <div class="fields">
      <Choice
        label="Longest answer"
        hint="Bounds the work of every inference."
        value={String(maxOutputTokens)}
        choices={OUTPUT_TOKENS_CHOICES.map((tokens) => [String(tokens), `${tokens} tokens`])}
        onChange={(value) => prefer({ maxOutputTokens: Number(value) })}
      />
      <Choice
        label="Time allowed"
        hint="An answer that is not ready by then expires."
        value={deadlineS === null ? "" : String(deadlineS)}
        choices={[
          ["", "the device's default"],
          ...DEADLINE_CHOICES_S.map((s): [string, string] => [String(s), seconds(s)]),
        ]}
        onChange={(value) => prefer({ deadlineS: value === "" ? null : Number(value) })}
      />
      <Choice
        label="Temperature"
        hint="Higher: proposals differ more from each other."
        value={String(temperature)}
        choices={[0, 0.3, 0.7, 1, 1.3].map((value) => [
          String(value),
          value === 0 ? "0, always the same" : String(value),
        ])}
        onChange={(value) => prefer({ temperature: Number(value) })}
      />
    </div>
  );
}

interface ChoiceProps {
  label: string;
  hint: string;
  value: string;
  choices: [value: string, text: string][];
  onChange: (value: string) => void;
}

function Choice({ label, hint, value, choices, onChange }: ChoiceProps): VNode {
  const id = useId();
  return (
    <Fragment>
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        aria-describedby={`${id}-hint`}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {choices.map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
      <p class="muted" id={`${id}-hint`}>
        {hint}
      </p>
    </Fragment>
  );
}
