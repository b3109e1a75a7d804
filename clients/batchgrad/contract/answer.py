"""The base of what the service sends."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """What the service sends: a newer service may add keys, an older client ignores them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
