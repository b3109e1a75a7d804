"""docker-compose.yml, read as a file; tests/containers starts it."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.deployed import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
LASTING = sorted(SERVICES.keys() - {"tokens"})


@pytest.mark.parametrize("name", LASTING)
def test_a_container_can_do_little_and_is_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["networks"] == ["batchgrad"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "mem_limit" in service
    assert all("size=" in each for each in service.get("tmpfs", []))  # it is memory
    assert "privileged" not in service


def test_ports_are_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_example_environment_holds_every_default() -> None:
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=") for line in lines if "=" in line) == defaults


def test_workers_do_not_get_the_token_of_the_api() -> None:
    assert not any(volume.startswith("api-token") for volume in SERVICES["worker"]["volumes"])


@pytest.mark.parametrize("folder", ["datasources", "dashboards"])
def test_grafana_is_provisioned_with_what_compose_mounts(folder: str) -> None:
    grafana = ROOT / "deploy/grafana"
    (file,) = (grafana / "provisioning" / folder).glob("*.yml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if folder == "datasources":
        assert content["datasources"][0]["url"] == "http://prometheus:9090"
        return
    mounted = SERVICES["grafana"]["volumes"][0].split(":")[1]
    path = content["providers"][0]["options"]["path"]
    assert (grafana / path.removeprefix(f"{mounted}/")).is_dir()


def test_prometheus_scrapes_names_that_exist() -> None:
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    for job in yaml.safe_load(text)["scrape_configs"]:
        host = job["static_configs"][0]["targets"][0].split(":")[0]
        assert host in {*SERVICES, "127.0.0.1"}
