"""The saves of a run folder.

manifest.json describes the newest save, previous.json the one before. Each lists its tensor files
with their SHA-256. A save takes four steps. First the tensor files are written, under names made
from their content. Then manifest.json is replaced, and then previous.json. Each is replaced in one
step, and is on the disk before the next step begins. Last, tensor files that neither names are
removed.

So at every instant manifest.json describes a complete save, and previous.json an older one. If the
machine crashes between the second and the third step, previous.json is one save older than usual.
Saves are numbered, since a checksum does not notice that two files were exchanged, or that an old
one was copied over a new one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from aevb.errors import DataError
from aevb.files import to_disk, whole

MANIFEST = "manifest.json"
PREVIOUS = "previous.json"
FORMAT = 2
FORMATS = (1, 2)
"""The formats that can be read. Format 1 had no number of the save and no previous.json."""

PRUNED = (
    "model-*.safetensors",
    "baseline-*.safetensors",
    "state-*.safetensors",
    ".*.part.safetensors",
    ".*.part.json",
)
"""Names of the files that ``publish`` may remove: tensors, and unfinished files."""
ORDER = "order"
"""The key under which an exchange of the two manifests is noted."""
REMEDY = "Restore it from a copy or train anew."


class File(BaseModel):
    """A tensor file by name, and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid")
    file: str
    sha256: str


class Manifest(BaseModel):
    """Everything in a save except its tensors.

    generation: the number of the save, which is one more than that of the previous save.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    generation: int = 0
    versions: dict[str, str]
    data: str
    likelihood: str
    config: dict[str, Any]
    data_schema: dict[str, Any]
    progress: dict[str, Any]
    files: dict[str, File]


@dataclass(frozen=True)
class Generation:
    """A save as it was read.

    path: its manifest. contents: the bytes of the tensor files that were asked for, by name.
    damage: why the newest save could not be used, "" if this is the newest save and undamaged.
    partial: whether some other file of this save is damaged.
    """

    path: Path
    manifest: Manifest
    contents: dict[str, bytes]
    damage: str = ""
    partial: bool = False


class _DamagedError(Exception):
    """A file is damaged. The message has no full stop."""


def write_file(folder: Path, name: str, content: bytes) -> File:
    """Write a tensor file and read it back. It belongs to no save until ``publish`` is called.

    Raises OSError.
    """
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}-{digest[:12]}.safetensors"
    _write_whole(folder / file, content)
    return File(file=file, sha256=digest)


def publish(folder: Path, manifest: Manifest) -> None:
    """Make this the newest save, once its files are written.

    The save before it is kept if training can be continued from both. Raises OSError. Even then
    manifest.json is complete: it is the old one or the new one.
    """
    texts = _texts(folder)
    last = _last_whole(folder, texts)
    if last and _is_repeated(last, manifest):
        _prune(folder)  # a save that repeats the last one must not replace the previous one
        return
    numbers = [known.generation for text in texts.values() if (known := _known(folder, text))]
    numbered = manifest.model_copy(update={"generation": 1 + max(numbers, default=0)})
    _write_whole(folder / MANIFEST, _text(numbered))
    # The new save is complete now. If the rest fails, previous.json is merely older than usual.
    with contextlib.suppress(OSError):
        if last and _can_go_back(last.manifest, manifest):
            _keep_previous(folder, texts[last.path.name], texts[PREVIOUS])
        elif texts[PREVIOUS] is not None:
            (folder / PREVIOUS).unlink()
            to_disk(folder)
    _prune(folder)


def _last_whole(folder: Path, texts: dict[str, bytes | None]) -> Generation | None:
    """The newest save without a damaged file, or None."""
    try:
        return _choose(folder, texts, (), strict=True)
    except DataError:
        return None


def _is_repeated(last: Generation, manifest: Manifest) -> bool:
    """Whether the new save has the same content as the newest one."""
    is_newest = last.path.name == MANIFEST and not last.damage
    return is_newest and _same(last.manifest, manifest)


def _can_go_back(last: Manifest, new: Manifest) -> bool:
    """Whether the last save can replace the new one if the new one gets damaged.

    Both must hold the state of training, and the same data. A run that was saved over another run
    has no previous save.
    """
    with_state = "state" in new.files and "state" in last.files
    return with_state and _data_of(last) == _data_of(new)


def _keep_previous(folder: Path, kept: bytes | None, before: bytes | None) -> None:
    """Write the last save's manifest into previous.json, unless it is there. Raises OSError."""
    if kept is not None and kept != before:
        _write_whole(folder / PREVIOUS, kept)


def exists(folder: Path) -> bool:
    """Whether there is a save in ``folder``, damaged or not."""
    return any((folder / name).is_file() for name in (MANIFEST, PREVIOUS))


def read(folder: Path, wanted: Collection[str], *, strict: bool = False) -> Generation:
    """Read the newest save without a damaged file.

    If there is none, and not ``strict``, read the newest save whose wanted files are undamaged.

    Args:
        folder: the folder of the run.
        wanted: the tensor files whose contents are returned.
        strict: refuse a save with any damaged file, wanted or not.

    Raises:
        DataError: both saves have damaged files that matter.
    """
    while True:
        texts = _texts(folder)
        try:
            found = _choose(folder, texts, wanted, strict=strict)
        except DataError:
            # Perhaps another process saved meanwhile, and removed the files that it replaced.
            if _texts(folder) != texts:
                continue
            raise
        if not (found.damage and _texts(folder) != texts):
            return found


def _choose(
    folder: Path, texts: dict[str, bytes | None], wanted: Collection[str], *, strict: bool
) -> Generation:
    """The save to use, given the texts of both manifests. Raises DataError as ``read``."""
    manifests, damages = _readable(folder, texts)
    for all_files in (True,) if strict else (True, False):
        for name, manifest in manifests.items():
            try:
                contents = _contents(folder, manifest, wanted, all_files=all_files)
            except _DamagedError as error:
                damages.setdefault(name, str(error))
                continue
            # If manifest.json is used in full, it counts as undamaged, whatever its number.
            is_newest = all_files and name == MANIFEST
            damage = "" if is_newest else damages.get(MANIFEST) or damages[ORDER]
            return Generation(folder / name, manifest, contents, damage, not all_files)
    has_previous = texts[PREVIOUS] is not None
    also = f" {PREVIOUS}, the save before it, is not whole either." if has_previous else ""
    raise DataError(f"{damages.get(MANIFEST) or damages[PREVIOUS]}.{also} {REMEDY}")


def _readable(
    folder: Path, texts: dict[str, bytes | None]
) -> tuple[dict[str, Manifest], dict[str, str]]:
    """The readable manifests, the newest first, and the damages by name of the manifest.

    If the two manifests were exchanged, ``damages[ORDER]`` says so. Raises DataError for a newer
    format.
    """
    manifests: dict[str, Manifest] = {}
    damages: dict[str, str] = {}
    for name in (MANIFEST, PREVIOUS):
        try:
            manifests[name] = _parse(folder / name, texts[name])
        except _DamagedError as error:
            damages[name] = str(error)
    if len(manifests) == 2 and manifests[PREVIOUS].generation >= manifests[MANIFEST].generation:
        manifests = dict(reversed(manifests.items()))
        damages[ORDER] = (
            f"{folder / MANIFEST} is not the newest save: it was exchanged or replaced by an"
            " old one"
        )
    return manifests, damages


def _contents(
    folder: Path, manifest: Manifest, wanted: Collection[str], *, all_files: bool
) -> dict[str, bytes]:
    """The bytes of the wanted files.

    Raises _DamagedError if one of them is damaged, or with ``all_files`` if any file is.
    """
    contents = {}
    for key, entry in manifest.files.items():
        if key in wanted:
            contents[key] = _content(folder, entry)
        elif all_files:
            _content(folder, entry)  # only checked, so that not all files are in memory at once
    return contents


def _parse(path: Path, text: bytes | None) -> Manifest:
    """Read a manifest. Raises _DamagedError, and DataError for a newer format."""
    if text is None:
        raise _DamagedError(f"{path} is missing or cannot be read")
    try:
        body = json.loads(text)
        digest = body.pop("sha256")
        number = body["format"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise _DamagedError(f"{path} is damaged: it is not the manifest of a run") from error
    if digest != _digest(body):
        raise _DamagedError(f"{path} was changed or damaged: its SHA-256 differs")
    # A newer format is not damage, so loading must not fall back to an older save.
    if number not in FORMATS:
        raise DataError(
            f"{path} has format {number}, this version of aevb reads formats"
            f" {' and '.join(map(str, FORMATS))}"
        )
    try:
        manifest = Manifest.model_validate(body)
    except ValidationError as error:
        raise _DamagedError(f"{path} is damaged: it is not the manifest of a run") from error
    if number > 1 and text != _text(manifest):
        # The checksum covers the values, but not how they are written: 1e-5 and 1E-5 are the same
        # value, and only one of them was written here.
        raise _DamagedError(
            f"{path} was changed or damaged: its bytes are not those that were written"
        )
    return manifest


def _content(folder: Path, entry: File) -> bytes:
    """The bytes of a tensor file. Raises _DamagedError unless they have the right SHA-256."""
    path = folder / Path(entry.file).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(f"{path} is missing or cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise _DamagedError(f"{path} is damaged: its SHA-256 differs from the manifest's")
    return content


def _texts(folder: Path) -> dict[str, bytes | None]:
    """The bytes of both manifests, None for one that cannot be read."""
    texts: dict[str, bytes | None] = {}
    for name in (MANIFEST, PREVIOUS):
        try:
            texts[name] = (folder / name).read_bytes()
        except OSError:
            texts[name] = None
    return texts


def _known(folder: Path, text: bytes | None) -> Manifest | None:
    """The manifest, or None if it cannot be read. Its files may be damaged."""
    try:
        return _parse(folder / MANIFEST, text)
    except (_DamagedError, DataError):
        return None


def _prune(folder: Path) -> None:
    """Remove tensor files that neither manifest names, and unfinished files of killed processes.

    If a manifest exists but cannot be read, nothing is removed, since it may name any file.
    """
    texts = _texts(folder)
    known = {name: _known(folder, text) for name, text in texts.items()}
    if known[MANIFEST] is None or (known[PREVIOUS] is None and (folder / PREVIOUS).exists()):
        return
    named = {
        entry.file for manifest in known.values() if manifest for entry in manifest.files.values()
    }
    for path in [path for pattern in PRUNED for path in folder.glob(pattern)]:
        if path.name not in named:
            with contextlib.suppress(OSError):
                path.unlink()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file and read it back before it takes its place.

    So a disk that stores other bytes than it was given cannot damage the last save. Raises OSError.
    """
    whole(path, lambda part: _write_and_compare(part, content))


def _write_and_compare(part: Path, content: bytes) -> None:
    part.write_bytes(content)
    to_disk(part)
    if part.read_bytes() != content:
        raise OSError(errno.EIO, "what was written reads back otherwise")


def _same(old: Manifest, new: Manifest) -> bool:
    """Whether two manifests agree in everything but their number."""
    return _text(old.model_copy(update={"generation": new.generation})) == _text(new)


def _data_of(manifest: Manifest) -> tuple[object, ...]:
    """The data that a run was trained on, with likelihood and schema."""
    return manifest.data, manifest.likelihood, manifest.data_schema


def _text(manifest: Manifest) -> bytes:
    body = manifest.model_dump()
    return (json.dumps(body | {"sha256": _digest(body)}, indent=1) + "\n").encode()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
