#!/usr/bin/env bash
# Builds llama-cpp-python for arm64 on another machine, with Debian's cross compiler: for a device's wheelhouse. Python's
# side of it is the same everywhere; only the libraries are compiled. For every 64-bit Raspberry Pi: plain ARMv8.
#
#     scripts/build_llama_wheel.sh FOLDER [PYTHON]
set -euo pipefail
folder=${1:?where the wheel goes}
python=${2:-python3}
requirement=$("$python" "$(dirname "$0")/print_extra.py" llama)

work=$(mktemp -d "${TMPDIR:-/tmp}/moamesh-llama.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/toolchain.cmake" <<'END'
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
END
# _PYTHON_HOST_PLATFORM: the platform that the wheel is named for
CMAKE_ARGS="-DCMAKE_TOOLCHAIN_FILE=$work/toolchain.cmake -DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=armv8-a \
-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF \
-DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF" \
    _PYTHON_HOST_PLATFORM=linux-aarch64 \
    "$python" -m pip wheel --quiet --no-deps --no-cache-dir --no-binary llama-cpp-python --wheel-dir "$folder" "$requirement"
