from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from collector.backends import BUILD
from collector.program import COLLECTOR, program

KUBERNETES = COLLECTOR / "kubernetes"
CLICKHOUSE = COLLECTOR / "gateway-clickhouse.yaml"


def valid(arguments, **variables):
    """Validate a configuration with the Collector itself."""
    command = [program("perfopt-collector", BUILD), "validate", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=variables)


@pytest.mark.parametrize(
    "names",
    [("agent.yaml",), ("gateway.yaml",), ("gateway.yaml", "gateway-clickhouse.yaml")],
    ids=["agent", "gateway", "gateway with ClickHouse"],
)
def test_the_collector_takes_its_configuration(names):
    """With every default, each configuration is valid to the Collector that is built from the manifest."""
    done = valid([f"--config={COLLECTOR / name}" for name in names])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["agent", "gateway"])
def test_a_wrong_configuration_is_refused(name, tmp_path):
    """A misspelt key is an error: the validation above can fail."""
    path = tmp_path / "wrong.yaml"
    path.write_text((COLLECTOR / f"{name}.yaml").read_text().replace("sending_queue:", "sending_que:"))
    done = valid([f"--config={path}"])
    assert done.returncode != 0
    assert "sending_que" in done.stderr


def components(configuration):
    """Yield the kind and type of each component that a configuration names."""
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
        for name in configuration.get(kind) or ():
            yield kind, name.partition("/")[0]


def test_the_manifest_holds_what_is_used_and_little_else():
    """Each component of the manifest is named by a configuration, but for the two for looking and for sending on."""
    names = ("agent.yaml", "gateway.yaml", "gateway-clickhouse.yaml")
    used = {one for name in names for one in components(yaml.safe_load((COLLECTOR / name).read_text()))}
    manifest = yaml.safe_load((COLLECTOR / "builder.yaml").read_text())
    built = [
        (kind, re.search(rf"/([a-z]+?){kind[:-1]} v", one["gomod"] + "")[1])
        if kind != "extensions"
        else (kind, one["gomod"].split()[0].rpartition("/")[2].removesuffix("extension"))
        for kind in ("receivers", "processors", "exporters", "connectors", "extensions")
        for one in manifest[kind]
    ]
    spelt = {(kind, name.replace("_", "")) for kind, name in used}
    other_names = {("exporters", "otlpgrpc"): ("exporters", "otlp")}
    assert set(built) - {other_names.get(one, one) for one in spelt} == {
        ("exporters", "otlphttp"),
        ("exporters", "debug"),
    }


def test_both_collectors_mask_the_same_secrets():
    """The patterns of the agent's and the gateway's configuration are the same list."""
    agent, gateway = (yaml.safe_load((COLLECTOR / f"{name}.yaml").read_text()) for name in ("agent", "gateway"))
    assert agent["processors"]["redaction"] == gateway["processors"]["redaction"]


def test_the_manifests_are_what_the_generator_writes():
    """The configuration inside the Kubernetes resources is the one beside them."""
    done = subprocess.run(
        [sys.executable, KUBERNETES / "generate.py", "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["agent", "gateway"])
def test_a_resource_holds_together(name, tmp_path):
    """Its configuration is valid as it stands, its mounts have volumes, and its ports are those listened on."""
    resource = yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())
    assert (resource["apiVersion"], resource["kind"]) == ("opentelemetry.io/v1beta1", "OpenTelemetryCollector")
    spec = resource["spec"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(spec["config"]))
    done = valid([f"--config={path}"], **{one["name"]: one.get("value", "node-1") for one in spec.get("env", ())})
    assert done.returncode == 0, done.stderr
    volumes = {one["name"] for one in spec.get("volumes", ())}
    volumes |= {one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())}
    assert {one["name"] for one in spec["volumeMounts"]} == volumes
    protocols = spec["config"]["receivers"]["otlp"]["protocols"].values()
    listened = {int(one["endpoint"].rpartition(":")[2]) for one in protocols}
    assert listened <= {one["port"] for one in spec["ports"]}
    mounted = tuple(one["mountPath"] for one in spec["volumeMounts"])
    assert spec["config"]["extensions"]["file_storage"]["directory"].startswith(mounted)


def test_the_instrumented_agents_send_to_the_agents_collector():
    """The Instrumentation names the Service that the Operator makes for the agent's resource."""
    instrumentation = yaml.safe_load((KUBERNETES / "instrumentation.yaml").read_text())
    agent = yaml.safe_load((KUBERNETES / "agent.yaml").read_text())["metadata"]
    expected = f"http://{agent['name']}-collector.{agent['namespace']}.svc:4318"
    assert instrumentation["spec"]["exporter"]["endpoint"] == expected


def test_jaeger_takes_its_configuration():
    """Jaeger finds nothing wrong in jaeger.yaml."""
    done = subprocess.run(
        [program("jaeger", BUILD), "validate", f"--config={COLLECTOR / 'jaeger.yaml'}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["prometheus.yaml", "prometheus.compose.yaml"])
def test_prometheus_takes_its_configuration(name):
    """Promtool finds nothing wrong, rule files included."""
    promtool = program("promtool", "install it: apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "config", COLLECTOR / name], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_is_configured_alike_in_containers_and_without():
    """The two configurations differ in the target's host and in nothing else."""
    plain, compose = (
        yaml.safe_load((COLLECTOR / f"{name}.yaml").read_text().replace(host, "HOST"))
        for name, host in (("prometheus", "127.0.0.1"), ("prometheus.compose", "collector:"))
    )
    text = yaml.safe_dump(compose).replace("HOST8", "HOST:8")
    assert yaml.safe_load(text) == plain


def test_compose_mounts_what_exists_and_reaches_what_listens():
    """Each file that is mounted is there, and each service that is named by another is a service."""
    compose = yaml.safe_load((COLLECTOR / "compose.yaml").read_text())
    over = yaml.safe_load((COLLECTOR / "compose.clickhouse.yaml").read_text())
    services = compose["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COLLECTOR / source).exists(), source
            else:
                assert source in compose["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    named = {**services, **over["services"]}
    assert services["collector"]["environment"]["COLLECTOR_JAEGER"].partition(":")[0] in named
    assert over["services"]["collector"]["environment"]["COLLECTOR_CLICKHOUSE"].split("/")[2].partition(":")[0] in named


@pytest.mark.parametrize("overlays", [(), ("compose.clickhouse.yaml",)], ids=["alone", "with ClickHouse"])
def test_compose_takes_its_files(overlays):
    """The library that reads them for `docker compose` finds nothing wrong, and the overlay adds ClickHouse."""
    reader = program("compose-config", "build it: collector/build compose")
    paths = [COLLECTOR / name for name in ("compose.yaml", *overlays)]
    done = subprocess.run([reader, *paths], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"collector", "jaeger", "prometheus", "grafana", *(["clickhouse"] if overlays else [])}
    assert ("/etc/perfopt/gateway-clickhouse.yaml" in services["collector"]["command"]) == bool(overlays)


def test_a_wrong_compose_file_is_refused(tmp_path):
    """A misspelt key is an error: the validation above can fail."""
    path = tmp_path / "compose.yaml"
    path.write_text((COLLECTOR / "compose.yaml").read_text().replace("restart:", "restrat:"))
    reader = program("compose-config", "build it: collector/build compose")
    assert subprocess.run([reader, path], check=False, capture_output=True, timeout=60).returncode != 0
