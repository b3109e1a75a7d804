"""Requests drawn from the service's own description: never a 500, and answers as described."""

from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.building import push, report, row, started
from tests.service.conftest import Bench

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_drawn_requests_are_answered_as_described(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(keep_alive_seconds=0.01, allowed_hosts="*")  # its client has its own name
    push(bench.http)
    job_id, attempt = started(bench.store)
    bench.store.record_report(job_id, attempt, report(row(1)))
    bench.store.transition(job_id, to="failed", allowed=["running"])  # so that streams end
    described = schemathesis.openapi.from_asgi("/openapi.json", bench.app)
    operations = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == sum(map(len, bench.app.openapi()["paths"].values()))
    for operation in operations:
        _ask(operation, job_id)


def _ask(operation: Any, job_id: str) -> None:
    """Valid and invalid requests in turn; every other one names a job that exists."""

    @settings(
        max_examples=10,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        ),
        known=st.booleans(),
    )
    def check_answer(case: Any, known: bool) -> None:
        if known and "job_id" in case.path_parameters and case.method != "DELETE":
            case.path_parameters["job_id"] = job_id
        case.call_and_validate(checks=CHECKS)

    check_answer()
