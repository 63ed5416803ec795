"""An operator's process that changes a mesh again and again, for tests that kill it.
`python -m tests.provisioning.operator_process FOLDER`"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from provisioning.mesh import MeshFolder


def main(folder: Path) -> None:
    mesh = MeshFolder.open(folder)
    authority = mesh.authority()
    with mesh.inventory() as inventory:
        begun = len(inventory.devices())
    print("begun", flush=True)
    for number in itertools.count(begun):
        mesh.enrol(f"device-{number}", authority)
        mesh.revoke(f"device-{number}", authority)
        if number % 3 == 0:
            (authority.finish_rotation if len(authority.bundle.authorities) > 1 else authority.rotate)()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
