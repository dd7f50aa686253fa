"""S3 with objects that a former process has left, and with many of them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, aws_client
from host_process import ACCOUNT, HostProcess
from hypothesis import given
from hypothesis import strategies as st
from test_keeping import ONCE

from local_aws.host.objects import Objects, page


def keys(s3: Any, name: str, **options: Any) -> list[str]:
    found = s3.list_objects_v2(Bucket=name, **options)
    return [each["Key"] for each in found.get("Contents", [])]


def make_bucket(host: HostProcess, name: str, *, versioned: bool = False) -> Any:
    s3 = host.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    if versioned:
        enabled = {"Status": "Enabled"}
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=enabled)
    return s3


ODD_KEYS = ["a", "a/", "a//b", "a/b", "b/../c", "c/d.meta.json", "e.tmp", "f é+&"]


def test_objects_of_a_former_process_are_found(host: HostProcess, name: str) -> None:
    s3 = make_bucket(host, name)
    for key in ODD_KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode(), Metadata={"of": "one"})
    s3.put_object(Bucket=name, Key="tagged", Body=b"", Tagging="name=value")
    host.kill_and_start()
    s3 = host.client("s3")
    head = s3.head_object(Bucket=name, Key="a//b")  # before they are listed
    assert (head["ContentLength"], head["Metadata"]) == (4, {"of": "one"})
    tags = s3.get_object_tagging(Bucket=name, Key="tagged")["TagSet"]
    assert tags == [{"Key": "name", "Value": "value"}]
    s3.put_object(Bucket=name, Key="new", Body=b"")
    s3.delete_object(Bucket=name, Key="a")
    present = sorted({*ODD_KEYS, "tagged", "new"} - {"a"})
    assert keys(s3, name) == present
    assert keys(s3, name, StartAfter="a/b", MaxKeys=2) == present[3:5]
    host.kill_and_start()
    s3 = host.client("s3")
    assert keys(s3, name) == present
    for key in present:
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


def test_versions_of_a_former_process_are_found(host: HostProcess, name: str) -> None:
    s3 = make_bucket(host, name, versioned=True)
    first = s3.put_object(Bucket=name, Key="kept", Body=b"1")["VersionId"]
    s3.put_object(Bucket=name, Key="kept", Body=b"2")
    gone = s3.put_object(Bucket=name, Key="gone", Body=b"3")["VersionId"]
    s3.delete_object(Bucket=name, Key="gone")
    for _ in range(2):
        host.kill_and_start()
        s3 = host.client("s3")
        found = s3.get_object(Bucket=name, Key="kept", VersionId=first)
        assert found["Body"].read() == b"1"
        assert keys(s3, name) == ["kept"]
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket=name, Key="gone")
        assert s3.get_object(Bucket=name, Key="gone", VersionId=gone)["Body"].read() == b"3"
        listed = s3.list_object_versions(Bucket=name)
        assert [each["Key"] for each in listed["Versions"]] == ["gone", "kept", "kept"]
        assert [each["Key"] for each in listed["DeleteMarkers"]] == ["gone"]
        with pytest.raises(ClientError, match="BucketNotEmpty"):
            s3.delete_bucket(Bucket=name)


def test_versions_are_listed_by_pages(host: HostProcess, name: str) -> None:
    s3 = make_bucket(host, name, versioned=True)
    for key in ("a/1", "a/1", "a/2", "b", "c/1"):
        s3.put_object(Bucket=name, Key=key, Body=b"")
    for key in ("a/2", "never"):
        s3.delete_object(Bucket=name, Key=key)
    marker = s3.delete_object(Bucket=name, Key="b")["VersionId"]
    s3.delete_object(Bucket=name, Key="b", VersionId=marker)
    whole = ["a/1", "a/1", "a/2", "a/2", "b", "c/1", "never"]
    for _ in range(2):
        for size in (1, 2, 3, 10):
            pages = host.client("s3").get_paginator("list_object_versions")
            found = [
                each["Key"]
                for each_page in pages.paginate(Bucket=name, PaginationConfig={"PageSize": size})
                for kind in ("Versions", "DeleteMarkers")
                for each in each_page.get(kind, [])
            ]
            assert sorted(found) == whole
        s3 = host.client("s3")
        grouped = s3.list_object_versions(Bucket=name, Delimiter="/")
        assert [each["Prefix"] for each in grouped["CommonPrefixes"]] == ["a/", "c/"]
        assert len(s3.list_object_versions(Bucket=name, Prefix="a/")["Versions"]) == 3
        host.kill_and_start()


def test_an_object_that_cannot_be_stored_is_not_acknowledged(host: HostProcess, name: str) -> None:
    make_bucket(host, name)
    folder = host.data_dir / "s3" / ACCOUNT / name
    folder.rmdir()
    folder.write_text("in the way")
    s3 = aws_client("s3", host.port, config=ONCE)
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=name, Key="key", Body=b"x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


NAMES = st.text("ab/é", max_size=5)
KEYS = st.sets(st.text("ab/é", min_size=1, max_size=5), max_size=20)


@given(KEYS, NAMES, st.sampled_from(["", "/", "a/"]), st.integers(0, 5), NAMES)
def test_a_page_has_what_comes_next(
    there: set[str], prefix: str, delimiter: str, most: int, after: str
) -> None:
    """By the documentation of ListObjectsV2: entries in order, groups once, after StartAfter."""
    entries = set()
    for key in there:
        head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
        if key.startswith(prefix):
            entries.add((prefix + head + found, bool(found)))
    left = sorted(entry for entry in entries if entry[0] > after)
    wanted = (
        [name for name, group in left[:most] if not group],
        [name for name, group in left[:most] if group],
        len(left) > most,
    )
    records = {name: {"size": 1} for name in there}
    assert page(records, prefix, delimiter, most, after)[:3] == wanted
    gone = {f"{name}a" for name in there} - there  # their files are there, but hidden
    objects = Objects(lambda _: None, lambda: there | gone, None)
    objects.update(records)
    assert page(objects, prefix, delimiter, most, after)[:3] == wanted
    assert sorted(objects) == sorted(there)
    assert len(objects) == len(there)


def test_who_asks_for_a_key_waits_for_its_file_to_be_read() -> None:
    looking, found = threading.Event(), threading.Event()

    def find(key: str) -> None:
        looking.set()
        assert found.wait(10)
        objects[key] = {"size": 1}

    objects = Objects(find, set, None)
    answers: list[bool] = []
    callers = [threading.Thread(target=lambda: answers.append("a" in objects)) for _ in range(2)]
    callers[0].start()
    assert looking.wait(10)
    callers[1].start()
    callers[1].join(0.1)  # it would answer at once if it did not wait
    found.set()
    for caller in callers:
        caller.join(10)
    assert answers == [True, True]
