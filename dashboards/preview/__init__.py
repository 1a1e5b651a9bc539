"""Dashboards and a Prometheus in, pictures of every dashboard with its real data out; no Grafana needed."""
