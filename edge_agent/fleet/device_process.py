"""One device process of a local fleet: started, watched, logged to a bounded file, killed or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from edge_agent.stillness import StandsStillError, Stillness
from edge_agent.tasks import Keeper, unless

LOG_BYTES_MAX = 2 * 1024 * 1024  # of a device's log; then it starts anew and the old half is kept beside it
LOG_TAIL_LINES = 15  # shown when a device dies: enough for one traceback's end
LOG_TAIL_BYTES = 16 * 1024
LOG_END_S = 1.0  # for the last words of a device that has ended
STOP_STILL_S = 8.0  # of doing nothing, on the way to a farewell, the journal and the model process; then it is killed
STOP_WAITED_MAX_S = 60.0
THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # numpy beside llama.cpp needs none of its own
OWN_SECTIONS = ("MOAMESH_DEVICE__", "MOAMESH_BROKER__")
"""Variables that name one device or mesh: meant for this command, they would make all devices of a fleet the same."""


class DeviceProcess:
    """A device's process. Start it again after it ended, and it is the same device with a higher incarnation."""

    def __init__(self, device_id: str, config_path: Path, log_path: Path) -> None:
        self.device_id = device_id
        self.config_path = config_path
        self.log_path = log_path
        self._process: asyncio.subprocess.Process | None = None
        self._log = Keeper(device_id)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def exit_status(self) -> int | None:
        """How it ended: an exit status, or a negative signal number; `None` while it runs or before its start."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Starts the process. It ends with ours, however ours ends."""
        if self.pid is not None:
            return
        await self._end_log()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "edge_agent.fleet.agent_process", "--config", str(self.config_path), "--parent", str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C at the terminal is ours to handle: devices are stopped in order
        )
        if self._process.stdout is not None:
            self._log.begin("copying its log", self._copy_log(self._process.stdout))

    async def wait(self) -> int:
        """Returns the exit status once the process has ended."""
        if self._process is None:
            raise RuntimeError(f"{self.device_id} was never started")
        return await self._process.wait()

    def kill(self) -> None:
        """Kills the process at once (SIGKILL), as a power cut would."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Asks the process to stop, kills it if it does not in time, and closes its log."""
        if self._process is not None:
            self._signal(signal.SIGTERM)
            stillness = Stillness(lambda: [self.pid], STOP_STILL_S, waited_max_s=STOP_WAITED_MAX_S)
            try:
                await unless(self._process.wait(), stillness.found())
            except StandsStillError:
                self.kill()
                await self._process.wait()
        await self._end_log()

    def log_tail(self) -> str:
        """The last lines of the log."""
        try:
            text = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _copy_log(self, source: asyncio.StreamReader) -> None:
        with self.log_path.open("ab", buffering=0) as file:
            while data := await source.read(64 * 1024):
                if file.tell() + len(data) > LOG_BYTES_MAX:
                    self.log_path.with_suffix(".log.1").write_bytes(self.log_path.read_bytes())
                    file.truncate(0)
                file.write(data)

    async def _end_log(self) -> None:
        # a grandchild that outlives the device for a moment may hold the pipe open: do not wait for it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOG_END_S):
                await self._log.finish()
        await self._log.stop()


def child_environment() -> dict[str, str]:
    """Returns the environment of a fleet's processes: ours, without what names one device or mesh."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SECTIONS)}
    return kept | dict.fromkeys(THREADS_OF_LIBRARIES, "1")
