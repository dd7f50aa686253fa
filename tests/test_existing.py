"""A project comes into a repository that exists: nothing of it is lost, and updates go on."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import copier
import pytest

from tests import template, test_cookiecutter, test_update, versions

pytestmark = pytest.mark.wide
PROGRAMS = Path(sys.executable).parent
DOCUMENT = (template.ROOT / "docs" / "existing-repository.md").read_text()
#: As people try things out: no docstring, no types, names of one letter, imports in the middle.
SCRIPT = """\
import pandas as pd, numpy as np
df = pd.read_csv('data/churn.csv')
X = df.drop(columns=['churned']); y = df.churned
from sklearn.linear_model import LogisticRegression
assert (m := LogisticRegression().fit(X.fillna(0), y)) is not None
print(np.round(m.predict_proba(X)[:, 1], 2))
"""


def proof_of_concept(folder: Path) -> Path:
    """A repository with a README, a pyproject, a notebook, a script and data."""
    source = f"%matplotlib inline\n{SCRIPT}df.head()"
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "source": source,
    }
    notebook = {
        "cells": [cell | {"outputs": []}],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    files = {
        "README.md": "# Who leaves us?\n\nA proof of concept.\n",
        ".gitignore": ".ipynb_checkpoints/\n",
        "pyproject.toml": '[project]\nname = "poc"\nversion = "1"\ndependencies = ["pandas"]\n',
        "notebooks/explore.ipynb": json.dumps(notebook),
        "train.py": SCRIPT,
        "data/churn.csv": "age,churned\n40,0\n50,1\n",
        "infra/permissions.py": "# of another kind\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    template.commit(folder, "A proof of concept")
    return folder


def commands(section: str) -> list[str]:
    """The commands of a section of the document."""
    text = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?m)^```console\n(.*?)^```", text, re.DOTALL)


def follow(lines: str, repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Do what the document says, with the default answers."""
    lines = lines.replace("uvx copier copy", f"'{PROGRAMS}/copier' copy --defaults")
    return subprocess.run(
        ["bash", "-e", "-c", lines.replace("<this repository>", f"'{repository}'")],
        cwd=folder,
        env=template.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def migrate(project: Path) -> None:
    """Bring features that are written in pandas, and a pipeline, as the document says."""
    section = DOCUMENT.partition("\n## From pandas and scikit-learn\n")[2]
    call, fit, transformer, imports = re.findall(r"(?m)^```python\n([\s\S]*?)^```", section)
    for line in commands("From pandas and scikit-learn")[0].splitlines():
        template.run(line.split(), project)
    features, model = project / "src/usecase/features.py", project / "src/usecase/model.py"
    prepared = (
        "def prepared(frame: pd.DataFrame) -> pd.DataFrame:\n"
        '    """As the notebook had it."""\n'
        '    return frame.assign(log_price=np.log(frame["price"]))\n\n\n'
    )
    replace(features, "import polars", "import numpy as np\nimport pandas as pd\nimport polars")
    replace(features, "def build", f"{prepared}def build")
    replace(features, "    return records.with_columns", f"{call}    return records.with_columns")
    replace(model, r"        columns = transformer[\s\S]*?(?=        # Nothing has to be)", fit)
    replace(model, r"def transformer[\s\S]*", transformer)
    replace(model, r"(?m)^import skops.io\n", f"import skops.io\n{imports}")
    replace(model, r"TRUSTED = \[\n", 'TRUSTED = [\n    "numpy.dtype",\n')
    (hyperparameters,) = re.findall(r"(?m)^```toml\n([\s\S]*?)^```", section)
    use_case = project / "usecase.toml"
    replace(use_case, r"\[training\.hyperparameters\]\n(?:.+\n)*", hyperparameters)
    replace(use_case, '"price"', '"log_price"')
    template.run(["uv", "run", "poe", "fix"], project)


def replace(file: Path, pattern: str, text: str) -> None:
    """Replace the one place in a file."""
    changed, times = re.subn(pattern, lambda _: text, file.read_text())
    assert times == 1, f"{pattern} is {times} times in {file}"
    file.write_text(changed)


def test_nothing_is_overwritten_unasked_or_left_half_written(
    repository: Path, tmp_path: Path
) -> None:
    folder = proof_of_concept(tmp_path / "flight-delays")
    before = template.contents(folder)
    taken = r"pyproject.toml, README.md, \.gitignore, infra/permissions.py. Copy into a new folder"
    with pytest.raises(ValueError, match=taken):
        copier.run_copy(str(repository), folder, defaults=True, quiet=True)
    refused = test_cookiecutter.run(tmp_path, "--no-input", "-f", repository)
    assert refused.returncode
    assert re.search(taken, refused.stderr)
    assert template.contents(folder) == before
    # Who asks for it gets it.
    skip = ["README.md", "pyproject.toml"]
    copier.run_copy(
        str(repository), folder, defaults=True, overwrite=True, skip_if_exists=skip, quiet=True
    )
    after = template.contents(folder)
    kept = {name for name in before if before[name] == after[name]}
    assert before.keys() - kept == {".gitignore", "infra/permissions.py"}
    # What is there by now is refused as a whole, the files in the deepest folders too.
    with pytest.raises(ValueError, match=rf"and {len(after.keys() - kept) + 2 - 5} more"):
        copier.run_copy(str(repository), folder, defaults=True, quiet=True)


def test_project_in_a_folder_of_the_repository(repository: Path, tmp_path: Path) -> None:
    folder = proof_of_concept(tmp_path / "poc")
    (lines,) = commands("A folder of its own")
    copy, add, commit = lines.splitlines()
    assert "git init" not in follow(copy, repository, folder).stderr
    follow(add, repository, folder)
    project = folder / "ml"
    assert test_update.merged(project).returncode == 0, "before the first commit"
    follow(commit, repository, folder)
    assert not template.run(["git", "status", "--porcelain"], folder)
    versions.update(project, {"triggers": ["drift"]})
    assert test_update.merged(project).returncode == 0
    expected = proof_of_concept(tmp_path / "expected")
    template.render(repository, expected / "ml", {"triggers": ["drift"]})
    found = {name: file for name, file in template.contents(folder).items() if "/__py" not in name}
    assert found == template.contents(expected)


def test_repository_becomes_the_project(repository: Path, tmp_path: Path) -> None:
    folder = proof_of_concept(tmp_path / "poc")
    (folder / "infra" / "permissions.py").unlink()
    template.commit(folder, "Nothing else in the way")
    before = {name: (folder / name).read_text() for name in (".gitignore", "README.md")}
    merge, commit = commands("The repository becomes the project")
    conflicts = follow(merge, repository, folder)
    assert {*re.findall(r"Merge conflict in (.*)", conflicts.stdout)} == {
        *(".gitignore", "README.md", "pyproject.toml")
    }
    template.run(["git", "checkout", "--theirs", "pyproject.toml"], folder)
    assert "README.md:1:<<<<<<< HEAD" in test_update.merged(folder).stdout
    for name in (".gitignore", "README.md"):
        text = re.sub(r"(?m)^(<{7}|={7}|>{7}).*\n", "", (folder / name).read_text())
        assert text.startswith(before[name])
        (folder / name).write_text(text)
    follow(commit.partition("uv lock")[0], repository, folder)
    assert test_update.merged(folder).returncode == 0
    assert not (tmp_path / "from-kakehashi").exists()
    moved = commands("Notebooks and packages")[0].splitlines()[0]
    template.run(["bash", "-c", moved], folder)
    for command in ("format", "check --fix", "check", "format --check"):  # `poe fix`, `poe check`
        template.run([PROGRAMS / "ruff", *command.split()], folder)
    template.commit(folder, "Format the notebooks")
    versions.update(folder, {"triggers": ["drift"]})
    assert test_update.merged(folder).returncode == 0
    assert (folder / "README.md").read_text().startswith(before["README.md"])
    assert versions.answers_of(folder)["triggers"] == ["drift"]
