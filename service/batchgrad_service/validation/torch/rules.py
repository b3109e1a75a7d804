"""Rules of the operator: which code a PyTorch job may run."""

from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_service.settings import Settings
from batchgrad_workers.system.files import hex_of
from batchgrad_workers.user_code.sources import CodeSource

EVERY = "*"


@dataclass(frozen=True)
class TorchRules:
    """`prefixes` of packages that functions may be in, and whether `uploads` may be run.

    `search_path` is a folder with modules, beside what is installed.
    """

    prefixes: tuple[str, ...] = ()
    uploads: bool = False
    search_path: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "TorchRules":
        """The rules in the service's settings."""
        return cls(settings.torch_prefixes, settings.allow_uploaded_code, settings.torch_path)

    def check(self, spec: JobSpec) -> None:
        """Check that the job's code may run; a job with layers brings none.

        Raises:
            InvalidError: it may not; the message says what the operator would have to set.
        """
        if spec.model.torch is None:
            return
        if spec.model.code is not None:
            if not self.uploads:
                raise InvalidError.field(
                    "/model/code",
                    "This service runs no code that jobs bring along. Its operator can allow that "
                    "with --allow-uploaded-code (BATCHGRAD_ALLOW_UPLOADED_CODE=true), which gives "
                    "everyone who submits jobs a shell on the nodes; or can install the package "
                    "on the nodes, and name it in --torch-modules.",
                    code="code_not_allowed",
                )
            return
        module = spec.model.torch.partition(":")[0]
        if not any(_begins(module, prefix) for prefix in self.prefixes):
            allowed = ", ".join(self.prefixes) or "none"
            raise InvalidError.field(
                "/model/torch",
                f"This service may not run {spec.model.torch}. Its operator can allow that with "
                f"--torch-modules {spec.model.package} (BATCHGRAD_TORCH_MODULES); allowed are: "
                f"{allowed}.",
                code="module_not_allowed",
            )

    def code_of(self, spec: JobSpec, data_dir: Path) -> CodeSource | None:
        """Where the code of a stored job is; None of layers. Raises InvalidError: see `check`."""
        if spec.model.torch is None:
            return None
        self.check(spec)  # the service may have had other settings when the job was submitted
        code = spec.model.code
        return self.source(None if code is None else code_file(data_dir, code), code)

    def source(self, code: Path | None, digest: str | None) -> CodeSource:
        """Where a job's code is; `code` is the file with this digest that it brought along."""
        return CodeSource(path=code, digest=digest or "", search_path=self.search_path)


def code_file(data_dir: Path, digest: str) -> Path:
    """Where the code with this digest is kept."""
    return data_dir / "code" / f"{hex_of(digest)}.zip"


def _begins(module: str, prefix: str) -> bool:
    return prefix == EVERY or f"{module}.".startswith(f"{prefix}.")
