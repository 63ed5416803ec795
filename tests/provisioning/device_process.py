"""A device as a process of its own: claims with the invitation in a file. `python -m tests.provisioning.device_process
INVITATION FOLDER`"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import sys
from pathlib import Path

from edge_agent.wire.topics import claim_login
from provisioning.claiming import claim
from provisioning.identity_store import IdentityStore
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.provisioning.home import PAUSE_S
from tests.support.patience import PATIENCE_S


async def main(invitation: dict[str, str], folder: Path) -> None:
    store = IdentityStore(folder, invitation["mesh"], invitation["device_id"])
    store.trust(invitation["bundle"].encode())
    login = claim_login(store.device_id)
    access = BrokerAccess(
        invitation["claim_broker"], "claiming", store.ca_file, username=login, password=invitation["secret"]
    )
    await claim(store, invitation["secret"], mqtt_connect(access), give_up_s=PATIENCE_S, pause_min_s=PAUSE_S)
    member = BrokerAccess(
        json.loads(json.dumps(invitation["brokers"]))[0],
        store.device_id,
        store.ca_file,
        store.identity_file,
        store.identity_file,
        crl_file=store.crl_file,
    )
    async with mqtt_connect(member)():
        print(f"a member in {datetime.datetime.now(datetime.UTC).year}")


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
