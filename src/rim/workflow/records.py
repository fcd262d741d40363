"""Snakemake's records of jobs: what makes a job run again, kept with the artifacts, so that DVC versions both as one.

Snakemake decides what to run again from its *records*: for each output, the params and inputs of the job that made it.
Here a job is known by three things and nothing else:

* `job`, the name of its file (see `rim.workflow.jobs`), made of all the settings that it is told;
* `code`, the fingerprint of what it runs (see `rim.workflow.fingerprint`) and the packages of its environment;
* its inputs, by name and content.

The text of its command, and whether its environment was deployed by conda, count for nothing. An output whose record is
missing or torn is of unknown origin and is made again; Snakemake would take it for what it should be.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import snakemake.api  # first, since snakemake.workflow imports it
import snakemake.workflow
import yaml
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence

from rim.core.errors import UserError

UNKNOWN = MetadataRecord(record_format_version=RECORD_FORMAT_VERSION, params=["nothing is recorded of how it was made"])


class Records(FilePersistence):  # type: ignore[misc]  # Snakemake is not typed
    """The records of one study, in a folder of its own."""

    folder: Path

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._metadata_path = str(self.folder)

    def _read_record(self, key: str) -> MetadataRecord | None:
        try:
            found = super()._read_record(key)
        except ValueError:  # no text, or no record
            found = None
        return UNKNOWN.model_copy() if found is None and Path(key).exists() else found

    def _write_record(self, key: str, record: MetadataRecord) -> None:
        path, temporary = Path(self._record_path(self._metadata_path, key)), self.folder / f".{os.getpid()}.tmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(dict(record.items())))
        temporary.replace(path)  # whole or not at all; readable as any file, on a disk that a lab shares

    def _code_changed(self, job: Any, file: Any = None) -> bool:
        return False

    def _software_stack_changed(self, job: Any, file: Any = None) -> bool:
        return False


def records_of(study: str) -> Path:
    """Where the records of a study lie, from the working directory."""
    return Path("data", study, "provenance")


def pointer_of(directory: Path, study: str) -> Path | None:
    """The file that names a study's artifacts for DVC: `data.dvc` for the published one, `data/{study}.dvc` for one's own.

    Raises:
        UserError: such a file cannot be read, or names all studies at once, as `dvc add data` would have it.
    """
    data = directory / "data"
    for pointer in (directory / "data.dvc", data / f"{study}.dvc"):
        if pointer.is_file():
            try:
                found = yaml.safe_load(pointer.read_text())
                places = [Path(found.get("wdir", "."), each["path"]) for each in found["outs"]]
            except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
                name = pointer.relative_to(directory)
                raise UserError(f"{name}: is not a pointer of DVC; get it back with `git checkout {name}`") from None
            if any(pointer.parent / place == data for place in places):
                raise UserError(
                    f"{pointer.relative_to(directory)}: names all of data/, so that pulling one study could delete another; "
                    f"run `git checkout data.dvc .gitignore`, then `dvc add data/{study}`"
                )
            if any(pointer.parent / place == data / study for place in places):
                return pointer
    return None


def keep_records_in_data(directory: Path, study: str) -> None:
    """Let Snakemake keep its records of a study with the study's artifacts.

    Raises:
        UserError: a pointer of DVC names the study's artifacts, but their records are not here. Without them all the work
            would be done again.
    """
    folder, pointer = records_of(study), pointer_of(directory, study)
    if pointer and not (directory / folder).is_dir():
        raise UserError(
            f"{pointer.relative_to(directory)}: the artifacts it names are not here; run `dvc pull` to get them, or "
            f"`mkdir -p {folder}` to make everything anew"
        )
    (directory / folder).mkdir(parents=True, exist_ok=True)
    Records.folder = folder
    snakemake.workflow.FilePersistence = Records
