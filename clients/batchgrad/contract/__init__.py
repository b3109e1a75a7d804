"""The HTTP interface, version 1: the types of what a client sends and the service answers."""
# ruff: noqa: F403 (a public name is listed once, in `__all__` of its own module)

from batchgrad.contract import (
    curves,
    datasets,
    examples,
    figures,
    gradients,
    kinds,
    losses,
    model,
    operations,
    plans,
    statuses,
    tables,
    views,
)
from batchgrad.contract.curves import *
from batchgrad.contract.datasets import *
from batchgrad.contract.examples import *
from batchgrad.contract.figures import *
from batchgrad.contract.gradients import *
from batchgrad.contract.kinds import *
from batchgrad.contract.losses import *
from batchgrad.contract.model import *
from batchgrad.contract.operations import *
from batchgrad.contract.plans import *
from batchgrad.contract.statuses import *
from batchgrad.contract.tables import *
from batchgrad.contract.training import (
    initial,
    microbatches,
    module,
    optimizers,
    privacy,
    spec,
    stopping,
    validation,
)
from batchgrad.contract.training.initial import *
from batchgrad.contract.training.microbatches import *
from batchgrad.contract.training.module import *
from batchgrad.contract.training.optimizers import *
from batchgrad.contract.training.privacy import *
from batchgrad.contract.training.spec import *
from batchgrad.contract.training.stopping import *
from batchgrad.contract.training.validation import *
from batchgrad.contract.views import *

API_VERSION = "1"

__all__ = ["API_VERSION"]
__all__ += curves.__all__
__all__ += datasets.__all__
__all__ += examples.__all__
__all__ += figures.__all__
__all__ += gradients.__all__
__all__ += kinds.__all__
__all__ += losses.__all__
__all__ += model.__all__
__all__ += operations.__all__
__all__ += plans.__all__
__all__ += statuses.__all__
__all__ += tables.__all__
__all__ += initial.__all__
__all__ += microbatches.__all__
__all__ += module.__all__
__all__ += optimizers.__all__
__all__ += privacy.__all__
__all__ += spec.__all__
__all__ += stopping.__all__
__all__ += validation.__all__
__all__ += views.__all__
