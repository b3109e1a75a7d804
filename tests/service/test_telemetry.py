"""FastAPI's telemetry is on only where OpenTelemetry's variables set it up."""

from batchgrad_service.app import telemetry_of


def test_telemetry_is_off_unless_a_variable_of_opentelemetry_is_set() -> None:
    off = telemetry_of({"PATH": "/bin", "BATCHGRAD_OTEL_": "1"})
    assert off == {"tracing": False, "metrics": False, "logs": False}
    assert telemetry_of({"OTEL_PYTHON_TRACER_PROVIDER": "sdk"}) is None
