"""The gateway of a device, as its agent.toml describes it."""

from __future__ import annotations

from broker.local_login import LOCAL_SECRET_FILE
from edge_agent.client import Access
from edge_agent.config import AgentConfig
from edge_agent.config.broker import read_password_file
from edge_agent.gateway.options import GatewayOptions
from edge_agent.mqtt import TlsFiles
from edge_agent.wire.topics import ANYBODY


def options_of(config: AgentConfig) -> GatewayOptions:
    """Returns what the section `[gateway]` and the device's own mesh say.

    Raises:
        SettingsError: the password file cannot be read.
    """
    section = config.gateway
    broker, broker_of = _broker(config)
    username, password = section.username, None
    if section.password_file is not None:
        password = read_password_file(section.password_file, "[gateway] password_file").get_secret_value()
    elif username is None and not section.broker and config.broker.mode == "own" and config.broker.local_port:
        secret = config.data_dir / LOCAL_SECRET_FILE  # which the device's own broker makes if it is not there
        username, password = ANYBODY, read_password_file(secret, "the own broker's password").get_secret_value()
    # Never the device's own certificate: to the broker the gateway is a user, and a device may ask no prompts.
    ca, crl = config.broker.ca_file, config.broker.crl_file
    tls = TlsFiles(ca=str(ca), revoked=str(crl) if crl else None) if ca else None
    return GatewayOptions(
        broker=broker,
        mesh=config.device.mesh,
        access=Access(username, password, tls, broker_of),
        device_id=config.device.id,
        host=section.host,
        port=section.port,
        keys_file=section.keys_file or config.data_dir / "api-keys.json",
        cert_file=section.cert_file,
        key_file=section.key_file,
        cors_origins=section.cors_origins,
        web_broker=section.web_broker,
        caller_share=section.key_share,
    )


def _broker(config: AgentConfig) -> tuple[str, str]:
    """Where the device is at home, and whose certificate names it there ("" where it names the address)."""
    broker = config.broker
    if config.gateway.broker:
        return ",".join(config.gateway.broker), config.device.id if broker.mode == "own" else ""
    if broker.mode == "shared":
        return broker.home, ""
    if broker.local_port is not None:
        return f"mqtt://127.0.0.1:{broker.local_port}", ""
    return f"mqtts://127.0.0.1:{broker.port}", config.device.id
