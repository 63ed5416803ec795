"""Dashboards and alert rules for Grafana, as code. `python -m monitoring` writes the files that Grafana reads."""
