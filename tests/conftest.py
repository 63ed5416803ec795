"""What tests all over the tree share."""

import importlib.util
import os
from functools import cache
from pathlib import Path

import httpx._transports.default
import pytest
import typer.testing
from hypothesis import HealthCheck, settings

from edge_agent.models import DEFAULT_MODEL, ModelError, pull

# no example fails for the time that it takes: that is the machine's
settings.register_profile("any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# a test's runner puts all commands of `moamesh` together anew for each call, a third of a second; they keep no state
typer.testing._get_command = cache(typer.testing._get_command)

# a client of httpx reads all certificates that this system trusts, 30 ms each time, and nearly all ask by plain http
_new_context = cache(httpx._transports.default.create_ssl_context)
httpx._transports.default.create_ssl_context = lambda verify=True, cert=None, trust_env=True: _new_context(
    verify, cert, trust_env
)


def missing(what: str) -> None:
    """Skips a test for want of something, with the reason; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"nothing may be skipped in CI: {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def default_model() -> Path:
    """The default model, pulled once into $MOAMESH_HOME or the user's own models home."""
    if importlib.util.find_spec("llama_cpp") is None:
        missing("llama-cpp-python is not installed: pip install 'moamesh[llama]'")
    try:
        return pull(DEFAULT_MODEL).path
    except ModelError as error:
        missing(f"the default model can't be had: {error}")
        raise
