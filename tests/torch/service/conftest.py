from tests.service.conftest import make_bench, store

__all__ = ["make_bench", "store"]
