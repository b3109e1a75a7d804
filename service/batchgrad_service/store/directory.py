"""The data directory that the database belongs to, and which of its files the database needs."""

from sqlalchemy import Column, ColumnElement, delete, insert, select

from batchgrad.contract import TERMINAL
from batchgrad_service.store.database import Database
from batchgrad_service.store.schema import data_directory, datasets, jobs


class DirectoryRows(Database):
    """The table `data_directory`, and the digests and ids of files that other tables need."""

    def directory_id(self) -> str | None:
        """Return the id of the data directory that the database belongs to; None if of none yet."""
        with self.reading() as connection:
            return connection.execute(select(data_directory.c.id)).scalar_one_or_none()

    def set_directory_id(self, directory_id: str) -> None:
        """Store that the database belongs to this data directory."""
        with self.writing() as connection:
            connection.execute(delete(data_directory))
            connection.execute(insert(data_directory).values(id=directory_id))

    def needed_contents(self) -> set[str]:
        """Return the digests of named datasets and of those that unfinished jobs read."""
        live = jobs.c.status.not_in(TERMINAL)
        validated = self._all(jobs.c.validation_digest, live, jobs.c.validation_digest.is_not(None))
        return self._all(datasets.c.digest) | self._all(jobs.c.dataset_digest, live) | validated

    def needed_parameters(self) -> set[str]:
        """Return the digests of stored parameters that jobs start from."""
        return self._all(jobs.c.initial_parameters, jobs.c.initial_parameters.is_not(None))

    def needed_code(self) -> set[str]:
        """Return the digests of the code that jobs brought along."""
        return self._all(jobs.c.code, jobs.c.code.is_not(None))

    def job_ids(self, *, ended: bool = False) -> set[str]:
        """Return the ids of all jobs, or only of jobs that have ended."""
        return self._all(jobs.c.id, jobs.c.status.in_(TERMINAL)) if ended else self._all(jobs.c.id)

    def _all(self, column: Column[str], *where: ColumnElement[bool]) -> set[str]:
        with self.reading() as connection:
            return set(connection.execute(select(column).where(*where)).scalars())
