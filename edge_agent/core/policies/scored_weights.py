"""The weights of `scored`, written by `moamesh evaluate FILE --fit --output` this file.

Fitted on 2026-11-28: 398 prompts, responses of FuseChat-Gemma-2-9B-Instruct, FuseChat-Llama-3.1-8B-Instruct,
FuseChat-Llama-3.2-1B-Instruct, FuseChat-Llama-3.2-3B-Instruct, FuseChat-Qwen-2.5-7B-Instruct.

Source: AlpacaEval 2.0 (tatsu-lab/alpaca_eval, results/*): outputs and weighted_alpaca_eval_gpt4_turbo annotations
against gpt4_1106_preview.

Chosen by weights that were fitted on 4 of 5 folds, responses to the other prompts were preferred to the baseline's
in 74.0 % (standard error 1.8).
"""

WITH_SIZES = {
    "size": 2.174,
    "length": 0.588,
    "length_squared": -0.238,
    "odd_phrases": -2.339,
    "repetition": -5.42,
}

WITHOUT_SIZES = {
    "length": 0.659,
    "agreement": 8.304,
    "repetition": -7.969,
}
