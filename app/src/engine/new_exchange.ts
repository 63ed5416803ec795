/** Makes an exchange of what a user asked. */
import { randomHex } from "../mesh/ids";
import type { Exchange, Options } from "../model";
import { DEADLINE_MAX_S, FANOUT_MAX, LAYERS_MAX, OUTPUT_TOKENS_MAX } from "../wire/shapes";

const PROMPT_ID_BYTES = 16; // unguessable: who knows an id could cancel its prompt
const TEMPERATURE_MAX = 5;

/** Throws an Error with one line for people where a device would refuse these options. */
export function checkOptions({ layers, fanout, deadlineS, maxOutputTokens, temperature }: Options): void {
  const isCount = (value: number, from: number, to: number): boolean =>
    Number.isInteger(value) && value >= from && value <= to;
  if (layers !== null && !isCount(layers, 0, LAYERS_MAX)) throw new Error(`Layers must be 0 to ${LAYERS_MAX}`);
  if (fanout !== null && !isCount(fanout, 0, FANOUT_MAX)) throw new Error(`The fanout must be 0 to ${FANOUT_MAX}`);
  if (deadlineS !== null && !(deadlineS > 0 && deadlineS <= DEADLINE_MAX_S))
    throw new Error("The deadline must be at most a day");
  if (!isCount(maxOutputTokens, 1, OUTPUT_TOKENS_MAX))
    throw new Error(`The length must be 1 to ${OUTPUT_TOKENS_MAX} tokens`);
  if (!(temperature >= 0 && temperature <= TEMPERATURE_MAX))
    throw new Error(`The temperature must be 0 to ${TEMPERATURE_MAX}`);
}

/** Returns an exchange that is to be sent. */
export function newExchange(
  chatId: string,
  deviceId: string,
  prompt: string,
  options: Options,
  retryOf: string | null,
): Exchange {
  return {
    id: randomHex(PROMPT_ID_BYTES),
    chatId,
    deviceId,
    askedAt: Date.now(),
    prompt,
    options: { ...options },
    state: "sending",
    answer: "",
    detail: "",
    refusal: null,
    retryAfterS: null,
    expectedWaitS: null,
    progress: [],
    provenance: null,
    endToEndLatencyS: null,
    retryOf,
  };
}
