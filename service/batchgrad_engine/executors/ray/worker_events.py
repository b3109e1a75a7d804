"""Events about single workers: joined, lost, and warnings."""

from batchgrad_engine.executors.protocol import ExecutorEvent
from batchgrad_engine.executors.ray.protocol import GroupWorker
from batchgrad_workers.runtime.actor import Identity
from batchgrad_workers.runtime.build_info import build_info


def joined(worker: GroupWorker, identity: Identity) -> list[ExecutorEvent]:
    """A worker joined; warnings if its libraries differ or its arrays travel through Ray."""
    data = {"worker": worker.number, "host": identity.host, "pid": identity.pid}
    events = [ExecutorEvent("worker_joined", data)]
    if difference := build_difference(identity):
        events.append(
            _warning(
                f"Worker {worker.number} on {identity.host} {difference}: results are right, but "
                "their last bits may depend on which worker computes which range."
            )
        )
    if worker.connect_error and worker.connection.transport == "ray":
        events.append(
            _warning(
                f"Worker {worker.number} is on the engine's node but can't connect to its socket "
                f"({worker.connect_error}): its arrays travel through Ray, which is slower."
            )
        )
    return events


def build_difference(identity: Identity) -> str | None:
    """How the build of a worker differs from the engine's; None if they round alike."""
    own = build_info()
    if identity.build_info == own:
        return None
    return f"has {identity.build_info}, the engine has {own}"


def lost(worker: GroupWorker, reason: str, detail: str) -> ExecutorEvent:
    """A worker died, is unresponsive, was stopped or failed to start."""
    data: dict[str, object] = {"worker": worker.number, "reason": reason, "detail": detail}
    if worker.identity:
        data |= {"host": worker.identity.host, "pid": worker.identity.pid}
    return ExecutorEvent("worker_lost", data)


def _warning(text: str) -> ExecutorEvent:
    return ExecutorEvent("warning", {"detail": text})
