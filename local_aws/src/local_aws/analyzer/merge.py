"""The merge of captured predictions with the labels that came in later.

What AWS runs in an image of its own, `sagemaker-model-monitor-groundtruth-merger`. Formats:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from local_aws.analyzer import records
from local_aws.analyzer.records import Captured
from local_aws.analyzer.settings import Settings


def run(settings: Settings) -> str:
    """Write each captured record that has a label, with it, in the folders of the capture.

    Of several labels with one id the last counts, in order of the files' names, which begin with
    the hour: a label can be corrected. Of several predictions with one id the last counts too. A
    label belongs to a request, so requests of several rows cannot be matched.

    Returns:
        The exit message.

    Raises:
        AnalysisError: A line is not a JSON object.
    """
    labels = {
        line.identity: line.record["groundTruthData"]
        for line in records.read(Path(settings.get("ground_truth_source")))
        if line.identity and line.record.get("groundTruthData", {}).get("data") is not None
    }
    found: dict[str, Captured] = {}
    count = 0
    for line in records.read(settings.source):
        count += 1
        if line.identity in labels and _single(line):
            found[line.identity] = line
    folders: dict[Path, list[str]] = defaultdict(list)
    for identity, line in found.items():
        merged = {
            "eventVersion": line.record.get("eventVersion", "0"),
            "groundTruthData": labels[identity],
            "captureData": line.record["captureData"],
            "eventMetadata": line.record["eventMetadata"],
        }
        folders[line.path.parent.relative_to(settings.source)].append(json.dumps(merged) + "\n")
    for folder, lines in folders.items():
        target = settings.output / folder
        target.mkdir(parents=True, exist_ok=True)
        # Always the same name: windows may overlap, and what is merged again is not to count twice.
        (target / "part-00000.jsonl").write_text("".join(lines))
    return f"Completed: {len(found)} of {count} records merged with {len(labels)} labels."


def _single(line: Captured) -> bool:
    try:
        return len(line.rows("endpointOutput")) == 1
    except (ValueError, KeyError, TypeError):
        return False
