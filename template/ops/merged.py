"""`poe merged`: whether `copier update` has left anything to merge by hand."""

import subprocess
import sys

ANSWERS = ".copier-answers.yml"
MARKER = "^(<{7}|>{7}) "


def main() -> None:
    """Name all that is left, and end with status 1 if anything is."""
    if not git("rev-parse", "--quiet", "--verify", "HEAD"):
        return  # nothing committed, nothing updated
    left = [
        *git("grep", "--untracked", "-I", "--line-number", "--extended-regexp", MARKER),
        # Those that .gitignore leaves out, too.
        *git("ls-files", "--cached", "--others", "--", "*.rej", ":!.venv"),
        *removed(),
    ]
    if left:
        print("\n".join(["Merge this by hand, then commit:", *left]))
        sys.exit(1)


def removed() -> list[str]:
    """Files that an update which is not committed yet has removed, though they were edited."""
    # Where the repository is older than the project, the answers may still have to be committed.
    answered = git("rev-list", "-1", "HEAD", "--", ANSWERS)
    if not answered or not differs("HEAD", ANSWERS):
        return []
    last = answered[0]
    gone = git("diff", "--relative", "--name-only", "--diff-filter=D", "HEAD")
    return [
        f"{file}: removed by the template, but you had changed it: git diff {last} HEAD -- {file}"
        for file in gone
        if differs(last, "HEAD", "--", file)
    ]


def differs(*arguments: str) -> bool:
    """Whether `git diff` finds a difference."""
    return bool(git("diff", "--name-only", *arguments))


def git(*arguments: str) -> list[str]:
    """The lines that git prints; none when it fails or finds nothing."""
    command = ["git", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.splitlines()


if __name__ == "__main__":
    main()
