"""Import modules of the service package by name, and make its settings from flags."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import importlib
from collections.abc import Collection
from typing import Any

import typer

from batchgrad.errors import Unavailable, extra


def service_module(module: str) -> Any:
    """A module of the service package, by name.

    The light client must not depend on the service: an import by name keeps it out of the import
    test and type checks, and says what to install if it is missing.
    """
    try:
        return importlib.import_module(f"batchgrad_service.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("batchgrad_service."):
            raise  # an incomplete installation, which pip install would not repair
        raise Unavailable(
            f"The service needs {error.name}, which is not installed: {extra('service')}"
        ) from error


def service_settings(given: dict[str, Any], flags: Collection[str]) -> Any:
    """The service's settings, or a usage error that names the flag."""
    from pydantic import ValidationError

    from batchgrad.parsing.validation import field_errors

    try:
        settings = service_module("settings").Settings(**given)
        if settings.token_file is not None:  # a missing file is a usage error too
            service_module("access_token").read(settings.token_file)
    except ValidationError as error:
        messages = []
        for one in error.errors():
            location = ("body", *one["loc"])
            [wrong] = field_errors([{**one, "loc": location}], None)
            messages.append(_setting(location[-1], flags) + wrong.detail)
        raise typer.BadParameter(" ".join(messages)) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return settings


def _setting(name: str | int, flags: Collection[str]) -> str:
    """The flag and the variable of a setting; "" for an error about several settings."""
    if name == "body":
        return ""
    plain = str(name).lower().removeprefix("batchgrad_")
    variable = f"BATCHGRAD_{plain.upper()}"
    if plain == "ray_address":
        variable += " or RAY_ADDRESS"
    return f"--{plain.replace('_', '-')} ({variable}): " if plain in flags else f"{variable}: "
