"""The engine and stack of the container tests. `make test-containers` alone collects them."""

import os
from collections.abc import Iterator

import pytest

from batchgrad.user_machine.demo import digits
from tests.containers.__main__ import ENABLED
from tests.containers.engine import Engine, EngineUnavailableError, make_images
from tests.containers.stack import Stack
from tests.debian import cannot_run

collect_ignore_glob = [] if os.environ.get(ENABLED) else ["test_*.py"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        engine = Engine()
    except EngineUnavailableError as error:
        cannot_run(f"no containers here: {error}")
    try:
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="session")
def stack(engine: Engine) -> Iterator[Stack]:
    try:
        make_images(engine)
    except EngineUnavailableError as error:
        cannot_run(f"no images here: {error}")
    stack = Stack(engine)
    try:
        stack.up()
        with stack.client() as client:
            client.put_arrays("digits", *digits())
        yield stack
    finally:
        stack.down()
