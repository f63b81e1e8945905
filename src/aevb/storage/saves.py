"""The saves of a run folder.

manifest.json names the newest save, previous.json the one before. Each lists its tensor files with
their SHA-256. A save goes like this: first the tensor files are written, under names made of their
content. Then manifest.json is replaced, then previous.json, each in one step and each on the disk
before the next. Last, the files that neither names are removed.

So at every instant manifest.json is a whole save, and previous.json another one. After a crash
between the two steps, previous.json is the save before that. Saves are numbered, since a checksum
does not notice that two files were exchanged, or that an old one was copied over a new one.
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
    """All of a save but its tensors.

    generation: the number of the save, one more than that of the save before.
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

    path: its manifest. contents: the bytes of the tensor files that were wanted, by name. damage:
    why the newest save could not be taken, "" if this is the newest. partial: whether files that
    were not wanted are damaged.
    """

    path: Path
    manifest: Manifest
    contents: dict[str, bytes]
    damage: str = ""
    partial: bool = False


class _DamagedError(Exception):
    """A file is damaged. The message has no full stop."""


def write_file(folder: Path, name: str, content: bytes) -> File:
    """Write a tensor file and read it back. It counts only after ``publish``. Raises OSError."""
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}-{digest[:12]}.safetensors"
    _write_whole(folder / file, content)
    return File(file=file, sha256=digest)


def publish(folder: Path, manifest: Manifest) -> None:
    """Make this the newest save, once its files are written.

    The save before is kept if both can be continued from. Raises OSError; manifest.json is then the
    old one or the new one, and whole.
    """
    texts = _texts(folder)
    last = _last_whole(folder, texts)
    if last and _is_repeated(last, manifest):
        _prune(folder)  # a save that only repeats the last one must not push out the one before
        return
    numbers = [known.generation for text in texts.values() if (known := _known(folder, text))]
    numbered = manifest.model_copy(update={"generation": 1 + max(numbers, default=0)})
    _write_whole(folder / MANIFEST, _text(numbered))
    # The new save is there and whole. If the rest fails, previous.json is only an older save.
    with contextlib.suppress(OSError):
        if last and _can_go_back(last.manifest, manifest):
            _keep_previous(folder, texts[last.path.name], texts[PREVIOUS])
        elif texts[PREVIOUS] is not None:
            (folder / PREVIOUS).unlink()
            to_disk(folder)
    _prune(folder)


def _last_whole(folder: Path, texts: dict[str, bytes | None]) -> Generation | None:
    """The newest save of which every file is whole, or None."""
    try:
        return _choose(folder, texts, (), strict=True)
    except DataError:
        return None


def _is_repeated(last: Generation, manifest: Manifest) -> bool:
    """Whether the new save holds just what the newest one holds."""
    is_newest = last.path.name == MANIFEST and not last.damage
    return is_newest and _same(last.manifest, manifest)


def _can_go_back(last: Manifest, new: Manifest) -> bool:
    """Whether the last save may stand in for the new one: both can be continued, on the same data.

    A run saved over another one has no save before it.
    """
    with_state = "state" in new.files and "state" in last.files
    return with_state and _data_of(last) == _data_of(new)


def _keep_previous(folder: Path, kept: bytes | None, before: bytes | None) -> None:
    """Write the last save's manifest into previous.json, unless it is there. Raises OSError."""
    if kept is not None and kept != before:
        _write_whole(folder / PREVIOUS, kept)


def exists(folder: Path) -> bool:
    """Whether there is a save in ``folder``, whole or not."""
    return any((folder / name).is_file() for name in (MANIFEST, PREVIOUS))


def read(folder: Path, wanted: Collection[str], *, strict: bool = False) -> Generation:
    """Read the newest save of which every file is whole.

    Args:
        folder: of the run.
        wanted: the tensor files whose contents are returned.
        strict: take no save of which other files are damaged.

    Raises:
        DataError: no save is whole, nor (unless ``strict``) is there one whose wanted files are.
    """
    while True:
        texts = _texts(folder)
        try:
            found = _choose(folder, texts, wanted, strict=strict)
        except DataError:
            # Perhaps a save went on meanwhile, and removed the files that it replaced.
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
            # If manifest.json was taken, nothing is wrong with it, whatever its number.
            is_newest = all_files and name == MANIFEST
            damage = "" if is_newest else damages.get(MANIFEST) or damages[ORDER]
            return Generation(folder / name, manifest, contents, damage, not all_files)
    has_previous = texts[PREVIOUS] is not None
    also = f" {PREVIOUS}, the save before it, is not whole either." if has_previous else ""
    raise DataError(f"{damages.get(MANIFEST) or damages[PREVIOUS]}.{also} {REMEDY}")


def _readable(
    folder: Path, texts: dict[str, bytes | None]
) -> tuple[dict[str, Manifest], dict[str, str]]:
    """The manifests that can be read, the newest first, and what is wrong, by name or ``ORDER``.

    Raises DataError for a format of the future.
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
    """The bytes of the wanted files. Raises _DamagedError unless they, or all files, are whole."""
    contents = {}
    for key, entry in manifest.files.items():
        if key in wanted:
            contents[key] = _content(folder, entry)
        elif all_files:
            _content(folder, entry)  # checked and forgotten: the files need not fit into memory
    return contents


def _parse(path: Path, text: bytes | None) -> Manifest:
    """Read a manifest. Raises _DamagedError, and DataError for a format of the future."""
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
    # A newer format is no damage: an older save must not silently take its place.
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
        # The checksum covers the values, this the bytes: 1e-5 and 1E-5 are the same value, but only
        # one of them was written here.
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
    """The manifest if it can be read, whether or not its files are whole."""
    try:
        return _parse(folder / MANIFEST, text)
    except (_DamagedError, DataError):
        return None


def _prune(folder: Path) -> None:
    """Remove tensor files that neither manifest names, and what a killed process left unfinished.

    In doubt nothing is removed: a manifest that is there may be unreadable just now.
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

    A disk that does not keep what it is given must not cost the save before. Raises OSError.
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
    """What a run was trained on."""
    return manifest.data, manifest.likelihood, manifest.data_schema


def _text(manifest: Manifest) -> bytes:
    body = manifest.model_dump()
    return (json.dumps(body | {"sha256": _digest(body)}, indent=1) + "\n").encode()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
