"""llama.cpp's own HTTP server, out of the package xllamacpp, as a program: `llama_server.py MODEL API_KEY`.

Prints its address once it listens; ends with its standard input.
"""

import sys

import xllamacpp


def main(model: str, api_key: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = 1024
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.port = 0
    params.api_keys = [api_key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
