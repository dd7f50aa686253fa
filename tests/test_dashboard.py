"""The dashboard in a real browser, after a life: what a person sees, and what a click does.

It takes a Chromium (Debian's `chromium`, say), which Playwright drives.
"""

import csv
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import conftest, life, matrix, template

pytestmark = pytest.mark.exhaustive

MONITORS = ["data_quality", "model_quality", "bias", "feature_attribution"]
PAGES = {
    "": "Overview",
    "data": "Data",
    "quality": "Quality",
    "fairness": "Fairness",
    "drivers": "Drivers",
    "models": "Models",
    "what_if": "What if",
    "predictions": "Predictions",
}
RECORD = {"carrier": "UA", "origin": "EWR", "dest": "LAX", "distance": 2454}


@pytest.fixture(scope="module")
def lived(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[life.Life]:
    answers: matrix.Answers = {
        "bi": "streamlit",
        "monitors": MONITORS,
        "explain": "contributions",
    }
    folder = tmp_path_factory.mktemp("dashboard") / "project"
    project = conftest.make_project(repository, folder, answers)
    try:
        yield life.live(project)
    finally:
        life.end(project)


@pytest.fixture(scope="module")
def address(lived: life.Life) -> Iterator[str]:
    """Where `poe dashboard` says that it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["uv", "run", "poe", "dashboard", f"--server.port={port}"],
        cwd=lived.project,
        env=template.environment(lived.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        printed = ""
        for line in process.stdout:
            printed += line
            if found := re.search(r"URL: (http://127\.0\.0\.1:\d+)", line):
                yield found[1]
                return
        raise AssertionError(f"it has no address:\n{printed}")
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=30)
        process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: Browser, url: str) -> Page:
    """A page of the dashboard, once its script has ended."""
    page = browser.new_page(timezone_id="Asia/Tokyo")
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_selector("h1")
    return ended(page)


def ended(page: Page) -> Page:
    """The same, once the script has ended that a click has started."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    return page


@pytest.mark.parametrize("path", PAGES)
def test_page_has_data_and_asks_nobody_else(browser: Browser, address: str, path: str) -> None:
    asked: list[str] = []
    page = opened(browser, f"{address}/{path}")
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector("h1")
    ended(page)
    expect(page.locator("h1")).to_have_text(PAGES[path])
    expect(page.get_by_text("Times are in Asia/Tokyo")).to_be_visible()
    assert page.locator("[data-testid=stException]").count() == 0
    assert not re.search("no window|No version|no predictions", page.inner_text("body"))
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    page.close()


def test_answer_is_that_of_ops_invoke(
    browser: Browser, address: str, lived: life.Life, tmp_path: Path
) -> None:
    page = opened(browser, f"{address}/what_if")
    for name in ("carrier", "origin", "dest"):
        page.get_by_role("combobox", name=name).fill(str(RECORD[name]))
        page.keyboard.press("Enter")
    numbers = {"distance": RECORD["distance"], "precipitation": 0.2, "visibility": 3}
    for name, value in numbers.items():
        page.get_by_role("spinbutton", name=name).fill(str(value))
    page.get_by_role("button", name="Predict").click()
    answer = page.locator("[data-testid=stMetricValue]").inner_text()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_be_visible()
    why = page.get_by_text("The base value is").inner_text()
    departure = re.findall(r"\d+", page.locator("[data-testid=stDateTimeInput]").inner_text())
    page.close()
    year, month, day, hour, *_ = departure
    departs = f"{year}-{month}-{day}T{hour}:00:00Z"
    record = RECORD | numbers | {"scheduled_departure": departs}
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"instances": [record]}))
    (prediction,) = json.loads(lived.ops("invoke", str(file)))["predictions"]
    assert answer == f"{prediction['probability']:.4g}"
    explained = json.loads(lived.ops("invoke", str(file), "--explain"))
    base, parts = explained["base_value"], explained["contributions"].values()
    assert f"The base value is {base:.4g}:" in why
    assert f"the raw score is {base + sum(parts):.4g}." in why


def test_table_is_answered_as_by_ops_invoke(
    browser: Browser, address: str, lived: life.Life, tmp_path: Path
) -> None:
    departs = "2013-07-15T09:00:00Z"
    right = RECORD | {"scheduled_departure": departs, "precipitation": 0.2, "visibility": 3}
    lines = [",".join(right), *(",".join(map(str, row.values())) for row in (right, right))]
    lines.append(lines[1].replace(str(RECORD["distance"]), "far"))
    page = opened(browser, f"{address}/what_if")
    page.get_by_role("button", name="A table").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "rows.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}
    )
    expect(page.get_by_text("1 of 3 rows would be refused")).to_be_visible()
    page.get_by_role("button", name="Predict 2 records").click()
    expect(page.get_by_text("2 rows are answered.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    rows = [*csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines())]
    page.close()
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"instances": [right]}))
    (prediction,) = json.loads(lived.ops("invoke", str(file)))["predictions"]
    assert [row["answer_probability"] for row in rows[:2]] == [str(prediction["probability"])] * 2
    assert 'field distance: "far" is not a number' in rows[2]["problem"]


def test_window_has_a_confusion_matrix_and_segments(browser: Browser, address: str) -> None:
    page = opened(browser, f"{address}/quality")
    for title in ("What was predicted, and what was true", "By segment"):
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_text("labelled predictions, out of")).to_be_visible()
    expect(page.get_by_text("comes first. An orange triangle")).to_be_visible()
    assert "Estimated cost" not in page.inner_text("body")
    page.close()


def test_approval_deploys(browser: Browser, address: str, lived: life.Life) -> None:
    page = opened(browser, f"{address}/models")
    page.get_by_label("Reason").first.fill("fewer false alarms")
    button = page.get_by_role("button", name="Approve version")
    number = button.inner_text().split()[-1]
    button.click()
    told = f"Version {number} is approved, and is being deployed."
    expect(page.get_by_text(told)).to_be_visible(timeout=30_000)
    page.close()
    waiting = f"endpoint.wait_until_serving(models.find({number}).arn)"
    code = ["python", "-c", f"from ops import endpoint, models; {waiting}"]
    template.run(["uv", "run", *code], lived.project, lived.environment)
    page = opened(browser, address)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text(f"Version {number}", exact=True)).to_be_visible()
    page.close()
    package = lived.client("sagemaker").describe_model_package(
        ModelPackageName=f"arn:aws:sagemaker:{lived.result['answers']['aws_region']}:000000000000:"
        f"model-package/{lived.slug}/{number}"
    )
    assert package["ApprovalDescription"].startswith("fewer false alarms (local: ")
