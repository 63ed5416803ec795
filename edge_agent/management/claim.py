"""A device's first certificate: claimed with the invitation that its operator gave it, once."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.wire.topics import claim_login
from provisioning.claiming import claim
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.identity_store import IdentityStore
from provisioning.mqtt_link import BrokerAccess, mqtt_connect

log = logging.getLogger(__name__)

_TEXTS = ("mesh", "device_id", "secret", "claim_broker", "bundle")


def claim_identity(config: AgentConfig, invitation_file: Path, give_up_s: float | None = None) -> bool:
    """Makes this device a member of its mesh: asks until it has a certificate, then removes the invitation.

    Returns whether there was anything to do; a device that has a certificate keeps it. May be stopped and called again
    at any time: the key stays the same, and so does the answer.

    Args:
        config: names the identity's files, which stand in one folder (`provisioning.identity_store`).
        invitation_file: what `moamesh device invite --output` wrote.
        give_up_s: after how long to stop asking; `None` is never.

    Raises:
        SettingsError: the invitation is none, or is for another device or mesh than the settings.
        ProvisioningError: the claim is refused for good, or it took too long.
    """
    store = _store(config)
    if store.certificate() is not None:
        log.info("%s has its certificate already", store.device_id)
        invitation_file.unlink(missing_ok=True)
        return False
    invitation = _read(invitation_file)
    for key, ours in (("mesh", store.mesh), ("device_id", store.device_id)):
        if invitation[key] != ours:
            raise SettingsError(f"{invitation_file} is for {key} {invitation[key]}, the settings are for {ours}")
    store.trust(invitation["bundle"].encode())
    access = BrokerAccess(
        invitation["claim_broker"],
        f"{store.mesh}.{store.device_id}-claim",
        store.ca_file,
        username=claim_login(store.device_id),
        password=invitation["secret"],
    )
    asyncio.run(claim(store, invitation["secret"], mqtt_connect(access), give_up_s=give_up_s))
    invitation_file.unlink(missing_ok=True)
    return True


def _store(config: AgentConfig) -> IdentityStore:
    broker = config.broker
    if broker.cert_file is not None:
        store = IdentityStore(broker.cert_file.parent, config.device.mesh, config.device.id)
        if (broker.cert_file, broker.key_file, broker.ca_file) == (
            *(store.identity_file, store.identity_file),
            store.ca_file,
        ):
            return store
    raise SettingsError(
        "[broker] a device that claims needs cert_file and key_file (both FOLDER/identity.pem) and ca_file "
        "(FOLDER/ca.pem): it keeps its identity there"
    )


def _read(path: Path) -> dict[str, str]:
    try:
        read: Any = json.loads(read_file(path))
    except ProvisioningError as error:
        raise SettingsError(str(error)) from None
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict) or not all(isinstance(read.get(key), str) for key in _TEXTS):
        raise SettingsError(f"{path} is not an invitation: make one with `moamesh device invite NAME --output FILE`")
    return read
