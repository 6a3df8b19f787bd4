"""Objects as files under a folder.

Every file gets its content before it gets its name, so a reader sees the old content or the new:

    put, put_if_match    _lethe/tmp/<random>  --fsync--rename-->  key
    put_if_absent        _lethe/tmp/<random>  --fsync--link---->  key   (fails if the name is taken)
    stage, publish       _lethe/staging/<run>/<key, quoted>~<random>  --fsync--rename-->  key

Writing, publishing and deleting one key exclude each other, with a condition or without, between
processes too, by a lock on one of a fixed number of files; but not what others than Lethe do.

A temporary file is locked while its writer lives: whoever can lock one has found what a killed
process left, and removes it (``check_writable`` and ``clear_staging`` look).

Needs a file system with hard links, atomic renames and ``flock``. Symbolic links are followed.
"""

from __future__ import annotations

import copy
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from schemas.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreFull,
)
from stores.objects.keys import (
    LOCKS,
    OWN,
    STAGING,
    TEMPORARY,
    check_key,
    check_prefix,
    staging_area,
)
from stores.objects.port import (
    KeptVersion,
    ObjectInfo,
    ObjectStore,
    OldVersions,
    StagedObject,
    StagedWriter,
)

_LOCK_FILES = 64
_LONGEST_NAME = 200
_SYNCED_AT_ONCE = 16
"""Files that are synced side by side: a disk has many of them in about the time of one."""

_MOST_PRUNINGS = 100
"""How often in a row neighbours may prune a folder that is being made; after that none can be."""
_ABSENT = (FileNotFoundError, NotADirectoryError)
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalObjectStore(ObjectStore):
    """The object store over a folder, which need not exist yet.

    An entity tag is made of inode, size and modification time. Lethe sets that time from the
    clock's nanoseconds itself, as a file system's own may be too coarse to tell two writes apart.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        self._syncs_staged = True

    @property
    def syncs_staged(self) -> bool:
        """Whether closing a staged file waits until the disk has it."""
        return self._syncs_staged

    def without_syncing_staged(self) -> LocalObjectStore:
        """This store, where nobody waits for the disk to have a staged file.

        What is staged so survives a power cut from ``sync_staged`` on, called on this machine.
        """
        other = copy.copy(self)
        other._syncs_staged = False
        return other

    def sync_staged(self, staged: Iterable[StagedObject]) -> None:
        """Wait until the disk has all of these: one after another takes it many times as long.

        What is gone, as its run was taken for dead and cleared, is passed over.
        """
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(_sync_file, [self._path(one.token) for one in staged]):
                pass  # raises what it raised

    @property
    def uri(self) -> str:
        return str(self._root)

    def check_writable(self) -> None:
        with _reporting(self._root):
            _make_folder(self._root)
            self._sweep_temporaries()
            with self._temporary(b"probe"):
                pass
            self._prune(self._root / TEMPORARY)

    def head(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with _reporting(path), suppress(*_ABSENT):
            status = path.stat()
            return _info(key, status) if stat.S_ISREG(status.st_mode) else None
        return None

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        path = self._path(key)
        with _reporting(path):
            try:
                stream = path.open("rb")
            except (*_ABSENT, IsADirectoryError) as error:
                raise ObjectMissing(f"{path}: there is no such file", key=key) from error
            if etag is not None and _info(key, os.fstat(stream.fileno())).etag != etag:
                stream.close()
                raise _changed(path, key)
            stream.seek(offset)
            return stream

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with _reporting(self._root):
            yield from _walk(self._root, "", prefix, start_after)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        path = self._path(key)
        with _reporting(path), self._locked(key):
            return self._replace(path, key, data)

    def put_if_absent(self, key: str, data: bytes) -> ObjectInfo:
        path = self._path(key)
        with _reporting(path), self._temporary(data) as temporary:
            info = _info(key, temporary.stat())
            _make_folder(path.parent)  # of a file in the place of a folder the key says nothing
            try:
                _into_place(os.link, temporary, path)
            except FileExistsError:
                return self._existing(key, data)
            _sync_folder(path.parent)
            return info

    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        path = self._path(key)
        with _reporting(path), self._locked(key):
            found = self.head(key)
            if found is None or found.etag != etag:
                raise _changed(path, key)
            return self._replace(path, key, data)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _reporting(path), self._locked(key):
            if self.head(key) is not None:
                self._remove(path, key)

    def delete_if_match(self, key: str, etag: str) -> None:
        path = self._path(key)
        with _reporting(path), self._locked(key):
            found = self.head(key)
            if found is None:
                return
            if found.etag != etag:
                raise _changed(path, key)
            self._remove(path, key)

    def old_versions(self, key: str) -> tuple[KeptVersion, ...]:
        """A folder keeps none."""
        check_key(key)
        return ()

    def remove_old_versions(self, key: str) -> OldVersions:
        """A folder keeps none; what snapshots of its file system keep is out of reach."""
        check_key(key)
        return OldVersions()

    def stage(self, key: str, run_id: str) -> StagedWriter:
        token = staging_area(run_id) + _staged_name(check_key(key))
        return _StagedFile(self, self._path(token), StagedObject(key, run_id, token, 0, ""))

    def settle(self, run_id: str) -> None:
        area = self._path(staging_area(run_id).rstrip("/"))
        with _reporting(area):
            for folder, _, _ in os.walk(area):
                _sync_folder(Path(folder))
            if area.is_dir():
                _sync_folder(area.parent)

    def publish(self, staged: Iterable[StagedObject]) -> None:
        """Rename all, and then sync each folder once: one write of the journal, not one a file."""
        folders = {self._publish(one).parent for one in staged}
        for folder in folders:
            with _reporting(folder):
                _sync_folder(folder)

    def _publish(self, staged: StagedObject) -> Path:
        source, target = self._path(staged.token), self._path(staged.key)
        with _reporting(target), self._locked(staged.key):
            try:
                _into_place(os.replace, source, target)
            except FileNotFoundError:
                self._check_published(staged)
        return target

    def publish_if_match(self, staged: StagedObject, etag: str) -> None:
        source, target = self._path(staged.token), self._path(staged.key)
        with _reporting(target), self._locked(staged.key):
            found = self.head(staged.key)
            if self.holds(staged, found):
                return
            if found is None or found.etag != etag:
                raise _changed(target, staged.key)
            try:
                source.replace(target)
            except FileNotFoundError as error:
                raise self._staged_is_gone(staged) from error
            _sync_folder(target.parent)

    def list_staged(self, run_id: str) -> Iterator[StagedObject]:
        area = staging_area(run_id)
        for info in self.list(area):
            key = _key_of(info.key.removeprefix(area))
            yield StagedObject(key, run_id, info.key, 0, "")

    def discard(self, staged: StagedObject) -> None:
        path = self._path(staged.token)
        with _reporting(path):
            path.unlink(missing_ok=True)
        self._prune(path.parent)

    def clear_staging(self, run_id: str) -> None:
        area = self._path(staging_area(run_id).rstrip("/"))
        with _reporting(area):
            with suppress(FileNotFoundError):
                shutil.rmtree(area)
            self._sweep_temporaries()
        self._prune(self._root / STAGING)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _replace(self, path: Path, key: str, data: bytes) -> ObjectInfo:
        with self._temporary(data) as temporary:
            info = _info(key, temporary.stat())
            _into_place(os.replace, temporary, path)
            _sync_folder(path.parent)
            return info

    def _remove(self, path: Path, key: str) -> None:
        """Remove a file, and if it was our own the folders that it leaves empty."""
        path.unlink()
        _sync_folder(path.parent)
        if key.startswith(OWN):
            self._prune(path.parent)

    def _existing(self, key: str, data: bytes) -> ObjectInfo:
        """What is under ``key``, if that is ``data``: the same write, done before."""
        found = self.head(key)
        with suppress(ObjectMissing):
            if found is not None and found.size == len(data) and self.read(key) == data:
                return found
        raise ObjectExists(f"{self._root / key} exists already", key=key)

    def _check_published(self, staged: StagedObject) -> None:
        found = self.head(staged.key)
        if found is None or found.size != staged.size:
            raise self._staged_is_gone(staged)

    def _staged_is_gone(self, staged: StagedObject) -> ObjectMissing:
        return ObjectMissing(
            f"{self._root / staged.key} can not be published: its staged data is gone",
            key=staged.key,
        )

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        number = zlib.crc32(key.encode("utf-8", "surrogateescape")) % _LOCK_FILES
        lock = _open_new(self._root / LOCKS / f"{number:02x}", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _temporary(self, data: bytes) -> Iterator[Path]:
        """A durable file that holds ``data``, to be linked or renamed; removed if still there."""
        path = self._root / TEMPORARY / uuid.uuid4().hex
        with _open_locked(path) as file:
            try:
                file.write(data)
                _date(file)
                os.fsync(file.fileno())
                yield path
            finally:
                path.unlink(missing_ok=True)

    def _sweep_temporaries(self) -> None:
        with suppress(FileNotFoundError):
            for path in (self._root / TEMPORARY).iterdir():
                _remove_if_orphaned(path)

    def _prune(self, folder: Path) -> None:
        """Remove ``folder`` and its parents below the root, as far as they are empty."""
        with suppress(OSError):
            while folder != self._root:
                with suppress(FileNotFoundError):
                    folder.rmdir()
                folder = folder.parent


class _StagedFile(StagedWriter):
    def __init__(self, store: LocalObjectStore, path: Path, staged: StagedObject) -> None:
        self._store = store
        self._path = path
        self._staged = staged
        self._size = 0
        self._digest = hashlib.sha256()
        with _reporting(path):
            self._file = os.fdopen(_open_new(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def write(self, data: bytes | memoryview) -> int:
        with _reporting(self._path):
            self._file.write(data)
        self._digest.update(data)
        length = memoryview(data).nbytes
        self._size += length
        return length

    def close(self) -> StagedObject:
        with _reporting(self._path):
            _date(self._file)
            if self._store.syncs_staged:
                os.fsync(self._file.fileno())
            # What is renamed keeps its inode and its time, and so its tag.
            etag = _info("", os.fstat(self._file.fileno())).etag
            self._file.close()
        return replace(self._staged, size=self._size, sha256=self._digest.hexdigest(), etag=etag)

    def abort(self) -> None:
        # Closing writes out what is buffered, which is the very data to be dropped.
        with suppress(OSError):
            self._file.close()
        self._store.discard(self._staged)


def _staged_name(key: str) -> str:
    """A name to stage ``key`` under: unlike any other, and the key can be had from it."""
    name = f"{quote(key, safe='=')}~{uuid.uuid4().hex}"
    starts = range(0, len(name), _LONGEST_NAME)
    return "/".join(name[start : start + _LONGEST_NAME] for start in starts)


def _key_of(name: str) -> str:
    return unquote(name.replace("/", "").rpartition("~")[0])


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into the store's; ``path`` is named if they name none."""
    try:
        yield
    except OSError as error:
        raise _as_store_error(error, str(error.filename or path)) from error


def _as_store_error(error: OSError, path: str) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(f"{path}: there is no such file", path=path)
    if error.errno in _DENIED:
        return AccessDenied(
            f"{path}: {error.strerror}: check the owner and the permissions", path=path
        )
    if error.errno in _FULL:
        return StoreFull(f"{path}: {error.strerror}: free some room or raise the limit", path=path)
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return StoreError(
            f"{path}: {error.strerror}: a file and a folder would need the same name: move one",
            path=path,
        )
    if error.errno == errno.ELOOP:
        link = _link_back(path)
        return StoreError(f"{link}: this symbolic link leads round in a circle: remove it")
    reason = error.strerror or type(error).__name__
    return StoreError(f"{path}: {reason}: check the device and its mount", path=path)


def _link_back(path: str) -> str:
    """Of a path that goes round and round the link that leads back to a folder which it is in."""
    for folder in reversed(Path(path).parents):
        if folder.is_symlink() and folder.resolve() in {one.resolve() for one in folder.parents}:
            return str(folder)
    return path


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(key, status.st_size, etag, modified)


def _walk(folder: Path, base: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """Files below ``folder``, whose keys start with ``base``; holds one folder's names a level."""
    for name, is_folder in _entries(folder):
        key = base + name
        if is_folder and _may_hold(key, prefix, start_after):
            yield from _walk(folder / name, key, prefix, start_after)
        elif not is_folder and key.startswith(prefix) and key > start_after:
            with suppress(FileNotFoundError):  # removed since the folder was read
                yield _info(key, (folder / name).stat())


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in the order of the keys they lead to: folder ``a`` counts as ``a/``, after ``a-b``."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(
            (f"{entry.name}/" if entry.is_dir() else entry.name, entry.is_dir())
            for entry in entries
            if entry.is_dir() or entry.is_file()
        )
    return []


def _may_hold(base: str, prefix: str, start_after: str) -> bool:
    in_prefix = base.startswith(prefix) or prefix.startswith(base)
    return in_prefix and (base > start_after or start_after.startswith(base))


def _open_new(path: Path, flags: int) -> int:
    """Open with ``flags``, making the folder; again if a neighbour prunes that in between."""
    while True:
        _make_folder(path.parent)
        with suppress(FileNotFoundError):
            return os.open(path, flags | os.O_CLOEXEC, 0o666)


def _open_locked(path: Path) -> BinaryIO:
    """A new locked file; again if a sweeper took it for an orphan before it was locked."""
    while True:
        file = os.fdopen(_open_new(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _remove_if_orphaned(path: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _into_place(move: Callable[[Path, Path], None], source: Path, target: Path) -> None:
    """Give a file its name, making the folder; again if a neighbour prunes that in between.

    Raises ``FileNotFoundError`` if the file itself is gone.
    """
    while True:
        _make_folder(target.parent)
        try:
            return move(source, target)
        except FileNotFoundError:
            if not source.exists():
                raise


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, so that they survive a power cut.

    Others may make and prune the same ones meanwhile.
    """
    prunings = 0
    while not folder.is_dir():
        try:
            folder.mkdir()
            _sync_folder(folder.parent)
        except FileNotFoundError:
            if prunings == _MOST_PRUNINGS:  # as in /proc, which takes no folders
                raise
            prunings += 1
            _make_folder(folder.parent)
        except FileExistsError:
            if _is_no_folder(folder):
                raise


def _is_no_folder(path: Path) -> bool:
    """Whether something is there that is no folder: nothing is, if somebody has just pruned it."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(mode) and not path.is_dir()


def _sync_folder(folder: Path) -> None:
    """Have what became of its files survive a power cut; nothing is to survive of one pruned."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with _reporting(path), suppress(FileNotFoundError), path.open("rb") as file:
        os.fsync(file.fileno())


def _changed(path: Path, key: str) -> ObjectChanged:
    return ObjectChanged(f"{path} was changed by someone else: read it again", key=key)


def _date(file: BinaryIO) -> None:
    """Write out what is buffered, and set the time that the entity tag is made of."""
    file.flush()
    now = time.time_ns()
    os.utime(file.fileno(), ns=(now, now))
