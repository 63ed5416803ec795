"""llama.cpp's own HTTP server, out of the package xllamacpp: `llama_server.py MODEL API_KEY CONTEXT_TOKENS`.

Prints its address once it listens; ends with its standard input.
"""

import sys

import xllamacpp


def main(model: str, api_key: str, context_tokens: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = int(context_tokens)
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.port = 0
    params.verbosity = 1
    params.api_keys = [api_key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
