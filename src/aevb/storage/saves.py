"""The saves of a run folder: manifest.json names the newest, previous.json the one before, each its
tensor files and SHA-256.

Tensor files are written first, under names made of their content; then manifest.json is replaced,
then previous.json, each in one step and each on the disk before the next; what neither names is
removed last. At every instant manifest.json is thus a whole save, and previous.json another one:
after a crash between the two steps it is the one before that. Saves are numbered, for a checksum
does not notice that two files were exchanged or that an old one was copied over a new one.
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
"""Those that can be read. Format 1 had no number of the save and no previous.json."""

REMEDY = "Restore it from a copy or train anew."


class File(BaseModel):
    """A tensor file by name, and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid")
    file: str
    sha256: str


class Manifest(BaseModel):
    """All of a save but its tensors. generation: the number of the save, one more than that of the
    save before."""

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
    """A save as it was read. path: its manifest. contents: the bytes of the tensor files that were
    wanted, by name.

    damage: why the newest save could not be taken, "" if this is the newest. partial: files that
    were not wanted are damaged.
    """

    path: Path
    manifest: Manifest
    contents: dict[str, bytes]
    damage: str = ""
    partial: bool = False


class _DamagedError(Exception):
    """What is wrong with a file, without a full stop."""


def write_file(folder: Path, name: str, content: bytes) -> File:
    """Write a tensor file and read it back. Nothing names it until ``publish``. Raises OSError."""
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}-{digest[:12]}.safetensors"
    whole(folder / file, lambda part: _write_and_compare(part, content))
    return File(file=file, sha256=digest)


def publish(folder: Path, manifest: Manifest) -> None:
    """Make this the newest save, once its files are written. The one before is kept if both can be
    continued from.

    Raises OSError; manifest.json is then the old one or the new one, and whole.
    """
    texts = _texts(folder)
    try:
        last: Generation | None = _choose(folder, texts, (), strict=True)
    except DataError:
        last = None
    if last and last.path.name == MANIFEST and not last.damage and _same(last.manifest, manifest):
        _prune(folder)  # a save that only repeats the last one must not push out the one before
        return
    numbers = [known.generation for text in texts.values() if (known := _known(folder, text))]
    text = _text(manifest.model_copy(update={"generation": 1 + max(numbers, default=0)}))
    whole(folder / MANIFEST, lambda part: _write_and_compare(part, text))
    if (
        last
        and "state" in manifest.files
        and "state" in last.manifest.files
        and _same_data(last.manifest, manifest)
    ):
        kept = texts[last.path.name]
        if kept is not None and kept != texts[PREVIOUS]:
            # The new save is there and whole: if this fails, previous.json is still a whole save,
            # only an older one.
            with contextlib.suppress(OSError):
                whole(folder / PREVIOUS, lambda part: _write_and_compare(part, kept))
    elif texts[PREVIOUS] is not None:
        with contextlib.suppress(OSError):
            (folder / PREVIOUS).unlink()
            to_disk(folder)
    _prune(folder)


def exists(folder: Path) -> bool:
    """Whether there is a save in ``folder``, whole or not."""
    return any((folder / name).is_file() for name in (MANIFEST, PREVIOUS))


def read(folder: Path, wanted: Collection[str], *, strict: bool = False) -> Generation:
    """Read the newest save of which every file is whole, with the contents of the ``wanted`` ones.

    If there is none, one of which the wanted files are whole, unless ``strict``. Raises DataError
    if there is none either.
    """
    while True:
        texts = _texts(folder)
        try:
            found = _choose(folder, texts, wanted, strict=strict)
        except DataError:
            if (
                _texts(folder) != texts
            ):  # not damaged: a save went on while we read, and removed what it replaced
                continue
            raise
        if not (found.damage and _texts(folder) != texts):
            return found


def _choose(
    folder: Path, texts: dict[str, bytes | None], wanted: Collection[str], *, strict: bool
) -> Generation:
    manifests: dict[str, Manifest] = {}
    damages: dict[str, str] = {}
    for name in (MANIFEST, PREVIOUS):
        try:
            manifests[name] = _parse(folder / name, texts[name])
        except _DamagedError as error:
            damages[name] = str(error)
    order = [name for name in (MANIFEST, PREVIOUS) if name in manifests]
    if len(order) == 2 and manifests[PREVIOUS].generation >= manifests[MANIFEST].generation:
        order.reverse()
        damages["order"] = (
            f"{folder / MANIFEST} is not the newest save: it was exchanged or replaced by an"
            " old one"
        )
    for all_files in (True,) if strict else (True, False):
        for name in order:
            files = {
                key: file
                for key, file in manifests[name].files.items()
                if all_files or key in wanted
            }
            try:
                contents = {
                    key: _content(folder, file, keep=key in wanted) for key, file in files.items()
                }
            except _DamagedError as error:
                damages.setdefault(name, str(error))
                continue
            # An exchange counts only where previous.json is whole: nothing is wrong with
            # manifest.json if it was taken.
            damage = (
                "" if all_files and name == MANIFEST else damages.get(MANIFEST) or damages["order"]
            )
            kept = {key: content for key, content in contents.items() if key in wanted}
            return Generation(folder / name, manifests[name], kept, damage, not all_files)
    also = (
        f" {PREVIOUS}, the save before it, is not whole either."
        if texts[PREVIOUS] is not None
        else ""
    )
    raise DataError(f"{damages.get(MANIFEST) or damages[PREVIOUS]}.{also} {REMEDY}")


def _parse(path: Path, text: bytes | None) -> Manifest:
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
    if number not in FORMATS:  # no damage: an older save must not silently take its place
        raise DataError(
            f"{path} has format {number}, this version of aevb reads formats"
            f" {' and '.join(map(str, FORMATS))}"
        )
    try:
        manifest = Manifest.model_validate(body)
    except ValidationError as error:
        raise _DamagedError(f"{path} is damaged: it is not the manifest of a run") from error
    if number > 1 and text != _text(manifest):
        # The checksum is of the values; this is of the bytes: 1e-5 and 1E-5 are the same value, yet
        # one was not written here.
        raise _DamagedError(
            f"{path} was changed or damaged: its bytes are not those that were written"
        )
    return manifest


def _content(folder: Path, entry: File, *, keep: bool) -> bytes:
    """The bytes of a tensor file, checked; none of them unless ``keep``, or all files would be in
    memory at once."""
    path = folder / Path(entry.file).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(f"{path} is missing or cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise _DamagedError(f"{path} is damaged: its SHA-256 differs from the manifest's")
    return content if keep else b""


def _texts(folder: Path) -> dict[str, bytes | None]:
    texts: dict[str, bytes | None] = {}
    for name in (MANIFEST, PREVIOUS):
        try:
            texts[name] = (folder / name).read_bytes()
        except OSError:
            texts[name] = None
    return texts


def _known(folder: Path, text: bytes | None) -> Manifest | None:
    """The manifest if it can be read, whether its files are whole or not."""
    try:
        return _parse(folder / MANIFEST, text)
    except (_DamagedError, DataError):
        return None


def _prune(folder: Path) -> None:
    """Remove the tensor files that neither manifest names, and the halves that a killed process
    left behind."""
    texts = _texts(folder)
    known = {name: _known(folder, text) for name, text in texts.items()}
    if known[MANIFEST] is None or (known[PREVIOUS] is None and (folder / PREVIOUS).exists()):
        return  # in doubt nothing is removed: one of them could not be read just now
    named = {
        entry.file for manifest in known.values() if manifest for entry in manifest.files.values()
    }
    halves = (".*.part.safetensors", ".*.part.json")
    for pattern in (
        "model-*.safetensors",
        "baseline-*.safetensors",
        "state-*.safetensors",
        *halves,
    ):
        for path in folder.glob(pattern):
            if path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()


def _write_and_compare(part: Path, content: bytes) -> None:
    """Before the file takes its place: a disk that does not keep what it is given must not cost the
    save before."""
    part.write_bytes(content)
    to_disk(part)
    if part.read_bytes() != content:
        raise OSError(errno.EIO, "what was written reads back otherwise")


def _same(old: Manifest, new: Manifest) -> bool:
    return _text(old.model_copy(update={"generation": new.generation})) == _text(new)


def _same_data(old: Manifest, new: Manifest) -> bool:
    """Whether one may stand in for the other: a run saved over another one has no save before it."""
    return (old.data, old.likelihood, old.data_schema) == (
        new.data,
        new.likelihood,
        new.data_schema,
    )


def _text(manifest: Manifest) -> bytes:
    body = manifest.model_dump()
    return (json.dumps(body | {"sha256": _digest(body)}, indent=1) + "\n").encode()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
