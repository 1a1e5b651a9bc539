"""The Grafana dashboards as code: nothing in, `dashboards/json/*.json` out with `python -m dashboards`."""
