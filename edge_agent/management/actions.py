"""What a device does when a job asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from broker.access import UserLogin
from broker.passwords import check_hash
from broker.people_file import PeopleFile, PeopleFileError
from edge_agent import __version__
from edge_agent.core.errors import MoameshError
from edge_agent.management.jobs import Performed, Progress
from edge_agent.management.operator_settings import OperatorSettings
from edge_agent.management.upgrade import UpgradeError, upgrade
from edge_agent.models import Stage, find, pull
from provisioning.jobs import Action, Job, Value


class JobError(MoameshError):
    """A job could not be done. One line."""


class DeviceActions:
    """The actions of a real device (`management.jobs.Actions`)."""

    def __init__(self, settings: OperatorSettings, people: PeopleFile | None = None) -> None:
        """people: who comes to this device's own broker with a password; `None` where it has no broker of its own."""
        self._settings = settings
        self._people = people

    async def perform(self, job: Job, progress: Progress) -> Performed:
        """Does the job; again after a crash in the middle it comes to the same.

        Raises:
            MoameshError: it cannot be done; one line.
        """
        match job.action:
            case Action.SET:
                self._settings.change(job.arguments)
                return Performed(f"{', '.join(job.arguments)} set, restarting", restart=True)
            case Action.PULL_MODEL:
                return await self._pull(str(job.arguments["model"]), job.arguments["use"] is True, progress)
            case Action.UPGRADE:
                return await _upgrade(str(job.arguments["version"]), str(job.arguments["sha256"]))
            case Action.RESTART:
                return Performed("restarting", restart=True)
            case Action.USERS:
                return await asyncio.to_thread(self._let_in, job.arguments)

    def confirm(self, job: Job) -> str:
        """Says what is so after the restart.

        Raises:
            JobError: what was asked for is not so.
        """
        if job.action is Action.UPGRADE and __version__ != job.arguments["version"]:
            raise JobError(f"version {job.arguments['version']} was installed, but {__version__} runs")
        if job.action in (Action.SET, Action.PULL_MODEL):
            return "in force since the restart"
        return f"restarted with version {__version__}"

    def revert(self, job: Job) -> None:
        """Puts the settings back that were before the job."""
        if job.action in (Action.SET, Action.PULL_MODEL):
            self._settings.revert()

    def _let_in(self, hashes: Mapping[str, Value]) -> Performed:
        if self._people is None:
            raise JobError("this device has no broker of its own, or no web_port: users log in at the shared broker")
        try:
            self._people.replace(UserLogin(name, check_hash(str(hashed))) for name, hashed in hashes.items())
        except (ValueError, PeopleFileError, OSError) as error:
            raise JobError(f"the users cannot be kept: {error}") from None
        return Performed(f"users: {', '.join(sorted(hashes)) or 'nobody'}")

    async def _pull(self, model: str, use: bool, progress: Progress) -> Performed:
        def show(stage: Stage, done: int, total: int) -> None:
            if stage is Stage.DOWNLOAD and total:
                progress(done / total)

        pulled = await asyncio.to_thread(pull, model, show)
        if not use:
            return Performed(f"model {pulled.name} is here")
        kind = self._settings.load().engine.kind
        loads_files = kind if kind in ("llama", "llama-server") else "llama"
        self._settings.change({"engine.kind": loads_files, "engine.model": find(pulled.name).name})
        return Performed(f"model {pulled.name} is here, restarting with it", restart=True)


async def _upgrade(version: str, sha256: str) -> Performed:
    if version == __version__:
        return Performed(f"version {version} runs already")
    try:
        await upgrade(version, sha256)
    except UpgradeError as error:
        raise JobError(str(error)) from None
    return Performed(f"version {version} installed, restarting", restart=True)
