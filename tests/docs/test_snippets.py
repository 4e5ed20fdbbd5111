"""Every fenced snippet of every document: its kind is known, commands parse, Python runs, changes apply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.snippets import (
    CHANGED,
    DATA,
    FILE,
    KINDS,
    NOT_RUN,
    RUN,
    RUN_ELSEWHERE,
    SHELL,
    Running,
    Snippet,
    apply,
    as_said,
    check_command,
    commands,
    copy_code,
    documents,
    follow,
    hunks,
    needing_the_page,
    read,
    snippets,
    span_commands,
)

from ktb.batch.journal import RESULTS

READERS = {"json": json.loads, "yaml": yaml.safe_load}
if sys.version_info >= (3, 11):
    import tomllib

    READERS["toml"] = tomllib.loads
ROOT = Path(__file__).resolve().parents[2]
ALL = {document: snippets(document) for document in documents()}
pytestmark = pytest.mark.usefixtures("one_thread")


def runs(snippet: Snippet) -> bool:
    """Whether a snippet is run by `test_a_document_runs`."""
    if snippet.mark.startswith((NOT_RUN, CHANGED)) or snippet in needing_the_page(snippet.document):
        return False
    if snippet.document in RUN_ELSEWHERE:
        return False
    return snippet.language == "python" or snippet.mark == RUN


def problems_of(snippet: Snippet) -> list[str]:
    """What is wrong with a snippet before anything runs."""
    if snippet.mark.startswith(NOT_RUN):
        return (
            [] if snippet.mark.removeprefix(NOT_RUN).strip() else [f"{snippet}: not run, and no reason given"]
        )
    if snippet.language not in KINDS:
        return [f"{snippet}: nobody checks a fence of {snippet.language!r}; see CONTRIBUTING.md"]
    try:
        if snippet.language == "python":
            compile(snippet.text, str(snippet), "exec")
        elif snippet.language in SHELL and snippet.mark != CHANGED:
            for words in commands(snippet.text):
                check_command(words)
        elif snippet.language in DATA:
            {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}[snippet.language](
                snippet.text
            )
        elif snippet.language in ("bibtex", "nginx"):
            assert snippet.text.count("{") == snippet.text.count("}") > 0, "braces do not pair up"
        elif snippet.language == "dockerfile":
            first = [
                line.split()[0] for line in snippet.text.replace("\\\n", " ").splitlines() if line.strip()
            ]
            assert first[0] == "FROM", "does not begin with FROM"
            assert all(word.isupper() or word == "#" for word in first), "an instruction is not in capitals"
    except Exception as error:  # parsers of many kinds
        return [f"{snippet}: {type(error).__name__}: {error}"]
    return []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder beside nothing but the project's assets."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documents_are_found():
    assert {"README.md", "docs/api.md", "docs/extending.md", "training/README.md"} <= set(ALL)
    languages = [snippet.language for found in ALL.values() for snippet in found]
    assert languages.count("python") > 20
    assert languages.count("bash") > 20
    assert sum(runs(snippet) for found in ALL.values() for snippet in found) > 20


def test_what_runs_elsewhere_does():
    for document, test in RUN_ELSEWHERE.items():
        if document in ALL:
            assert Path(document).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ALL)
def test_every_snippet_is_of_a_known_kind_and_parses(document):
    problems = [problem for snippet in ALL[document] for problem in problems_of(snippet)]
    for words in span_commands(read(document)):
        try:
            check_command(words, complete=False)
        except Exception as error:  # parsers of many kinds
            problems.append(f"{document}: `{' '.join(words)}`: {type(error).__name__}: {error}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "document", [document for document in ALL if any(runs(snippet) for snippet in ALL[document])]
)
def test_a_document_runs(document, folder):
    running = Running(folder)
    for snippet in ALL[document]:
        if runs(snippet) or snippet.mark.startswith(FILE):
            running.run(snippet)
    afterwards = AFTERWARDS.get(document)
    if afterwards:
        afterwards(folder, running)


def readme(folder: Path, running: Running) -> None:
    assert {"prediction.json", "overlay.png"} <= {path.name for path in (folder / "outputs").iterdir()}


def inputs(folder: Path, running: Running) -> None:
    for words, _ in running.outputs:
        assert (folder / words[words.index("--out") + 1]).exists(), words
    assert len(running.outputs) >= 4
    assert running.names["alone"].x.origin == "missing"


def large_and_many(folder: Path, running: Running) -> None:
    first, second, third = (output for _, output in running.outputs)
    assert first
    assert json.loads((folder / "tiled/prediction.json").read_text())["network_size"]["height"] == 288
    assert "4 done, 0 failed" in second
    assert "0 done, 4 done by an earlier run" in third
    assert len((folder / "many" / RESULTS).read_text().splitlines()) == 4


def api(folder: Path, running: Running) -> None:
    assert running.held > 20


def inspector(folder: Path, running: Running) -> None:
    assert running.held == 7


def command_line(folder: Path, running: Running) -> None:
    for words, _ in running.outputs:
        assert "--out" not in words or (folder / words[words.index("--out") + 1]).exists(), words
    assert (folder / "adapter.safetensors").stat().st_size < 5_500_000
    assert (folder / "office" / "report.html").is_file()


def extending(folder: Path, running: Running) -> None:
    report = json.loads((folder / "runs/rooms/test.json").read_text())
    assert "protocol" in report
    classes = json.loads((folder / "result/prediction.json").read_text())["branches"]["fused"]
    assert {row["name"] for row in classes} <= {"wall", "floor", "things"}


AFTERWARDS = {
    "README.md": readme,
    "docs/inputs.md": inputs,
    "docs/large_and_many.md": large_and_many,
    "docs/api.md": api,
    "docs/inspector.md": inspector,
    "docs/command_line.md": command_line,
    "docs/extending.md": extending,
}
"""What a document's commands and snippets must have left behind."""


def test_the_changes_of_the_documents_work(tmp_path):
    """In a copy of the code: all diffs and files, then, in a process of its own, what needs them."""
    copy_code(tmp_path)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    everything = [snippet for found in ALL.values() for snippet in found]
    diffs = [snippet.text for snippet in everything if snippet.language == "diff"]
    pairs = [(snippet.language, snippet.text) for snippet in everything if snippet.mark == CHANGED]
    assert len(list(hunks("".join(diffs)))) >= 6
    assert [language for language, _ in pairs] == ["python", "python", "bash", "python"]
    for diff in diffs:
        apply(diff, tmp_path)
    running = Running(tmp_path)
    for snippet in everything:
        if snippet.mark.startswith(FILE):
            running.run(snippet)
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    code = (
        f"import json, sys; sys.path.insert(0, '.'); sys.path.append({str(ROOT / 'tests')!r})\n"
        "import ktb, torch; from helpers.snippets import run_all\n"
        "assert ktb.__file__.startswith(sys.argv[1]), ktb.__file__\n"
        "torch.set_num_threads(1)\n"
        "print(run_all(json.load(open('pairs.json')), 'the changed copy'))"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) >= 12


# The checks themselves can fail.


def test_a_snippet_that_nobody_checks_is_a_problem():
    (unknown,) = snippets("x.md", "```perl\nprint 1\n```\n")
    assert "nobody checks a fence of 'perl'" in problems_of(unknown)[0]
    (marked,) = snippets("x.md", "<!-- not run: needs a printer -->\n\n```perl\nprint 1\n```\n")
    assert problems_of(marked) == []
    (silent,) = snippets("x.md", "<!-- not run: -->\n```perl\nprint 1\n```\n")
    assert "no reason" in problems_of(silent)[0]
    with pytest.raises(AssertionError, match="the fence of line 1 is not closed"):
        snippets("x.md", "```python\nx = 1\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python -m ktb predict --out x --nothing 1", "--nothing"),
        ("python -m ktb paint", "no command paint"),
        ("python -m ktb predict --rgb a.png", "out"),
        ("python -m training.train", "recipe"),
        ("python -m training.train nyuv2-lite --out x --set lrr=1", "lr"),
        ("python -m training.robustness --dataset nyuv2 --out x --familie missing", "no --familie"),
        ("python -m training.evaluate --model x --dataset nyuw2 --out x", "nyuv2"),
        ("python app.py --prot 7860", "no --prot"),
        ("python app.py --runtime fast", "invalid choice"),
        ("python -m tools.figures.make_page_figures --fast", "no --fast"),
        ("python tests/nothing.py", "does not exist"),
        ("python -m http.server", "nobody checks"),
        ("pip install -r nothing.txt", "no such file"),
        ('pip install ".[nothing]"', "no such extra"),
        ("frobnicate now", "nobody checks"),
    ],
)
def test_a_wrong_command_is_a_problem(command, message):
    (wrong,) = snippets("x.md", f"```bash\n{command}\n```\n")
    (problem,) = problems_of(wrong)
    assert message in problem


def test_commands_are_taken_apart():
    text = "KTB_CACHE=/tmp a b && c d  # why\ne \\\n  --f 1\n"
    assert list(commands(text)) == [["a", "b"], ["c", "d"], ["e", "--f", "1"]]
    assert list(span_commands("Use `python -m ktb\nbench` or `ktb_x`.")) == [["python", "-m", "ktb", "bench"]]
    check_command(["python", "-m", "ktb", "predict"], complete=False)


def test_a_wrong_value_behind_an_arrow_is_a_problem():
    assert follow(["x = 1.234\nx  # → 1.23\n"], "x.md") == 1
    assert as_said("2.20 m", "'2.20 m'")
    with pytest.raises(AssertionError, match=r"x is 1\.234, not 1\.30"):
        follow(["x = 1.234\nx  # → 1.30\n"], "x.md")
    with pytest.raises(AssertionError, match="an arrow does not follow an expression"):
        follow(["if True:\n    1  # → 1\n"], "x.md")


def test_a_change_whose_place_is_gone_is_a_problem(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    diff = "--- a/a.py\n+++ b/a.py\n@@\n x = 1\n-y = 2\n+y = 3\n"
    apply(diff, tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1\ny = 3\n"
    with pytest.raises(AssertionError, match=r"a\.py has this 0 times"):
        apply(diff, tmp_path)
