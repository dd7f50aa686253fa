"""What `poe diff` says of resources that do not stay."""

import json
from pathlib import Path

import pytest

from ops import changes
from ops.changes import Change

# Of aws-cdk 2.1148.1, on the local AWS: a bucket and a queue with other names, no more retraining.
PRINTED = """\
start: Building flight-delays-base Template
Hold on while we create a read-only change set to get a diff with accurate replacement information

Stack flight-delays-base (aws://000000000000/ap-northeast-1)
IAM Statement Changes
┌───┬────────────────────┬────────┬─────────────────┬──────────────────────────────┐
│ + │ ${DeadLetters.Arn} │ Allow  │ sqs:SendMessage │ Service:events.amazonaws.com │
└───┴────────────────────┴────────┴─────────────────┴──────────────────────────────┘
Resources
[~] AWS::S3::Bucket Data Data666C94C7 may be replaced
 └─ [~] BucketName (may cause replacement)
     ├─ [-] flight-delays-000000000000-ap-northeast-1
     └─ [+] flight-delays-000000000000-ap-northeast-1x
[~] AWS::SQS::Queue DeadLetters DeadLettersBBF8BAAB replace
 └─ [~] QueueName (requires replacement)
     ├─ [-] flight-delays-dead-letters
     └─ [+] flight-delays-dead-lettersx

Stack flight-delays-training
Resources
[-] AWS::Logs::LogGroup Retraining/Retrain/Log RetrainingRetrainLog63E655C0 destroy
[-] AWS::S3::Bucket Other Other1 orphan
[~] AWS::SNS::Topic Topic TopicBFC7AF6E
 └─ [~] DisplayName
[+] AWS::SQS::Queue New New1

✨  Number of stacks with differences: 2
"""


def test_only_resources_that_do_not_stay_are_told() -> None:
    base, training = "flight-delays-base", "flight-delays-training"
    assert [*changes.found(PRINTED.splitlines(keepends=True))] == [
        Change(base, "Data666C94C7", "AWS::S3::Bucket", "may be replaced"),
        Change(base, "DeadLettersBBF8BAAB", "AWS::SQS::Queue", "replace"),
        Change(training, "RetrainingRetrainLog63E655C0", "AWS::Logs::LogGroup", "destroy"),
        Change(training, "Other1", "AWS::S3::Bucket", "orphan"),
    ]


@pytest.mark.parametrize(
    ("kind", "impact", "retained", "text"),
    [
        (
            "AWS::S3::Bucket",
            "replace",
            True,
            "is replaced by a new, empty one; the old one stays, in no stack: it holds the",
        ),
        (
            "AWS::SQS::Queue",
            "may be replaced",
            False,
            "may be replaced by a new, empty one; the old one is deleted then: the events",
        ),
        ("AWS::IAM::Role", "destroy", False, "is removed and deleted: it holds no data"),
        ("AWS::S3::Bucket", "orphan", True, "is removed from the stack and stays: it holds"),
    ],
)
def test_change_is_told_with_what_it_means(
    kind: str, impact: str, retained: bool, text: str
) -> None:
    told = Change("a-stack", "Some1", kind, impact).text(retained=retained)
    assert told.startswith(f"a-stack Some1 ({kind}) {text}")


def test_template_says_whether_the_old_one_stays(tmp_path: Path) -> None:
    resources = {"Kept": {"UpdateReplacePolicy": "Retain"}, "Gone": {}}
    (tmp_path / "a.template.json").write_text(json.dumps({"Resources": resources}))
    answers = [
        changes.retained(Change("a", name, "AWS::S3::Bucket", "replace"), tmp_path)
        for name in ("Kept", "Gone", "Removed")
    ]
    assert answers == [True, False, False]


@pytest.mark.parametrize(("code", "words"), [(0, "Nothing would be replaced or removed."), (1, "")])
def test_exit_status_is_that_of_cdk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    code: int,
    words: str,
) -> None:
    npx = tmp_path / "npx"
    npx.write_text(f'#!/bin/sh\necho "$*"\nexit {code}\n')
    npx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CDK", "aws-cdk@1")
    monkeypatch.setattr("sys.argv", ["diff", "a-stack"])
    with pytest.raises(SystemExit) as ended:
        changes.main()
    assert ended.value.code == code
    assert capfd.readouterr().out.splitlines() == [
        "--yes aws-cdk@1 diff --no-color a-stack",
        *([words] if words else []),
    ]
