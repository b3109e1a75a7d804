"""The sources of a job's dataset for workers on other nodes: URLs, and the secret for them."""

import hmac
import secrets

from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.settings import Settings
from batchgrad_workers.data.dataset import stored_names
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.system.files import hex_of


class Sources:
    """Dataset sources; `advertised_url` in the settings takes precedence over `listening_url`."""

    def __init__(self, settings: Settings, listening_url: str = "") -> None:
        self._contents = settings.data_dir / "datasets"
        self._service_url = settings.advertised_url or listening_url
        self._blobs = BlobStore(settings.blob_store) if settings.blob_store else None
        self._cache_directory = settings.node_cache_dir
        self._cache_bytes = settings.node_cache_bytes
        self._key = secrets.token_bytes(32)  # engines do not outlive the service, nor need it to

    def of(self, job_id: str, digest: str) -> DatasetSource:
        """Return where a job reads a dataset with this digest: blob store, then this service."""
        path = self._contents / hex_of(digest)
        names = stored_names(path) if path.is_dir() else []
        urls = [self._blobs.url_of(digest)] if self._blobs else []
        if self._service_url:
            urls.append(f"{self._service_url}/v1/jobs/{job_id}/datasets/{hex_of(digest)}")
        return DatasetSource(
            path=path,
            digest=digest,
            files={name: (path / f"{name}.npy").stat().st_size for name in names},
            urls=tuple(urls),
            secret=self._secret(job_id),
            cache_directory=self._cache_directory,
            cache_bytes=self._cache_bytes,
        )

    def opens(self, job_id: str, secret: str) -> bool:
        """Whether `secret` is the job's secret, compared in constant time."""
        return hmac.compare_digest(secret.encode(), self._secret(job_id).encode())

    def _secret(self, job_id: str) -> str:
        return hmac.new(self._key, job_id.encode(), "sha256").hexdigest()
