"""`verify_dataset`: everything that is wrong with a compiled directory.

One pass over the files: the manifest; the plan and whatever else is listed, by size and SHA-256; then each shard with the states
beside it, by content and by structure as the runtime opens it, and by every check of `CHECKS`. A file that is not what was
written is one finding, and no check looks into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic, Failure, Severity
from ..files.listed import Verify, check_file
from ..files.measures import MEASURE_FORMAT, MeasureInfo, info_path
from ..files.opening import Opener
from ..manifest import MANIFEST_FILE, MEASURES, PLAN_FILE, FileEntry, Manifest, ShardEntry, read_manifest
from ..plan import PLAN_FORMAT, Plan
from ..stored import read_json
from ..teaching import target_path
from ..verify import broken_invariants
from .anchors import Anchors
from .base import Audited, Check, at
from .counts import Recounted
from .fitting import Fitting
from .ids import Ids
from .measures import Measures
from .shards import Entries, Parts, Schemas
from .unlisted import unlisted

CHECKS: tuple[type[Check], ...] = (Fitting, Anchors, Entries, Schemas, Parts, Ids, Recounted, Measures)
"""What is asked of a dataset whose manifest and plan can be read."""

QUICK: tuple[type[Check], ...] = (Fitting,)
"""Those that need no content."""

REBUILD = "copy it again, or rebuild it: `mcd repair SPEC -o DIR`"

Report = Callable[[int, int], None]
"""Called after every file with the number of files done and in all."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. `files`, `bytes`: what was looked at; `damaged`: the listed files that are not there as they were written,
    by path; `notes`: what was not looked at; `manifest`: None where it cannot be read."""

    findings: tuple[Diagnostic, ...]
    files: int
    bytes: int
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    manifest: Manifest | None = None

    @property
    def failed(self) -> bool:
        """Whether anything is an error."""
        return any(found.severity is Severity.ERROR for found in self.findings)


def verify_dataset(directory: Path, *, quick: bool = False, report: Report = lambda done, total: None) -> Audit:
    """Look at a compiled directory. `quick`: at its manifest and plan, and the sizes of files, and at no content else.

    Raises nothing about the dataset: all is in the findings, in the order of the files.
    """
    try:
        manifest = read_manifest(directory)
    except Failure as failure:
        return Audit(failure.diagnostics, 0, 0)
    return _Pass(directory, manifest, "size" if quick else "digest", report).run()


@dataclass(slots=True)
class _Pass:
    """One look at a dataset, and what it found so far."""

    directory: Path
    manifest: Manifest
    verify: Verify
    report: Report
    findings: list[Diagnostic] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    sound: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)
    targets: dict[str, FileEntry] = field(init=False)

    def __post_init__(self) -> None:
        self.targets = {file.path: file for target in self.manifest.targets.values() for file in target.files}

    def run(self) -> Audit:
        """All of it."""
        for entry in self.manifest.files:
            self._is_whole(entry, "digest" if entry.path == PLAN_FILE else self.verify)
        plan, measures = self._plan(), self._measures()
        checks: list[Check] = []
        opener = None
        if plan is not None:
            # That the files are whole is known once they are opened.
            opener = Opener(self.directory, self.manifest, plan, "size", validate=True)
            audited = Audited(self.directory, self.manifest, plan, opener, self.sound, measures)
            checks = [check(audited) for check in (CHECKS if self.verify == "digest" else QUICK)]
        for check in checks:
            self.findings += check.before()
        opener = None if self.verify == "size" else opener
        unread = [shard for shard in self.manifest.shards if not self._shard(shard, checks, opener)]
        for entry in self.targets.values():
            self._is_whole(entry, self.verify)
        for check in checks:
            self.findings += check.after(unread)
        self.findings += unlisted(self.directory, self._known())
        notes = tuple(note for check in checks for note in check.notes())
        size = sum(self.seen.values()) + (self.directory / MANIFEST_FILE).stat().st_size
        found = tuple(self.findings)
        return Audit(found, len(self.seen) + 1, size, tuple(self.damaged), notes, self.manifest)

    def _is_whole(self, entry: FileEntry, verify: Verify) -> bool:
        """Whether a listed file is what was written; a finding where it is not. Each is read once."""
        if entry.path in self.seen:
            return entry.path in self.sound
        self.seen[entry.path] = entry.bytes
        try:
            check_file(self.directory, entry, verify)
        except Failure as failure:
            self.damaged.append(entry.path)
            rebuilt = isinstance(entry, ShardEntry)
            self.findings += [replace(one, help=REBUILD) if rebuilt else one for one in failure.diagnostics]
        else:
            self.sound.add(entry.path)
        self.report(len(self.seen), self._total())
        return entry.path in self.sound

    def _total(self) -> int:
        listed = len(self.manifest.files) + len(self.manifest.shards) + len(self.targets)
        return max(listed + sum(path.startswith(f"{MEASURES}/") for path in self.seen), len(self.seen))

    def _measures(self) -> dict[str, MeasureInfo]:
        """The measures whose files are what was written."""
        found = {}
        for path in sorted((self.directory / MEASURES).glob("[!.]*.json")):
            name = info_path(path.stem)
            self.seen[name] = path.stat().st_size
            try:
                info = read_json(self.directory, name, MeasureInfo, MEASURE_FORMAT)
            except Failure as failure:
                self.findings += failure.diagnostics
                continue
            if self._is_whole(info.file, self.verify):
                found[path.stem] = info
        return found

    def _plan(self) -> Plan | None:
        if PLAN_FILE not in self.seen:
            message = f"`{MANIFEST_FILE}` does not list `{PLAN_FILE}`"
            self.findings.append(at(codes.PLAN_UNFIT, MANIFEST_FILE, message, "compile the spec again"))
        if PLAN_FILE not in self.sound:
            return None
        try:
            plan = read_json(self.directory, PLAN_FILE, Plan, PLAN_FORMAT)
        except Failure as failure:
            self.findings += failure.diagnostics
            return None
        broken = [at(codes.PLAN_BROKEN, PLAN_FILE, f"`{PLAN_FILE}` {fact}") for fact in broken_invariants(plan)]
        self.findings += broken
        return None if broken else plan

    def _shard(self, shard: ShardEntry, checks: Sequence[Check], opener: Opener | None) -> bool:
        """Look at a shard, and at the states beside it. Whether its content could be read."""
        beside = (target_path(target.digest, shard.path) for target in self.manifest.targets.values())
        files = [shard, *(self.targets[path] for path in beside if path in self.targets)]
        whole = [self._is_whole(file, self.verify) for file in files]
        if opener is None or not all(whole):
            return False
        try:
            chunks = opener.open(shard)
        except Failure as failure:
            self.findings += failure.diagnostics
            return False
        for check in checks:
            self.findings += check.shard(shard, chunks)
        return True

    def _known(self) -> set[str]:
        """The paths of all files that the dataset has."""
        told = {str(PurePosixPath(name).with_suffix(".arrow")) for name in self.seen if name.startswith(f"{MEASURES}/")}
        return {MANIFEST_FILE, *self.seen, *told}
