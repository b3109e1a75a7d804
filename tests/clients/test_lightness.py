"""The light client stays light: its imports, and the time of its help."""

import json
import subprocess
import sys

from tests.cpu_time import least_seconds

HEAVY = ["numpy", "ray", "sklearn", "batchgrad_service", "batchgrad_workers"]
HELP_SECONDS = 0.5


def loaded_after(imports: str) -> set[str]:
    code = f"import {imports}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


def test_the_client_loads_neither_numpy_nor_ray_nor_the_other_packages() -> None:
    modules = loaded_after(
        "batchgrad, batchgrad.client, batchgrad.cli, batchgrad.user_machine.demo"
    )
    assert "batchgrad.client" in modules
    assert not modules.intersection(HEAVY)


def test_the_command_line_loads_no_http_for_its_help() -> None:
    assert not loaded_after("batchgrad.cli").intersection(["httpx2", "pydantic", "rich", "yaml"])


def test_help_answers_within_half_a_second_of_cpu() -> None:
    code = (
        "import os, resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'batchgrad', '--help'], check=True,"
        " stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )

    def seconds() -> float:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return float(run.stdout)

    assert least_seconds(seconds, rounds=3) < HELP_SECONDS
