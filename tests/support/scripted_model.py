"""A model process that does what a test wants, in the place of llama.cpp's: `python -m tests.support.scripted_model`.

Its script is the "model file" itself, read anew at the load and at each request: `GGUF`, then JSON with two lists of
steps, `load` and `infer`. A step is a line to send (`$ID` stands for the request's id), or one of the words below.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

EXIT, KILL, HANG, CLOSE = "exit", "kill", "hang", "close"
READY = '{"kind": "Ready", "context_tokens": 512, "open_doors": ""}'
TEXT = '{"kind": "Text", "id": $ID, "text": "Paris"}'
COUNTS = '"input_tokens": 3, "output_tokens": 1, "input_tokens_cut": 0, "input_tokens_kept": 0'
DONE = f'{{"kind": "Done", "id": $ID, {COUNTS}, "finish_reason": "stop"}}'
CANCELLED = '{"kind": "Cancelled", "id": $ID}'


def write_script(path: Path, load: list[str] | None = None, infer: list[str] | None = None) -> None:
    """Writes a model file; a step left out is done well."""
    script = {"load": [READY] if load is None else load, "infer": [TEXT, DONE] if infer is None else infer}
    aside = path.with_suffix(".new")
    aside.write_bytes(b"GGUF" + json.dumps(script).encode())
    aside.replace(path)


def main() -> None:
    """Runs until the parent closes the pipe."""
    load = json.loads(sys.stdin.buffer.readline())
    path = Path(load["model_path"])
    _play(path, "load", 0)
    cancelled = threading.Event()
    requests: list[int] = []
    more = threading.Semaphore(0)

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["kind"] == "Cancel":
                cancelled.set()
            else:
                requests.append(message["id"])
                more.release()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        more.acquire()
        cancelled.clear()
        number = requests.pop(0)
        _play(path, "infer", number, cancelled)


def _play(path: Path, part: str, number: int, cancelled: threading.Event | None = None) -> None:
    for step in json.loads(path.read_bytes()[4:])[part]:
        if step == EXIT:
            os._exit(3)
        elif step == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif step == HANG:
            (cancelled or threading.Event()).wait()
            if cancelled is not None:
                _send(CANCELLED.replace("$ID", str(number)))
                return
        elif step == CLOSE:
            os.close(1)
        else:
            _send(step.replace("$ID", str(number)))


def _send(line: str) -> None:
    os.write(1, line.encode("utf-8", "surrogateescape") + b"\n")


if __name__ == "__main__":
    main()
