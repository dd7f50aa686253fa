"""What `make pins` makes of the versions that uv finds."""

import pytest
from jinja2 import Environment

from tests import matrix
from tools import pins

ALWAYS = {"polars": "2.1.0"}
BY_ANSWER = {
    question: [
        (
            option,
            ALWAYS
            | ({"jsonata-python": "0.7.1"} if option == "step_functions" else {})
            | ({} if option == "batch" else {"uvicorn": "0.54.0"})
            | ({"shared": "1.0"} if option in ("step_functions", "regression") else {}),
        )
        for option in options
    ]
    for question, options in matrix.choices().items()
}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ["polars==2.1.0", "uvicorn==0.54.0"]),
        ({"inference_mode": "batch"}, ["polars==2.1.0"]),
        (
            {"orchestrator": "step_functions"},
            ["jsonata-python==0.7.1", "polars==2.1.0", "shared==1.0", "uvicorn==0.54.0"],
        ),
        (
            {"problem_type": "regression", "inference_mode": "batch"},
            ["polars==2.1.0", "shared==1.0"],
        ),
    ],
)
def test_project_is_told_of_its_own_packages(answers: matrix.Answers, expected: list[str]) -> None:
    template = Environment(keep_trailing_newline=True).from_string(pins.tested(BY_ANSWER))  # noqa: S701 - no HTML
    text = template.render(matrix.defaults() | answers)
    assert text == "".join(f"{pin}\n" for pin in expected)


def test_two_versions_of_a_package_are_refused() -> None:
    lines = ["a==1 ; sys_platform == 'win32'", "a==1 ; sys_platform != 'win32'", "b==2"]
    assert pins.versions(lines) == {"a": "1", "b": "2"}
    with pytest.raises(SystemExit, match="a: has several versions"):
        pins.versions([*lines, "a==3 ; sys_platform == 'darwin'"])
    with pytest.raises(SystemExit, match=r"a: is 2 or 1, as answers differ"):
        pins.tested({"orchestrator": [("one", {"a": "1"}), ("other", {"a": "2"})]})


def test_package_of_one_choice_comes_with_whatever_others_are_chosen() -> None:
    options = matrix.choices()["monitors"]
    with_it = [(option, {"scipy": "1"} if "data_quality" in option else {}) for option in options]
    text = pins.tested({"monitors": with_it})
    assert text == "{% if 'data_quality' in monitors -%}\nscipy==1\n{% endif -%}\n"
