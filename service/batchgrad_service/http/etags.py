"""Entity tags: whether whoever asks has the answer already."""


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the If-None-Match header names `etag` (RFC 9110, 13.1.2: compared weakly)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in tags or etag in tags
