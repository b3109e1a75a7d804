"""The table of datasets: each name, and the digest of its content."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, insert, null, or_, select, update

from batchgrad.contract import TERMINAL, ArrayInfo, Dataset, Page
from batchgrad_service.problems import ConflictError
from batchgrad_service.store.database import Database
from batchgrad_service.store.privacy import no_dataset, spent
from batchgrad_service.store.records import PutOutcome, dataset_of, from_cursor, to_cursor
from batchgrad_service.store.schema import datasets, jobs


def _reads(digest: str) -> ColumnElement[bool]:
    """Whether a job that has not ended trains or validates on this content."""
    read = or_(jobs.c.dataset_digest == digest, jobs.c.validation_digest == digest)
    return and_(read, jobs.c.status.not_in(TERMINAL))


class DatasetRows(Database):
    """The table `datasets`, in which a name refers to a content."""

    def put_dataset(self, dataset: Dataset, *, replace: bool) -> PutOutcome:
        """Name a content; return "conflict", and change nothing, if the name has another."""
        with self.writing() as connection:
            known = connection.execute(
                select(datasets.c.digest).where(datasets.c.name == dataset.name)
            ).scalar_one_or_none()
            if known is None:
                connection.execute(
                    insert(datasets).values(**dataset.model_dump(exclude={"privacy"}))
                )
                return "created"
            if known == dataset.digest:
                return "same"
            if not replace:
                return "conflict"
            connection.execute(
                update(datasets)
                .where(datasets.c.name == dataset.name)
                .values(**dataset.model_dump(exclude={"name", "privacy"}))
            )
            return "replaced"

    def dataset(self, name: str) -> Dataset:
        """One dataset; NotFoundError when nothing has the name."""
        with self.reading() as connection:
            query = select(datasets).where(datasets.c.name == name)
            row = connection.execute(query).mappings().first()
            if row is None:
                raise no_dataset(name)
            return dataset_of(row, spent(connection, [row["digest"]]).get(row["digest"]))

    def datasets(self, after: str | None = None, limit: int = 50) -> Page[Dataset]:
        """Return at most `limit` datasets by name; `after` is the previous page's cursor."""
        query = select(datasets).order_by(datasets.c.name).limit(limit + 1)
        if after is not None:
            query = query.where(datasets.c.name > from_cursor(after))
        with self.reading() as connection:
            rows = connection.execute(query).mappings().all()
            privacy = spent(connection, {row["digest"] for row in rows})
            found = [dataset_of(row, privacy.get(row["digest"])) for row in rows]
        more = len(found) > limit
        return Page[Dataset](
            data=found[:limit], next=to_cursor(found[limit - 1].name) if more else None
        )

    def contents_without_arrays(self) -> list[str]:
        """The digests of contents whose arrays were not listed when they were stored."""
        query = select(datasets.c.digest).where(datasets.c.arrays.is_(null())).distinct()
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def list_arrays(self, digest: str, arrays: Sequence[ArrayInfo]) -> None:
        """List the arrays of a content, for each of its names."""
        found = [array.model_dump() for array in arrays]
        with self.writing() as connection:
            connection.execute(
                update(datasets).where(datasets.c.digest == digest).values(arrays=found)
            )

    def delete_dataset(self, name: str) -> None:
        """Remove the name; ConflictError while a job that has not ended uses the content."""
        with self.writing() as connection:
            digest = connection.execute(
                select(datasets.c.digest).where(datasets.c.name == name)
            ).scalar_one_or_none()
            if digest is None:
                raise no_dataset(name)
            user = connection.execute(select(jobs.c.id).where(_reads(digest))).scalars().first()
            if user is not None:
                raise ConflictError(
                    f"Job {user} reads dataset {name!r} and has not ended: "
                    "wait for it or cancel it, then delete.",
                    code="dataset_in_use",
                )
            connection.execute(delete(datasets).where(datasets.c.name == name))

    def dataset_digest_in_use(self, digest: str) -> bool:
        """Whether a name refers to this content, or a job that has not ended reads it."""
        named = select(datasets.c.name).where(datasets.c.digest == digest).limit(1)
        read = select(jobs.c.id).where(_reads(digest))
        with self.reading() as connection:
            if connection.execute(named).first() is not None:
                return True
            return connection.execute(read.limit(1)).first() is not None
