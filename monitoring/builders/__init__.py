"""What the files for Grafana are made with: Grafana's own SDK, in the classic schema of dashboards.

The SDK would rather have the new schema (v2), which only the newest Grafana reads from files; every Grafana of the last
years, and the newest, loads the classic one. It says so whenever the classic part is imported: that is heard here.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard, stat  # noqa: F401 -- for the warnings, before anybody else
