"""What moamesh needs of a machine, looked at one by one."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from broker.kinds import choose
from edge_agent.adapters.llama_server import find_server
from edge_agent.children import run
from edge_agent.core.errors import SettingsError
from edge_agent.doctor.findings import Check, Finding
from edge_agent.folders import state_folder
from edge_agent.models import DEFAULT_MODEL, models_home, resolve

MQTT_PORT = 1883
IMPORT_TIMEOUT_S = 60.0  # llama.cpp loads in a second or two; on a slow memory card in many
MODEL_OVERHEAD = 1.5  # weights, context and buffers of a small model, as a multiple of its file
DEVICE_BYTES = 80 * 1024 * 1024  # an agent process without its model
_MIB = 1024 * 1024


def machine_checks() -> Iterator[Check]:
    """Looks at everything; takes a second or two."""
    server = check_llama_server()
    llama = check_llama(needed=server.finding is not Finding.OK)
    yield check_python()
    yield check_compiler(needed=llama.missing)
    yield llama
    yield server
    yield check_model()
    yield check_broker()
    yield check_memory()
    yield check_port()
    yield check_folder("state folder", state_folder())
    yield check_folder("models folder", models_home())
    yield check_clock()


def check_python() -> Check:
    """The interpreter's version."""
    good = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} on {platform.machine()}"
    return Check("Python", Finding.OK if good else Finding.MISSING, detail, "install Python 3.11 or newer")


def check_compiler(*, needed: bool) -> Check:
    """A C++ compiler: needed only to install llama-cpp-python, which is published as source."""
    found = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if found:
        return Check("C++ compiler", Finding.OK, found)
    finding = Finding.MISSING if needed else Finding.NOTE
    return Check("C++ compiler", finding, "none: llama.cpp is compiled when installed", "sudo apt install g++")


def check_llama(*, needed: bool = True) -> Check:
    """llama-cpp-python, imported in a child: a library built for another CPU may kill its process. Not `needed` where
    there is a llama.cpp that is not compiled for this CPU."""
    code = "import llama_cpp; print(llama_cpp.__version__)"
    mend = 'pip install "moamesh[llama]"'
    try:
        done = run([sys.executable, "-c", code], timeout_s=IMPORT_TIMEOUT_S)
    except TimeoutError:
        return Check("llama.cpp", Finding.MISSING, "its import hangs", f"{mend} --force-reinstall --no-cache-dir")
    if done.status == 0:
        return Check("llama.cpp", Finding.OK, f"llama-cpp-python {done.text.strip()}")
    if done.status < 0:
        detail = f"its import dies of signal {-done.status}: built for another CPU?"
        return Check("llama.cpp", Finding.MISSING, detail, f"{mend} --force-reinstall --no-cache-dir")
    return Check("llama.cpp", Finding.MISSING if needed else Finding.NOTE, done.reason, mend)


def check_llama_server() -> Check:
    """llama.cpp's own server, for the engine `llama-server`: prebuilt, or a program."""
    try:
        program = find_server("")
    except SettingsError as error:
        return Check(
            "llama-server", Finding.NOTE, "none: the engine of this name needs it", str(error).partition(": ")[2]
        )
    return Check("llama-server", Finding.OK, program.name)


def check_model() -> Check:
    """The default model."""
    try:
        path = resolve(DEFAULT_MODEL)
    except SettingsError:
        mend = f"moamesh models pull {DEFAULT_MODEL}"
        return Check("default model", Finding.NOTE, "not here yet: `moamesh demo` fetches it", mend)
    return Check("default model", Finding.OK, f"{path.name}, {path.stat().st_size / _MIB:.0f} MiB")


def check_broker() -> Check:
    """A broker program for local meshes."""
    try:
        kind = choose()
    except RuntimeError as error:
        return Check("broker", Finding.MISSING, str(error).partition(":")[0], "sudo apt install mosquitto")
    if kind.limitations:
        return Check("broker", Finding.NOTE, kind.limitations, "sudo apt install mosquitto")
    return Check("broker", Finding.OK, kind.name)


def check_memory() -> Check:
    """Free memory against one device with the default model."""
    free = _available_bytes()
    if free is None:
        return Check("memory", Finding.NOTE, "cannot tell how much is free")
    try:
        model_bytes = resolve(DEFAULT_MODEL).stat().st_size
    except (SettingsError, OSError):
        model_bytes = 150 * _MIB
    one = int(model_bytes * MODEL_OVERHEAD) + DEVICE_BYTES
    detail = f"{free / _MIB:.0f} MiB free, a device with the default model takes about {one / _MIB:.0f}"
    if free < one:
        return Check("memory", Finding.MISSING, detail, "stop something, or use a smaller model")
    return Check("memory", Finding.OK, f"{detail}: room for {free // one}")


def check_port() -> Check:
    """MQTT's own port. Local meshes take any free one."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", MQTT_PORT))
        except OSError:
            return Check("port", Finding.OK, f"{MQTT_PORT} is in use; local meshes take another")
    return Check("port", Finding.OK, f"{MQTT_PORT} is free")


def check_folder(name: str, folder: Path) -> Check:
    """A folder that must be writable."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if os.access(existing, os.W_OK):
        return Check(name, Finding.OK, str(folder))
    return Check(name, Finding.MISSING, f"{folder} cannot be written", f"sudo chown {os.getuid()} {existing}")


def check_clock() -> Check:
    """A Raspberry Pi has no clock of its own: before the network sets it, certificates seem not valid yet."""
    installed_at = Path(__file__).stat().st_mtime
    if time.time() < installed_at:
        return Check("clock", Finding.NOTE, "set before this program was installed", "sudo timedatectl set-ntp true")
    return Check("clock", Finding.OK, time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
