#!/bin/sh
# Builds prometheus and promtool from their Go module into a folder: dashboards/prometheus.sh FOLDER
# Distributions bring versions before 3, which take no OTLP. Service discovery is left out: it is most of the build.
set -eu
version=v0.313.5 # v3.13.5 as a module
folder=$(mkdir -p "${1:?the folder to build into}" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init example.com/prometheus-build >/dev/null 2>&1
go get "github.com/prometheus/prometheus@$version" >/dev/null
for tool in prometheus promtool; do
  go get "github.com/prometheus/prometheus/cmd/$tool@$version" >/dev/null
  go build -tags remove_all_sd,netgo -o "$folder/$tool" "github.com/prometheus/prometheus/cmd/$tool"
done
echo "PERFOPT_PROMETHEUS=$folder/prometheus PERFOPT_PROMTOOL=$folder/promtool"
