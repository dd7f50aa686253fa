"""What leads to the tools beside this project and to its data, and how `poe local` loads it.

It goes when local/ goes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from moto import mock_aws

from local import sample_data, tools
from ops import OpsError, aws, load
from usecase import config
from usecase.errors import UseCaseError
from workflows import names

ROOT = Path(__file__).parents[1]
USE_CASE = config.load(ROOT / "usecase.toml")


@pytest.mark.parametrize(
    ("template", "version", "expected"),
    [
        ("gh:org/kit", "1.2.0", "git+https://github.com/org/kit@1.2.0#subdirectory=local_aws"),
        ("gl:org/kit", "v1", "git+https://gitlab.com/org/kit@v1#subdirectory=local_aws"),
        (
            "git+https://host/kit.git",
            "1.2.0-3-gabcdef1",
            "git+https://host/kit.git@abcdef1#subdirectory=local_aws",
        ),
    ],
)
def test_a_tool_comes_from_where_the_template_came_from(
    template: str, version: str, expected: str
) -> None:
    assert tools.source("local_aws", template, version) == expected


def test_a_tool_comes_from_the_templates_folder(tmp_path: Path) -> None:
    (tmp_path / "adopt").mkdir()
    assert tools.source("adopt", str(tmp_path), "") == str(tmp_path / "adopt")


def test_a_tool_that_was_handed_over_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wheel = tmp_path / "vendor" / "adopt-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    assert tools.origin("adopt") == str(wheel)
    with pytest.raises(OpsError, match="run this in the project's root folder"):
        tools.origin("local_aws")


def test_a_tool_is_asked_for_in_the_projects_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpsError, match="run this in the project's root folder"):
        tools.origin("adopt")


def test_data_that_is_not_there_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpsError, match=r"data/ has no data for orders; bring it with `uv run poe"):
        sample_data.parts(("orders",))
    assert sample_data.parts(sample_data.TABLES).traffic == sample_data.TRAFFIC
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("_src_path: /gone/kit\n", "/gone/kit/local_aws is not here: bring the template back to"),
        ("_src_path: https://127.0.0.1:9/kit\n_commit: v1\n", "cannot be installed from git+https"),
        (None, ".copier-answers.yml is missing: run this in the project's root folder"),
    ],
    ids=["folder", "repository", "no answers"],
)
def test_life_without_its_template_ends_in_one_sentence(
    tmp_path: Path, answers: str | None, said: str
) -> None:
    (tmp_path / "usecase.toml").write_text((ROOT / "usecase.toml").read_text())
    if answers:
        (tmp_path / ".copier-answers.yml").write_text(answers)
    result = subprocess.run(
        [sys.executable, "-m", "local.lifecycle"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The data bucket, with nothing in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for client in (aws.s3, aws.account):
        client.cache_clear()
    with mock_aws():
        aws.s3().create_bucket(
            Bucket=aws.bucket(),
            CreateBucketConfiguration={"LocationConstraint": names.REGION},  # type: ignore[typeddict-item] # any region
        )
        yield
    for client in (aws.s3, aws.account):
        client.cache_clear()


@pytest.mark.usefixtures("bucket")
def test_a_load_is_seen_once_all_of_it_is_there(tmp_path: Path) -> None:
    sent: list[int] = []
    aws.s3().meta.events.register(
        "before-parameter-build.s3.UploadPart",
        lambda params, **_: sent.append(params["PartNumber"]),
    )
    files = {f"mart/t/{name}.parquet": tmp_path / name for name in "ab"}
    contents = [bytes(load.PART_SIZE) + b"end", b"short"]
    for path, content in zip(files.values(), contents, strict=True):
        path.write_bytes(content)
    # One that ends before the last part; then a file has changed.
    *brought, _ = [part for key, path in files.items() for part in load.begin(key, path)]
    for part in brought:
        load.bring(part)
    assert not [*aws.keys("mart/")]
    contents[0] = bytes(load.PART_SIZE) + b"another end"
    tmp_path.joinpath("a").write_bytes(contents[0])
    sent.clear()
    progress: list[int] = []
    load.upload(files, progress.append)
    assert [aws.read(key) for key in files] == contents
    assert sorted(sent) == [1, 2]  # of b and of a: the first part of a was there
    assert sum(progress) == sum(map(len, contents))
    assert "Uploads" not in aws.s3().list_multipart_uploads(Bucket=aws.bucket())


@pytest.mark.usefixtures("bucket")
def test_only_a_mart_as_usecase_toml_wants_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = USE_CASE.data.tables
    wanted = replace(USE_CASE, mart={first: config.Table(unique=("a",))})
    monkeypatch.setattr(config, "load", lambda: wanted)
    with pytest.raises(OpsError, match=f"no Parquet files of the tables of .*/{first}/"):
        load.load(tmp_path)
    for name in USE_CASE.data.tables:
        (tmp_path / name).mkdir()
        pl.DataFrame({"a": [1, 1]}).write_parquet(tmp_path / name / "x.parquet")
    with pytest.raises(UseCaseError, match=f"{first}: unique: a: 1 values .* first 1$"):
        load.load(tmp_path)
    assert not [*aws.keys("mart/")]
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / first / "x.parquet")
    load.load(tmp_path)
    loaded = {f"mart/{name}/x.parquet" for name in USE_CASE.data.tables}
    assert {key for key in aws.keys("mart/") if key.endswith(".parquet")} == loaded
    for name in others:  # it is in the mart
        (tmp_path / name / "x.parquet").unlink()
    load.load(tmp_path)
