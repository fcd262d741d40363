"""Artifacts that could be pulled instead of made: what `dvc pull` would spare a run, and its command.

After a partial pull, Snakemake plans a job for every missing artifact that something needs, though a pointer of
DVC (`data.dvc`, `data/{study}.dvc`) may name it. An artifact can stand for its job when its record here (see `rim.workflow.records`) is the one that the pointer names,
so that the two belong together, and the remote or DVC's cache has its content. Snakemake itself then says what it would
run if these artifacts were here; with those among them that the rest needs, a pull spares the difference.

Pulling is only advised where it adds files: never over something made here, and never where it would put an older
artifact beside the record of a newer one, or in place of one that has to be made again.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from rim.workflow.records import pointer_of

MOST = 6  # arguments of a command, if it can be helped


@dataclass(frozen=True)
class Plan:
    """What Snakemake would run; files by their paths from the working directory."""

    jobs: frozenset[Any]
    missing: frozenset[str]  # outputs of these jobs that are needed and not here
    overtaken: frozenset[str]  # outputs of those that run because an input has another content than they recorded
    inputs: frozenset[str]  # what these jobs take from jobs that would not run, and targets


@dataclass(frozen=True)
class Listing:
    """What DVC's pointers name, and what lies there; paths are those from the working directory."""

    directory: Path
    root: str  # the folder of the study
    hashes: dict[str, str]  # file -> MD5 of its content
    here: frozenset[str]  # files here, without those that DVC ignores
    cache: Any  # DVC's store of objects on this machine
    remote: Any  # the same of the default remote; None without one

    @cached_property
    def below(self) -> dict[str, list[str]]:
        """The files of every folder; a file is its own."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.hashes:
            for folder in _with_parents(path):
                found[folder].append(path)
        return dict(found)

    @cached_property
    def records(self) -> dict[str, str]:
        """The file that holds the record of an output."""
        return {
            output: path
            for path in self.below.get(self.records_folder, [])
            if (output := self.recorded(path)) is not None
        }

    @cached_property
    def vouched(self) -> set[str]:
        """Outputs whose record here is the one that is named: here or not, what is named is what it describes."""
        return {output for output, path in self.records.items() if self.records_here.get(path) == self.hashes[path]}

    @cached_property
    def records_here(self) -> dict[str, str]:
        """MD5 of every record here, by its file."""
        paths = sorted(
            path for path in self.here if path.startswith(f"{self.records_folder}/") and not self._is_sum(path)
        )
        return {path: hashlib.md5((self.directory / path).read_bytes()).hexdigest() for path in paths}

    @cached_property
    def published(self) -> set[str]:
        """Outputs whose record here was pulled or published at some time, so that replacing them loses nothing."""
        kept = set(self.cache.list_oids_exists(sorted({*self.records_here.values()} - {*self.hashes.values()})))
        kept.update(self.hashes.values())
        return {output for path, md5 in self.records_here.items() if md5 in kept and (output := self.recorded(path))}

    @property
    def records_folder(self) -> str:
        return f"{self.root}/provenance"

    def _is_sum(self, path: str) -> bool:
        """Whether a file is a sum of `rim.core.sums`; these lie among the records, and come and go with them."""
        return path.startswith(f"{self.records_folder}/sums/")

    def recorded(self, record: str) -> str | None:
        """The output that a record is named after, as Snakemake encodes it; None for any other file."""
        if self._is_sum(record):
            return None
        name = "".join(part.removeprefix("@") for part in PurePosixPath(record).relative_to(self.records_folder).parts)
        try:
            return base64.urlsafe_b64decode(name).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None

    def output_of(self, path: str) -> str | None:
        """The output, a file or a folder, to which a file belongs."""
        return next((each for each in _with_parents(path) if each in self.records), None)

    def obtainable(self, outputs: Iterable[str]) -> set[str]:
        """Those of some outputs whose every file is in the cache or on the remote."""
        files = {output: self.below.get(output, []) for output in outputs}
        sought, found = {self.hashes[path] for paths in files.values() for path in paths}, set[str]()
        for store in filter(None, (self.cache, self.remote)):
            found.update(store.list_oids_exists(sorted(sought - found)))
        return {
            output for output, paths in files.items() if paths and found.issuperset(self.hashes[path] for path in paths)
        }


def _with_parents(path: str) -> list[str]:
    """A path and the folders around it, up to data/."""
    return [path, *map(str, PurePosixPath(path).parents)][:-1]


def read_listing(directory: Path, study: str) -> Listing | None:
    """What DVC's pointers in a working directory name of a study, and of local files in data/raw; None without one for the study.

    Only the lists themselves are fetched if they are not in DVC's cache.

    Raises:
        DvcException: a pointer or DVC's settings are broken, or a list is not to be had.
    """
    pointers = [pointer_of(directory, name) for name in (study, "raw")]
    if pointers[0] is None:
        return None
    from dvc.config import NoRemoteError
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    hashes, here = dict[str, str](), set[str]()
    with Repo(str(directory)) as repo:
        places = [str(directory.resolve() / "data" / name) for name in (study, "raw")]
        outs = [out for pointer in pointers if pointer for out in repo.stage.load_one(str(pointer)).outs]
        outs = [out for out in outs if out.fs_path in places]
        for out in outs:
            place = Path(out.fs_path).relative_to(directory.resolve()).as_posix()
            tree = out.get_dir_cache()
            if tree is None:
                raise DvcException("the list of what it names is neither in the cache nor on the remote")
            hashes |= {"/".join((place, *key)): hash_info.value for key, _, hash_info in tree}
            found = repo.dvcignore.find(repo.fs, out.fs_path)
            here |= {Path(path).relative_to(directory.resolve()).as_posix() for path in found}
        remote = None
        with suppress(NoRemoteError):
            remote = repo.cloud.get_remote_odb(outs[0].remote, "pull")
        return Listing(directory, f"data/{study}", hashes, frozenset(here), outs[0].cache, remote)


def advise(plan: Plan, replan: Callable[[set[str]], Plan], listing: Listing, sources: Iterable[str] = ()) -> str | None:
    """The line that says what could be pulled instead of made, if there is anything.

    Args:
        plan: what would run now.
        replan: what would run if some outputs were here, with the content that their records describe.
        listing: what DVC's pointers name.
        sources: files and folders that no job makes, whose content counts among the settings of jobs.
    """
    named = {output for output in plan.missing if output in listing.below and output in listing.records}
    first = [] if named <= listing.vouched else _records_first(listing)
    first += [path for path in sources if not listing.here.issuperset(listing.below.get(path, []))]
    if first:
        return f"{_jobs(plan)}; which of them could be pulled shows after: {_command(dict.fromkeys(first))}"
    here = listing.obtainable(named & listing.vouched)
    after = replan(here)
    spared = len(plan.jobs - after.jobs)
    if not spared:
        return None
    wanted = {path for output in after.inputs & here for path in listing.below[output]}
    folders = folders_of(wanted, listing, after.overtaken)
    return f"{_jobs(plan)}, of which {spared} could be pulled: {_command(folders)}"


def _jobs(plan: Plan) -> str:
    return f"{len(plan.jobs)} job{'s' * (len(plan.jobs) != 1)}"


def _command(paths: Iterable[str]) -> str:
    return f"dvc pull {shlex.join(paths)}"


def _records_first(listing: Listing) -> list[str]:
    """The records, and the folders here that they would not describe any more; none when that would meet work of one's own.

    So it is where nothing but artifacts was pulled, and after `git pull`, when what lies here is of an older pointer.
    """
    if len(listing.published) < len(listing.records_here):
        return []
    stale = [
        path
        for path in listing.here - listing.records_here.keys()
        if (output := listing.output_of(path)) and output not in listing.vouched
    ]
    folders = {str(PurePosixPath(*PurePosixPath(path).parts[:3])) for path in stale}
    ours = [path for path in listing.here - listing.hashes.keys() if listing.published.isdisjoint(_with_parents(path))]
    if any(PurePosixPath(path).is_relative_to(folder) for path in ours for folder in folders):
        return []
    return [listing.records_folder, *sorted(folders)]


def folders_of(wanted: set[str], listing: Listing, overtaken: Iterable[str]) -> list[str]:
    """The paths to pull for some files: few, and none that holds what must not be pulled.

    These are the folders of which everything is wanted; when they are many, those of which a share is, the less the
    fewer there are. What must not be pulled is whatever is not vouched for, and outputs `overtaken` by their inputs:
    Snakemake knows those by their age, and would take them for newer.
    """
    barred = set(overtaken)
    closed = {
        folder
        for path in listing.hashes.keys() | listing.here
        if not _may_be_pulled(path, listing, barred)
        for folder in _with_parents(path)
    }
    absent = {folder: [path for path in paths if path not in listing.here] for folder, paths in listing.below.items()}
    needed = {folder: sum(path in wanted for path in paths) for folder, paths in absent.items()}

    def descend(folder: str, share: float) -> list[str]:
        if (
            folder not in ("data", listing.root)
            and folder not in closed
            and needed[folder] >= share * len(absent[folder])
        ):
            return [folder]
        parts = len(PurePosixPath(folder).parts) + 1
        inside = {"/".join(PurePosixPath(path).parts[:parts]) for path in listing.below[folder]}
        return [path for each in sorted(inside) if needed[each] for path in descend(each, share)]

    kinds = len({PurePosixPath(path).parts[:3] for path in wanted})
    choices = [descend("data", share) for share in (1, 0.75, 0.5, 0.25, 0)]
    return next((paths for paths in choices if len(paths) <= max(MOST, kinds)), choices[-1])


def _may_be_pulled(path: str, listing: Listing, barred: set[str]) -> bool:
    """Whether a folder with this file, named or here, may be pulled."""
    output = listing.output_of(path)
    if path not in listing.hashes or output is None:
        return path in listing.hashes and path not in listing.here
    return output in listing.vouched and output not in barred


def read_plan(dag: Any) -> Plan:
    """What Snakemake's DAG holds for to be run."""
    running = set(dag.needrun_jobs())
    targets = set(dag.targetjobs)
    taken = {
        str(path)
        for job in running | targets
        for other, paths in dag.dependencies.get(job, {}).items()
        if other not in running
        for path in paths
    }
    return Plan(
        jobs=frozenset(job for job in running if not job.rule.norun),
        missing=frozenset(str(path) for job in running for path in dag.reason(job).missing_output),
        overtaken=frozenset(str(path) for job in running if dag.reason(job).updated_input for path in job.output),
        inputs=frozenset(taken | {str(path) for job in targets - running for path in job.output}),
    )


def replan(workflow: Any, here: set[str]) -> Plan:
    """What Snakemake would run if some outputs were here: it plans anew on a copy of its DAG, told that they are.

    They count as older than anything else, so that what is made from them is not made again for their age, and they
    themselves are when something that they were made from differs from what their records say.
    """
    from snakemake.io import IOCache
    from snakemake_interface_storage_plugins.io import Mtime

    dag = copy.copy(workflow.dag)
    dag._needrun, dag._checkpoint_jobs, dag._ready_jobs = set(), set(), set()
    dag._reason, dag._n_until_ready = defaultdict(workflow.dag._reason.default_factory), defaultdict(int)
    known, workflow.iocache = workflow.iocache, IOCache(max_wait_time=0)
    try:
        for path in here:
            workflow.iocache.exists_local[path] = True
            workflow.iocache.mtime[path] = Mtime(local=1)  # Snakemake takes 0 for none
        workflow.async_run(dag.update_needrun())
    finally:
        workflow.iocache = known
    return read_plan(dag)
