"""One device process of a local fleet: started, watched, logged to a bounded file, killed or stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import final

from edge_agent.children import ChildProcess

LOG_BYTES_MAX = 2 * 1024 * 1024  # of a device's log; then it starts anew and the old half is kept beside it
LOG_TAIL_LINES = 15  # shown when a device dies: enough for one traceback's end
STOP_STILL_S = 8.0  # of doing nothing, on the way to a farewell, the journal and the model process; then it is killed
THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # numpy beside llama.cpp needs none of its own
OWN_SECTIONS = ("MOAMESH_DEVICE__", "MOAMESH_BROKER__")
"""Variables that name one device or mesh: meant for this command, they would make all devices of a fleet the same."""


@final
class DeviceProcess(ChildProcess):
    """A device's process. Start it again after it ended, and it is the same device with a higher incarnation."""

    def __init__(self, device_id: str, config_path: Path, log_path: Path) -> None:
        super().__init__(
            [sys.executable, "-m", "edge_agent.fleet.agent_process", "--config", str(config_path)],
            log_path,
            child_environment(),
            log_bytes_max=LOG_BYTES_MAX,
            stop_still_s=STOP_STILL_S,
            with_us=signal.SIGTERM,  # not SIGKILL: a device whose parent died still says that it stopped
        )
        self.device_id = device_id
        self.config_path = config_path
        self.log_path = log_path

    def log_tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.lines()[-LOG_TAIL_LINES:])


def child_environment() -> dict[str, str]:
    """Returns the environment of a fleet's processes: ours, without what names one device or mesh."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SECTIONS)}
    return kept | dict.fromkeys(THREADS_OF_LIBRARIES, "1")
