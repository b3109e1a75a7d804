"""Events of long jobs: old progress and evaluations are thinned, other events are kept."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from batchgrad_service.store import Store
from batchgrad_service.store.schema import events
from tests.service.building import NOW, create

HOURS = 17
A_MINUTE = 6


def test_old_progress_and_evaluations_are_thinned_by_their_age(tmp_path: Path) -> None:
    now: list[datetime] = [NOW]
    store = Store(f"sqlite:///{tmp_path}/e.sqlite3", clock=lambda: now[0])
    store.migrate()
    job_id = create(store).id
    kinds = [
        "progress",
        "evaluation",
        "progress",
        "warning",
    ]  # evaluations have every fourth number
    count = HOURS * 60 * A_MINUTE
    made = [
        {
            "job_id": job_id,
            "seq": seq,
            "time": NOW + timedelta(minutes=seq / A_MINUTE),
            "type": kinds[seq % 4],
            "data": {},
        }
        for seq in range(3, count)
    ]
    with store.writing() as connection:
        connection.execute(insert(events), made)
    now[0] = NOW + timedelta(hours=HOURS)
    for _ in range(2):  # a second time changes nothing
        store.thin_events(job_id)
        found = [
            event
            for after in range(0, count, 999)
            for event in store.events(job_id, after=after, limit=999).data
            if after < event.seq <= after + 999
        ]
        seqs = {event.seq for event in found}
        assert {each["seq"] for each in made if each["type"] == "warning"} <= seqs
        assert set(range(3, 1001)) <= seqs
        assert set(range(count - 60 * A_MINUTE + 1, count)) <= seqs
        for oldest, newest, part in ((2, 1, 2), (4, 2, 4), (8, 4, 8)):
            begin, end = (count - hours * 60 * A_MINUTE for hours in (oldest, newest))
            kept = Counter[str](event.type for event in found if begin < event.seq <= end)
            for kind, share in (("progress", 0.5), ("evaluation", 0.25)):
                assert kept[kind] * part / (end - begin) / share < 1.4
                assert kept[kind] * part / (end - begin) / share > 0.6
    store.close()
