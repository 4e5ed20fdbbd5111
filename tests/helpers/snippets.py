"""The fenced snippets of the documents: found by kind, commands parsed, Python run, changes applied."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import itertools
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "training", "assets", "tests", "tools", "app", "ktb")
LOCAL = "http://127.0.0.1:7860"  # where the documents' server listens

RUN, NOT_RUN, FILE, CHANGED = "run", "not run:", "file:", "in the changed copy"
SHELL = ("bash", "")  # the cards' commands stand in fences without a word
DATA = ("json", "yaml", "toml")
AS_THEY_ARE = ("text", "bibtex", "nginx", "dockerfile")
KINDS = (*SHELL, *DATA, *AS_THEY_ARE, "python", "diff")

RUN_ELSEWHERE = {"docs/weights.md": "tests/checkpoints/test_weights_doc.py"}
"""Documents whose snippets need servers of their own, and the test that runs them there."""

# Programs and modules that are not ours: nobody here can say which options they have.
OTHER_PROGRAMS = {
    *(
        "apt",
        "apt-get",
        "cd",
        "cp",
        "curl",
        "docker",
        "export",
        "git",
        "huggingface-cli",
        "hf",
        "ls",
        "mkdir",
    ),
    *("pip", "pyright", "ruff", "sha256sum", "source", "sudo", "systemctl", "unzip", "uv"),
}
OTHER_MODULES = {"build", "pip", "pytest", "venv"}


@dataclass(frozen=True)
class Snippet:
    """One fence of a document: `mark` is what the HTML comment right above it says."""

    document: str
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Every Markdown file of the project, relative to its root."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def read(document: str) -> str:
    """The text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def snippets(document: str, text: str | None = None) -> list[Snippet]:
    """The fences of a document in their order."""
    found, opened, mark = [], None, ""
    for number, line in enumerate((read(document) if text is None else text).splitlines(), 1):
        bare = line.strip()
        if opened is None and bare.startswith("```"):
            opened = (number, bare.strip("`").split(" ")[0], len(line) - len(line.lstrip()), [])
        elif opened is not None and bare == "```":
            start, language, _, lines = opened
            found.append(Snippet(document, start, language, "\n".join(lines) + "\n", mark))
            opened, mark = None, ""
        elif opened is not None:
            opened[3].append(line[opened[2] :])
        elif bare:
            comment = re.fullmatch(r"<!--\s*(.*?)\s*-->", bare)
            mark = comment[1] if comment else ""
    assert opened is None, f"{document}: the fence of line {opened[0]} is not closed"
    return found


def needing_the_page(document: str) -> list[Snippet]:
    """The Python snippets from the first one on that calls the page: test_docs.py runs them."""
    found = [snippet for snippet in snippets(document) if snippet.language == "python"]
    first = next((index for index, snippet in enumerate(found) if LOCAL in snippet.text), len(found))
    return found[first:]


def blocks(text: str, language: str) -> list[str]:
    """The contents of a text's fences of a language."""
    return [snippet.text for snippet in snippets("", text) if snippet.language == language]


def prose(text: str) -> str:
    """A document without its fences."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands in backticks in the prose, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


# Commands


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell snippet, as words; what a variable is set to before one is left out."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\||;|\|", line) if "'" not in line and '"' not in line else [line]:
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


def span_commands(text: str) -> Iterator[list[str]]:
    """Commands of ours that the prose names; they need not be complete."""
    for span in spans(text):
        if re.match(r"(python -m (ktb|training|app)\b|python app\.py|ktb [a-z])", span):
            yield [word for word in shlex.split(span) if word not in ("…", "...")]


class _Found(Exception):
    """Carries a parser out of a command."""

    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


def command_module(name: str) -> str:
    """The module that `python -m NAME` runs: of a package its `__main__`."""
    spec = importlib.util.find_spec(name)
    return f"{name}.__main__" if spec and spec.submodule_search_locations else name


class Parsers:
    """The argument parsers of our modules and of app.py, each taken from the command itself, once."""

    def __init__(self):
        self._parsers: dict[str, Any] = {}

    def __getitem__(self, module: str) -> Any:
        if module not in self._parsers:
            self._parsers[module] = self._take(module)
        return self._parsers[module]

    def _take(self, module: str) -> Any:
        def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
            raise _Found(parser)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, "parse_args", stop)
            try:
                if module == "app.py":
                    runpy.run_path(str(ROOT / module), run_name="__main__")
                else:
                    loaded = importlib.import_module(command_module(module))
                    for part in (getattr(loaded, name, None) for name in ("app", "cli")):
                        if isinstance(part, typer.Typer):
                            return typer.main.get_command(part)
                    loaded.main()
            except _Found as found:
                return found.parser
        raise AssertionError(f"{module} has no parser of arguments")


PARSERS = Parsers()


def check_command(words: Sequence[str], complete: bool = True) -> None:
    """Parse a command as its program would; AssertionError or ValueError for what it would refuse.

    complete: False lets required arguments be missing, as in a sentence.
    """
    program, *rest = words
    name = Path(program).name
    if name in ("accelerate", "torchrun"):
        check_launched(name, rest)
    elif name == "ktb":
        check_arguments("ktb", rest, complete)
    elif name.startswith("python"):
        check_python(rest, complete)
    elif name == "pip":
        check_pip(rest)
    else:
        assert name in OTHER_PROGRAMS, (
            f"{program} is a program that nobody checks; see tests/helpers/snippets.py"
        )


def check_python(rest: Sequence[str], complete: bool) -> None:
    """Check what stands behind `python`: a module of ours, a script, or code."""
    if rest[0] == "-c":
        compile(rest[1], "-c", "exec")
    elif rest[0] == "-m":
        module, *arguments = rest[1:]
        top = module.split(".")[0]
        if top in ("ktb", "training", "app", "tools"):
            check_arguments(module, arguments, complete)
        else:
            assert module in OTHER_MODULES, f"python -m {module}: a module that nobody checks"
            for word in arguments:
                assert not word.endswith(".py") or (ROOT / word).is_file(), f"{word} does not exist"
    elif rest[0] == "app.py":
        check_arguments("app.py", rest[1:], complete)
    else:
        assert (ROOT / rest[0]).is_file(), f"{rest[0]} does not exist"
        unknown = flags(rest[1:]) - script_flags(ROOT / rest[0]) - {"--help"}
        assert not unknown, f"{rest[0]} has no {', '.join(sorted(unknown))}"


def check_arguments(module: str, arguments: Sequence[str], complete: bool) -> None:
    """Parse a module's arguments by the parser of the module."""
    parser = PARSERS[module]
    if "--help" in arguments:
        arguments = [word for word in arguments if word != "--help"]
        complete = False
    if isinstance(parser, argparse.ArgumentParser):
        options = parse(parser, list(arguments), complete)
        if module.startswith("training.") and options is not None:
            check_training_names(module, options)
        return
    rest = list(arguments)
    while rest and hasattr(parser, "commands"):  # a group
        assert rest[0] in parser.commands, f"{module} has no command {rest[0]}"
        parser, rest = parser.commands[rest[0]], rest[1:]
    try:
        parser.make_context(module, rest)
    except Exception as error:  # some typers bring a click of their own, with classes of their own
        lacks = type(error).__name__ in ("MissingParameter", "NoArgsIsHelpError")
        if complete or not lacks:
            raise


def flags(arguments: Sequence[str]) -> set[str]:
    """The options among arguments, without their values."""
    return {argument.split("=")[0] for argument in arguments if argument.startswith("--")}


def script_flags(path: Path) -> set[str]:
    """The options of a script, from its text."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = (call.args for call in calls if getattr(call.func, "attr", "") == "add_argument")
    return {value.value for values in named for value in values if isinstance(value, ast.Constant)}


def parse(
    parser: argparse.ArgumentParser, arguments: list[str], complete: bool = True
) -> argparse.Namespace | None:
    """Parse without abbreviations, which argparse would take; None where something required is missing."""
    unknown = flags(arguments) - set(parser._option_string_actions)
    assert not unknown, f"{parser.prog} has no {', '.join(sorted(unknown))}"
    message: list[str] = []

    def refuse(text: str) -> None:
        message.append(text)
        raise SystemExit(2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "error", refuse)
        try:
            return parser.parse_args(arguments)
        except SystemExit:
            if not complete and message and "required" in message[0]:
                return None
            raise AssertionError(f"{parser.prog}: {''.join(message)}") from None


def check_training_names(module: str, options: argparse.Namespace) -> None:
    """Names among a command's values: recipes with their settings, datasets, splits, families."""
    from training.data.datasets import REGISTRY
    from training.data.datasets.sample import choose
    from training.recipes import get_recipe, override
    from training.robustness.conditions import select

    if module == "training.train":
        recipe = override(get_recipe(options.recipe), options.set)
        assert recipe.dataset in REGISTRY or recipe.dataset.endswith(".yaml")
    if dataset := getattr(options, "dataset", None):
        assert dataset.endswith(".yaml") or choose("Dataset", dataset, REGISTRY)
        if dataset in REGISTRY:
            splits = options.split if isinstance(options.split, list) else [options.split]
            assert set(filter(None, splits)) <= set(REGISTRY[dataset].splits)
            if modality := getattr(options, "modality", None):
                assert modality in REGISTRY[dataset].modalities
    for names in (getattr(options, "families", None), getattr(options, "robustness", None)):
        select(names, "depth")


def check_launched(launcher: str, rest: Sequence[str]) -> None:
    """accelerate launch or torchrun, and the module that it starts."""
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    rest = list(rest)
    if launcher == "accelerate":
        assert rest.pop(0) == "launch"
    parser = launch_command_parser() if launcher == "accelerate" else get_args_parser()
    launched = parser.parse_args(rest)
    assert launched.module
    check_python(["-m", launched.training_script, *launched.training_script_args], complete=True)


def check_pip(rest: Sequence[str]) -> None:
    """Files of requirements exist, and the extras of our own package."""
    for flag, value in itertools.pairwise(rest):
        assert flag != "-r" or (ROOT / value).is_file(), f"pip install -r {value}: no such file"
    for word in rest:
        if extras := re.fullmatch(r"\.\[(.*)\]", word):
            declared = re.findall(
                r"^(\w+) = \[", read("pyproject.toml").split("optional-dependencies]")[1], re.M
            )
            assert set(extras[1].split(",")) <= set(declared), f"pip install {word}: no such extra"


# Running


class Running:
    """Runs a document's snippets in turn: Python shares its names, commands run in this process."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: dict[str, Any] = {}
        self.held = 0
        self.outputs: list[tuple[list[str], str]] = []

    def run(self, snippet: Snippet) -> None:
        """Write, execute or skip a snippet as its language and mark say."""
        if snippet.mark.startswith(FILE):
            path = self.folder / snippet.mark.removeprefix(FILE).strip()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text, encoding="utf-8")
        elif snippet.language == "python" and not snippet.mark.startswith((NOT_RUN, CHANGED)):
            self.held += follow([snippet.text], str(snippet), self.names)
        elif snippet.language in SHELL and snippet.mark == RUN:
            with small_networks():
                for words in commands(snippet.text):
                    self.outputs.append((words, run_command(words)))


@contextmanager
def small_networks(side: int = 96) -> Iterator[None]:
    """Predictors see small pictures unless told otherwise: of commands, no number is compared."""
    from ktb.inference.predictor import Predictor

    original = Predictor.__init__

    def quick(self: Predictor, model: Any, short_side: int | None = None, *rest: Any, **more: Any) -> None:
        original(self, model, short_side or side, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "__init__", quick)
        yield


def run_all(pairs: Sequence[tuple[str, str]], name: str) -> int:
    """Run (language, text) in turn: Python shares its names, commands run; gives the number of arrows."""
    names: dict[str, Any] = {}
    held = 0
    for language, text in pairs:
        if language == "python":
            held += follow([text], name, names)
        else:
            for words in commands(text):
                run_command(words)
    return held


def run_command(words: Sequence[str]) -> str:
    """Run `python -m ktb …` or `python -m training.… …` in this process; gives what it printed."""
    from typer.testing import CliRunner

    program, flag, module, *arguments = words
    assert (Path(program).name, flag) == ("python", "-m"), f"{' '.join(words)}: only modules of ours are run"
    if module == "ktb":
        from ktb.__main__ import app

        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
        return result.stdout
    assert module.startswith("training."), f"{module}: only modules of ours are run"
    try:
        importlib.import_module(command_module(module)).main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise AssertionError(f"{' '.join(words)} ended with {ended.code}") from ended
    return ""


def follow(texts: Sequence[str], document: str, names: dict[str, Any] | None = None) -> int:
    """Run snippets that continue each other; all arrows (`code  # → value`) must hold; gives their number."""
    names = {} if names is None else names
    held = 0
    for text in texts:
        exec(compile(text, document, "exec"), names)
        for code, said in re.findall(r"^(\S.*?) +# → (.*)$", text, re.MULTILINE):
            found = eval(code, names)
            assert as_said(found, said), f"{document}: {code} is {found!r}, not {said}"
            held += 1
    assert held == "".join(texts).count("# →"), (
        f"{document}: an arrow does not follow an expression on its line"
    )
    return held


def as_said(value: Any, said: str) -> bool:
    """Whether a value is what a document says, numbers to the digits that it gives."""
    expected = ast.literal_eval(said)
    numbers = expected if isinstance(expected, tuple) else (expected,)
    if any(isinstance(number, float) for number in numbers):
        digits = max(len(part) for part in re.findall(r"\d\.(\d+)", said))
        return value == pytest.approx(expected, abs=0.75 * 10**-digits)
    return value == expected


# Changes


def hunks(diff: str) -> Iterator[tuple[str, str, str]]:
    """(file, text before, text after) of each change of a diff without line numbers."""
    file = ""
    for part in re.split(r"^(?=--- a/)", diff, flags=re.MULTILINE):
        if not part.strip():
            continue
        head, *changes = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
        file = re.search(r"^\+\+\+ b/(\S+)$", head, re.MULTILINE)[1]
        for change in changes:
            lines = [line or " " for line in change.splitlines()]
            before, after = ([line[1:] for line in lines if line[0] in kept] for kept in (" -", " +"))
            yield file, "\n".join(before) + "\n", "\n".join(after) + "\n"


def apply(diff: str, root: Path) -> None:
    """Make the changes below `root`; AssertionError for one whose place is not there exactly once."""
    for name, before, after in hunks(diff):
        path = root / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has this {text.count(before)} times:\n{before}"
        path.write_text(text.replace(before, after), encoding="utf-8")


def copy_code(folder: Path, packages: Sequence[str] = ("ktb", "training", "app")) -> None:
    """Copy the packages to a folder, where they can be changed."""
    for package in packages:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
