"""Links from mails lead to pages that are there."""

from pathlib import Path

import pytest

from lambdas import dashboard
from workflows import names

URL = "https://flights.example.com"


def test_every_monitor_has_its_page() -> None:
    assert set(dashboard.PAGES) == set(names.MONITORS)
    for page in (*dashboard.PAGES.values(), "models"):
        assert Path("dashboard/views", f"{page}.py").exists()
        assert f'"views/{page}.py"' in Path("dashboard/app.py").read_text()


def test_link_names_the_page_and_what_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD", URL)
    assert f"  {URL}/models?version=3\n" in dashboard.link("models", version=3)
    assert dashboard.link("").endswith(f"  {URL}/\n")


@pytest.mark.parametrize("url", ["", None])
def test_without_a_dashboard_there_is_no_link(
    monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    monkeypatch.delenv("DASHBOARD", raising=False)
    if url is not None:
        monkeypatch.setenv("DASHBOARD", url)
    assert dashboard.link("models", version=3) == ""
