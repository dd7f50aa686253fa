"""Which objects ministack's S3 has: found in their files when they are asked for, listed in order.

ministack reads the metadata of all objects when it starts, and sorts all keys of a bucket for each
page of a list. Here a bucket's objects are a mapping that reads an object's metadata the first time
that its key is used, and keeps the keys sorted.
"""

from __future__ import annotations

import json
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import unquote

from local_aws.host.internals import module
from local_aws.host.replacing import replaced

_SIDECAR = ".meta.json"
_PARTIAL = ".tmp"

State = dict[str, Any]
_HAS_FILES = (
    'any(not f.endswith(".meta.json") for _, _, files in os.walk(bucket_path) for f in files)'
)


class Objects(MutableMapping[str, State]):
    """The current objects of one bucket, by key."""

    def __init__(
        self,
        find: Callable[[str], None],
        names: Callable[[], set[str]],
        known: State | None,
        remembered: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Take over what is known; nothing is read.

        Args:
            find: Looks for the files of a key and, if there are any, enters the object here.
            names: Returns the keys that have files, of which some may be no objects any more.
            known: All objects there are, if that is known: no files are looked for then.
            remembered: Tells whether a key that is not an object any more has versions.
        """
        self._find, self._read_names, self._remembered = find, names, remembered
        self._records: State = dict(known or {})
        self._all_seen = known is not None
        self._seen: set[str] = set()
        self._looked_for: set[str] = set()
        self._names: list[str] | None = None
        self._lock = threading.RLock()

    def see(self, key: str) -> None:
        """Look for the files of a key, unless that was done."""
        if self._all_seen or key in self._seen:
            return
        with self._lock:  # so that others wait for what is found
            if key in self._seen or key in self._looked_for:
                return
            self._looked_for.add(key)  # what is found is entered here, by the same thread
            try:
                self._find(key)
                self._seen.add(key)
            finally:
                self._looked_for.discard(key)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - ministack has no types
        self.see(key)
        return self._records[key]

    def __setitem__(self, key: str, record: State) -> None:
        self.see(key)
        with self._lock:
            if self._names is not None and key not in self._records:
                self.note(key)
            self._records[key] = record

    def __delitem__(self, key: str) -> None:
        self.see(key)
        with self._lock:
            del self._records[key]
            if self._names is not None and not self._remembered(key):
                del self._names[bisect_left(self._names, key)]

    def __contains__(self, key: object) -> bool:
        self.see(str(key))
        return key in self._records

    def __iter__(self) -> Iterator[str]:
        for name in list(self.names()):
            if name in self:
                yield name
        self._all_seen = True
        self._seen.clear()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def note(self, key: str) -> None:
        """Take note of a key that may be no object, but has versions."""
        with self._lock:
            names = self.names()
            at = bisect_left(names, key)
            if names[at : at + 1] != [key]:
                names.insert(at, key)

    def names(self) -> list[str]:
        """Return all keys in order, with some among them that are not objects any more."""
        with self._lock:
            if self._names is None:
                found = set() if self._all_seen else self._read_names()
                self._names = sorted(found | self._records.keys())
            return self._names


def apply(folder: str) -> None:
    """Let S3 find objects in their files, and list them in order.

    Here: a start reads no object, and a page of a list takes as long with 100,000 keys.

    ministack must have been imported without persistence of S3, which is begun here.

    Args:
        folder: Where the objects are, by account and bucket.
    """
    s3 = module("services.s3")
    s3.S3_PERSIST = True
    _Buckets(folder).apply()
    s3._collect_list_entries = page
    s3._object_versions, s3._object_tags = _histories(Objects.note), _histories()
    s3._object_acl, s3._object_annotations = _histories(), _histories()
    s3._list_object_versions = replaced(
        s3._list_object_versions,
        {
            """set(k for k in bucket["objects"] if _in_page(k))
    for bn, k in _object_versions:
        if bn == bucket_name and _in_page(k):
            all_keys.add(k)
""": """_names_of_page(
        bucket_name, bucket["objects"], prefix, delimiter, key_marker, version_id_marker, max_keys)
"""
        },
        _names_of_page=names_of_page,
    )
    _store_or_fail()


class _Buckets:
    """The buckets whose objects are found in files."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        s3 = module("services.s3")
        self._load = replaced(
            s3._load_persisted_bucket,
            {
                _HAS_FILES: "True",
                "_persisted_key_files(bucket_path, sidecars=False)": "_files_of(bucket_path, '')",
                "_persisted_key_files(bucket_path, sidecars=True)": (
                    f"_files_of(bucket_path, '{_SIDECAR}')"
                ),
            },
            _files_of=_files_of,
        )

    def apply(self) -> None:
        """Enter the buckets that have objects, and give new ones the same kind of objects.

        Here: a start reads no object.
        """
        s3 = module("services.s3")
        for account in os.scandir(self._folder) if os.path.isdir(self._folder) else ():  # noqa: PTH112
            if not (account.is_dir() and account.name.isdigit()):
                continue
            for bucket in os.scandir(account.path):
                if bucket.is_dir() and any(os.scandir(bucket.path)):
                    found = self._objects(account.name, bucket.name, None)
                    record = {"created": s3.now_iso(), "objects": found, "region": None}
                    s3._buckets.set_scoped(account.name, None, bucket.name, record)

        def ensure(name: str) -> State | None:
            bucket: State | None = s3._buckets.get(name)
            if bucket is not None and isinstance(bucket["objects"], dict):  # it is new
                account = module("core.responses").get_account_id()
                bucket["objects"] = self._objects(account, name, bucket["objects"])
            return bucket

        s3._ensure_bucket = ensure

    def _objects(self, account: str, bucket: str, known: State | None) -> Objects:
        folder = os.path.join(self._folder, account, bucket)  # noqa: PTH118 - a Path is slower
        s3 = module("services.s3")

        def find(key: str) -> None:
            self._load(account, bucket, (s3._key_disk_path(folder, key), key))

        def remembered(key: str) -> bool:
            return (account, (bucket, key)) in s3._object_versions._data

        return Objects(find, lambda: _names(folder, s3._ENCODED_KEYS_DIR), known, remembered)


def _files_of(found: tuple[str, str], suffix: str) -> Iterator[tuple[str, str]]:
    """Yield file and key of the one key whose file or sidecar is to be loaded, if it is there."""
    path, key = found
    if os.path.isfile(path + suffix):  # noqa: PTH113 - a Path is slower
        yield path + suffix, key


def _names(folder: str, encoded: str) -> set[str]:
    """Return the keys that have a file or a sidecar in a bucket's folder."""
    found: set[str] = set()
    for where, folders, files in os.walk(folder):
        if where == folder and encoded in folders:
            folders.remove(encoded)
        parent = where[len(folder) + 1 :] + "/" if where != folder else ""
        found.update(
            parent + name.removesuffix(_SIDECAR) for name in files if not name.endswith(_PARTIAL)
        )
    where = os.path.join(folder, encoded)  # noqa: PTH118
    for name in os.listdir(where) if os.path.isdir(where) else ():  # noqa: PTH112, PTH208
        if name.endswith(_SIDECAR):
            with open(os.path.join(where, name), "rb") as file:  # noqa: PTH118, PTH123
                found.add(json.load(file)["key"])
        elif not name.endswith(_PARTIAL) and not os.path.exists(  # noqa: PTH110
            os.path.join(where, name + _SIDECAR)  # noqa: PTH118
        ):
            found.add(unquote(name))
    return found


def _histories(
    on_write: Callable[[Objects, str], None] = lambda _objects, _key: None,
) -> Any:  # noqa: ANN401 - ministack has no types
    """Return a store of what belongs to keys, whose files are looked for when a key is used.

    Args:
        on_write: Called with a bucket's objects and a key for which something is entered.
    """
    base = module("core.responses").AccountScopedDict

    class Histories(base):  # type: ignore[misc, valid-type]  # ministack has no types
        def _scoped(self, key: tuple[str, ...]) -> Any:  # noqa: ANN401
            scoped = super()._scoped(key)
            _with_objects(scoped[0], key, Objects.see)
            return scoped

        def __setitem__(self, key: tuple[str, ...], value: object) -> None:
            super().__setitem__(key, value)
            _with_objects(self._prefix(), key, on_write)

        def setdefault(self, key: tuple[str, ...], default: object = None) -> object:
            found = super().setdefault(key, default)
            _with_objects(self._prefix(), key, on_write)
            return found

        def get_scoped(
            self, account: str, region: str | None, key: tuple[str, ...], default: object = None
        ) -> object:
            _with_objects(account, key, Objects.see)
            return super().get_scoped(account, region, key, default)

    return Histories()


def _with_objects(
    account: str, key: tuple[str, ...], function: Callable[[Objects, str], None]
) -> None:
    bucket = module("services.s3")._buckets._data.get((account, key[0]))
    if bucket is not None and isinstance(bucket["objects"], Objects):
        function(bucket["objects"], key[1])


def _store_or_fail() -> None:
    """Fail a request whose object could not be stored; do not keep in memory what is on disk.

    Here: what was answered is on disk, and a version of an object takes no memory.
    """
    s3 = module("services.s3")
    original = s3._persist_object

    def persist(bucket: str, key: str, record: State) -> None:
        original(bucket, key, record)
        if record.get("body") is not None:  # it is in memory still
            raise OSError(f"s3://{bucket}/{key} could not be stored; see the log")
        for version in s3._object_versions.get((bucket, key)) or ():
            current = version["version_id"] == (record.get("version_id") or "null")
            if current and isinstance(version.get("data"), bytes):
                version["data"] = None

    s3._persist_object = persist


def page(
    objects: Objects | State, prefix: str, delimiter: str, most: int, after: str
) -> tuple[list[str], list[str], bool, str]:
    """Return one page of a list; ministack's `_collect_list_entries`.

    Args:
        objects: The bucket's objects.
        prefix: What keys begin with.
        delimiter: Up to where keys with the same beginning after the prefix are one entry.
        most: How many entries there may be.
        after: What entries come after.

    Returns:
        Keys, common prefixes, whether there are more, and the last entry.
    """
    names = objects.names() if isinstance(objects, Objects) else sorted(objects)
    keys: list[str] = []
    prefixes: list[str] = []
    last = ""
    at = bisect_right(names, after) if after >= prefix and after else bisect_left(names, prefix)
    while at < len(names) and names[at].startswith(prefix):
        name = names[at]
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = name[: end + len(delimiter)] if end >= 0 else name
        if entry <= after:  # the group of keys of which the page before ended with
            at = _behind(names, entry, at)
            continue
        if name not in objects:
            at += 1
            continue
        if len(keys) + len(prefixes) >= most:
            return keys, prefixes, True, last
        last = entry
        if end >= 0:
            prefixes.append(entry)
            at = _behind(names, entry, at)
        else:
            keys.append(entry)
            at += 1
    return keys, prefixes, False, last


def names_of_page(  # noqa: PLR0913, PLR0917 - as it is called in ministack
    bucket: str,
    objects: Objects,
    prefix: str,
    delimiter: str,
    key_marker: str,
    version_marker: str,
    most: int,
) -> list[str]:
    """Return the keys that a page of ListObjectVersions may have to look at, in order."""
    versions = module("services.s3")._object_versions
    names = objects.names()
    found: list[str] = []
    for at in range(bisect_left(names, max(prefix, key_marker)), len(names)):
        name = names[at]
        if not name.startswith(prefix) or (len(found) > most + 1 and not delimiter):
            break
        within = name != key_marker or version_marker  # whose versions may go on
        if within and (name in objects or versions.get((bucket, name))):
            found.append(name)
    return found


def _behind(names: list[str], prefix: str, start: int) -> int:
    """Return the place of the first name behind those that begin with a prefix."""
    return bisect_left(names, True, lo=start, key=lambda name: not name.startswith(prefix))
