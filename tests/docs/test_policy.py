"""The Content-Security-Policy that `make docs` writes for the guide's pages."""

import base64
import hashlib

import pytest

from docs.generate.policy import policy_of


def _hash(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def test_inline_code_of_all_pages_is_allowed_by_its_hash() -> None:
    pages = [
        '<p style="color: red">a</p><script>one &amp; 1</script><script src="x.js"></script>',
        '<style>b { c: "d" }</style><script>one &amp; 1</script>',
    ]
    policy = policy_of(pages)
    script = _hash("one &amp; 1")
    sheet, attribute = _hash('b { c: "d" }'), _hash("color: red")
    assert f"script-src 'self' 'sha256-{script}';" in policy
    for style in (sheet, attribute):
        assert f"'sha256-{style}'" in policy.partition("style-src")[2].partition(";")[0]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe-inline" not in policy


@pytest.mark.parametrize(
    "page",
    [
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="//example.org/a.css">',
        "<a onclick=\"f()\" href='x'>",
    ],
)
def test_files_of_other_hosts_and_event_handlers_stop_the_build(page: str) -> None:
    with pytest.raises(ValueError, match=r"other host|event handlers"):
        policy_of([page])


def test_links_to_other_hosts_are_no_files() -> None:
    assert "example" not in policy_of(['<a href="https://example.org">'])
