"""Child process: `python -m edge_agent.models.quantise_worker SOURCE TARGET FILE_TYPE THREADS`.

Writes `done/total` (tensors) to standard output as it goes, and the reason as the last line if it fails.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from edge_agent.confinement import AllowedFiles, confine

TENSOR_LINE = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")  # llama.cpp logs one such line a tensor
LOG_LEVEL_ERROR = 4  # ggml_log_level


def main(source: str, target: str, file_type: str, threads: str) -> int:
    """Returns the exit status."""
    confine(
        AllowedFiles([Path(source)], Path(target))
    )  # llama.cpp reads a stranger's file; `moamesh doctor` says what holds
    try:
        import llama_cpp
    except ImportError as error:
        print(f"llama-cpp-python does not import ({error}): pip install 'moamesh[llama]'")
        return 1

    def show(level: int, text: bytes, _user_data: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if found := TENSOR_LINE.match(line):
            print(f"{found[1]}/{found[2]}", flush=True)
        elif level == LOG_LEVEL_ERROR:
            print(line, flush=True)

    callback = llama_cpp.llama_log_callback(show)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    forms = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = forms[file_type]
    parameters.nthread = int(threads)
    parameters.allow_requantize = True
    status = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
