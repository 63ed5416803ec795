"""AlpacaEval's own OpenAI path: `python alpaca_eval_outputs.py API_BASE API_KEY MODEL OUTPUTS.json INSTRUCTION...`.

Writes the outputs as AlpacaEval reads them (`--model_outputs`). Judging them takes a judge, which is not ours to bring.
"""

import json
import os
import sys
from pathlib import Path

base, key, model, outputs, *instructions = sys.argv[1:]
clients = Path(outputs).with_name("clients.yaml")
clients.write_text(json.dumps({"default": [{"api_key": key, "base_url": base}]}))  # JSON is YAML
os.environ["OPENAI_CLIENT_CONFIG_PATH"] = str(clients)

from alpaca_eval.decoders import get_fn_completions  # noqa: E402 - it reads the variable when it is imported

prompts = [f"<|im_start|>user\n{instruction}\n<|im_end|>" for instruction in instructions]
found = get_fn_completions("openai_completions")(prompts, model_name=model, max_tokens=64, num_procs=4)
rows = [
    {"dataset": "ours", "instruction": instruction, "output": output.strip(), "generator": model}
    for instruction, output in zip(instructions, found["completions"], strict=True)
]
Path(outputs).write_text(json.dumps(rows, indent=1))
