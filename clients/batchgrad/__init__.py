"""batchgrad: exact mean gradients on a Ray cluster, and how far the shortcuts are off.

This package is the light client: it needs neither numpy nor Ray.

    from batchgrad import Client

    with Client() as client:
        job = client.wait(client.submit(spec).id)
"""

from typing import TYPE_CHECKING, Any

from batchgrad.version import __version__

if TYPE_CHECKING:
    from batchgrad.client import Client

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """`Client`, loaded when it is first asked for: the command line's help needs no HTTP."""
    if name == "Client":
        from batchgrad.client import Client  # noqa: PLC0415 (lazy on purpose, see above)

        return Client
    raise AttributeError(f"module 'batchgrad' has no attribute {name!r}")
