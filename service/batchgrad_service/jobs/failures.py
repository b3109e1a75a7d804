"""Why an attempt ended although its engine reported no outcome."""

import logging
from dataclasses import dataclass, field

from batchgrad_engine.messages import Finished
from batchgrad_service.jobs.engine_process import EngineExit, EngineProtocolError
from batchgrad_service.jobs.recovery import EngineStillRunningError
from batchgrad_service.privacy.keys import KeyGoneError
from batchgrad_service.problems import InvalidError
from batchgrad_service.ray_head.cluster import ClusterUnavailableError
from batchgrad_workers.system.disk import disk_full_message, is_disk_full
from batchgrad_workers.system.exhaustion import exhausted_resource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """The kind of failure, a sentence about it, and the last lines of the engine's log."""

    reason: str
    detail: str
    log: list[str] = field(default_factory=list)


def failure_of_exit(
    ended: EngineExit, broken: EngineProtocolError | None, last: Finished | None
) -> Failure:
    """Explain an engine's exit; `last` is its last message, if it sent one."""
    if last is not None and last.reason == "disk_full":
        return Failure("disk_full", last.detail or str(broken or ended), ended.log)
    if not ended.cluster_lost or broken is not None:
        return Failure("engine_died", str(broken or ended), ended.log)
    if last is not None and last.detail:
        return Failure("cluster_lost", f"The Ray cluster is lost: {last.detail}", ended.log)
    return Failure("cluster_lost", str(ended), ended.log)


def failure_of_error(error: Exception) -> Failure:
    """Explain an error of the service itself, and log it if it is not expected."""
    if isinstance(error, ClusterUnavailableError | EngineStillRunningError):
        return Failure("cluster_unavailable", str(error))
    if isinstance(error, KeyGoneError):
        return Failure("key_gone", str(error))
    if isinstance(error, InvalidError):  # the operator's rules have changed
        return Failure("code_not_allowed", error.detail)
    if is_disk_full(error):
        return Failure("disk_full", disk_full_message(error))
    if lacking := exhausted_resource(error):
        return Failure("machine_exhausted", lacking)
    log.error("The attempt failed.", exc_info=error)
    return Failure("internal_error", "The service failed; its log has the traceback.")
