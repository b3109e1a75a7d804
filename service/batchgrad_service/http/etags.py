"""Compare entity tags: does the client already have this response?"""


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the If-None-Match header names `etag` (RFC 9110, 13.1.2: weak comparison)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in tags or etag in tags
