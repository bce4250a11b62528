"""The site: what it shows can be typed, its links lead somewhere, and no module is left out.

Whether it is built without warnings is what `make docs` asks; here nothing needs Sphinx.
"""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import re
import shlex
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from equicomir.cli import COMMANDS
from equicomir.commands import check, data, demo, encode, evaluate, export, register, train
from equicomir.commands.options import parsed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def notebook(path):
    """A notebook as a page: its text, and all of its code as one block."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    code = [
        line for cell in cells if cell["cell_type"] == "code" for line in (*cell["source"], "\n")
    ]
    lines = "".join(line for line in code if not line.startswith("%"))  # which are Jupyter's own
    return "\n\n".join([*text, f"```python\n{lines}\n```"])


PAGES = {path.name: path.read_text() for path in sorted(DOCS.glob("*.md"))}
PAGES |= {path.name: notebook(path) for path in sorted(DOCS.glob("*.ipynb"))}
KINDS = {
    "demo": demo.Demo,
    "train": train.Train,
    "register": register.RegisterOptions,
    "encode": encode.Encode,
    "evaluate": evaluate.Evaluate,
    "check": check.Check,
    "export": export.Export,
    "data": data.Data,
}
#: What a page may import that `make test` does not install, by the extra that does.
FOREIGN = {"dask_jobqueue": "cluster"}
API = re.compile(r"^   (equicomir[\w.]*)$", re.MULTILINE)


def tokens(text):
    """Everything in a page, lines of text taken apart."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def commands(text):
    """Command lines: what is indented, and what stands in a line with a word of options."""
    found = []
    for token in tokens(text):
        if token.type == "code_block":
            found += token.content.strip().replace("\\\n", " ").splitlines()
        elif token.type == "code_inline" and token.content.startswith("equicomir "):
            words = token.content.split()
            found += [token.content] if len(words) > 2 and words[1] in COMMANDS else []
    return [line.strip() for line in found if line.strip()]


def python(text):
    return [t.content for t in tokens(text) if t.type == "fence" and t.info == "python"]


def wrong_with_command(line):
    """Why a command line cannot be typed as it stands; empty if it can."""
    said = shlex.split(line, comments=True)
    variables = [word for word in said if re.fullmatch(r"[A-Z_]+=\S+", word)]
    program, *words = said[len(variables) :]
    name = Path(program).name
    if name == "equicomir":
        return wrong_with_equicomir(words)
    if name == "python":
        return wrong_with_script(*words)
    if name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "".join(f"no target {word}; " for word in words if word not in targets)
    if name == "pip":
        extras = (ROOT / "setup.cfg").read_text()
        missing = [w for w in words if w.endswith(".txt") and not (ROOT / w).exists()]
        wanted = [w for w in words[1:] if not w.startswith("-") and not w.endswith(".txt")]
        return " ".join(missing + [w for w in wanted if f"\n    {w}\n" not in extras])
    return "" if line == "source .venv/bin/activate" else f"{program} is not known here"


def wrong_with_equicomir(words):
    if words and words[0] not in COMMANDS:
        return "" if words == ["--help"] else f"no command {words[0]}"
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            options = parsed(KINDS[words[0]], words[1:], prog=f"equicomir {words[0]}")
        except ValueError as error:
            return str(error)
        except SystemExit:  # after its help
            return ""
    if words[0] == "register":
        wanted = 2 if options.method == "information" else 3
        return "" if len(options.files) == wanted else f"expected {wanted} paths"
    return ""


def wrong_with_script(script, *words):
    if not (ROOT / script).exists():
        return f"no script {script}"
    said = {word.partition("=")[0] for word in words if word.startswith("--")}
    return " ".join(sorted(said - script_options(ROOT / script)))


def script_options(path):
    """Those of a script, and of the frame where it is an experiment stated in it."""
    source = path.read_text()
    if "experiment.frame" in source:
        source += (ROOT / "equicomir/experiment/frame.py").read_text()
    return set(re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", source))


def wrong_with_python(source):
    """Names that are not where a block imports them from, and arguments that they do not take."""
    tree, names, wrong = ast.parse(source), {}, []
    for node in ast.walk(tree):
        imported = []
        if isinstance(node, ast.Import):
            imported = [(alias.name, None, alias.asname) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [(node.module, alias.name, alias.asname) for alias in node.names]
        for module, name, called in imported:
            try:
                there = importlib.import_module(module)
            except ModuleNotFoundError:
                if module not in FOREIGN:
                    wrong.append(module)
                continue
            if name is None:
                names[(called or module).partition(".")[0]] = sys.modules[module.partition(".")[0]]
                continue
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{module}.{name}")  # then it is an attribute
            if hasattr(there, name):
                names[called or name] = getattr(there, name)
            else:
                wrong.append(f"{module}.{name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            wrong += wrong_arguments(found(node.func, names), node)
    return wrong


def found(expression, names):
    """What a name, or a name of a module's, stands for; None where that is not known."""
    if isinstance(expression, ast.Attribute):
        owner = found(expression.value, names)
        return getattr(owner, expression.attr, None) if inspect.ismodule(owner) else None
    return names.get(expression.id) if isinstance(expression, ast.Name) else None


def wrong_arguments(function, call):
    if not inspect.isfunction(function) or not function.__module__.startswith("equicomir"):
        return []
    try:
        keywords = {word.arg: None for word in call.keywords if word.arg}
        inspect.signature(function).bind(*call.args, **keywords)
    except TypeError as error:
        return [f"{function.__name__}: {error}"]
    return []


def slug(heading):
    """The anchor of a heading, as the site makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def wrong_with_link(target):
    """Why a link from a page of ``docs/`` leads nowhere; empty if it does not."""
    if re.match(r"https?://", target):
        return ""
    path, _, anchor = target.partition("#")
    if path.startswith("api/modules/"):  # made of the listing when the site is built
        module = Path(path).stem
        return "" if module in listed() else f"{module} is not in the API"
    if path and not (DOCS / path).with_suffix(Path(path).suffix or ".rst").exists():
        return f"no page {path}"
    headings = re.findall(r"^#+ (.+)$", PAGES.get(path, ""), re.MULTILINE)
    return f"no heading {anchor}" if anchor and anchor not in map(slug, headings) else ""


def listed():
    return [
        name
        for page in sorted((DOCS / "api").glob("*.rst"))
        for name in API.findall(page.read_text())
    ]


def modules():
    """Public modules: every file that says something, but for the one that is only run."""
    files = [p for p in (ROOT / "equicomir").rglob("*.py") if p.read_text().strip()]
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files]
    return {name.removesuffix(".__init__") for name in names} - {"equicomir.__main__"}


def cases(found):
    return [pytest.param(x, id=f"{page}: {x[:60]}") for page in PAGES for x in found(PAGES[page])]


@pytest.mark.parametrize("line", cases(commands))
def test_a_command_that_is_shown_can_be_typed(line):
    assert wrong_with_command(line) == ""


@pytest.mark.parametrize("source", cases(python))
def test_python_that_is_shown_finds_what_it_imports(source):
    assert wrong_with_python(source) == []


def test_the_example_of_the_pixel_convention_holds():
    for source in python(PAGES["how_it_works.md"]):
        exec(compile(source, "how_it_works.md", "exec"), {})


def test_every_option_that_is_named_is_one():
    known = set()
    for name, kind in KINDS.items():
        with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
            parsed(kind, ["--help"], prog=name)
        known |= set(re.findall(r"--[\w.-]+", shown.getvalue()))
    named = {
        word
        for text in PAGES.values()
        for token in tokens(text)
        if token.type == "code_inline"
        for word in re.findall(r"^--[\w.-]+", token.content)
    }
    scripts = set().union(*map(script_options, (ROOT / "experiments").glob("*.py")))
    assert named - known - scripts - {"--lifetime"} == set()  # which is Dask's


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    targets = [t.attrs["href"] for t in tokens(PAGES[page]) if t.type == "link_open"]
    targets += [t.attrs["src"] for t in tokens(PAGES[page]) if t.type == "image"]
    assert [w for w in map(wrong_with_link, map(str, targets)) if w] == []


def test_every_page_is_reached():
    told = re.search(r"```{toctree}(.*?)```", PAGES["index.md"], re.DOTALL)[1].split()
    assert {Path(name).stem for name in PAGES} - {"index"} <= set(told)


def test_every_public_module_has_one_page():
    assert sorted(listed()) == sorted(modules())


def test_numbers_of_the_comparison_stand_in_the_readme():
    number = re.compile(r"(?<![\w./-])\d+(?:\.\d+)?(?= ?(?:%|px|s\b|pixels))")
    prose = re.sub(r"\(http[^)]*\)", "", PAGES["comparison.md"] + PAGES["not_for.md"])
    readme = (ROOT / "README.md").read_text()
    assert [
        n for n in number.findall(prose) if not re.search(rf"(?<![\d.]){n}(?![\d.]\d)", readme)
    ] == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("equicomir train --imagse A B --out model", "--imagse"),
        ("equicomir register model fixed.tif --out found", "3 paths"),
        ("equicomir trian --out model", "trian"),
        ("make dcos", "dcos"),
        ("python experiments/h9.py", "h9"),
        ("python experiments/h5_high_pass.py --fulll", "--fulll"),
        ("pip install -c constraints.txt left-pad", "left-pad"),
        ("curl somewhere", "curl"),
    ],
)
def test_a_broken_command_is_seen(line, why):
    assert why in wrong_with_command(line)


@pytest.mark.parametrize(
    "source",
    [
        "from equicomir.geometry import rigidd",
        "import equicomir.registration.serach",
        "from equicomir.geometry import rigid\nrigid(90, center=(0, 0))",
        "import equicomir\nequicomir.register(1, 2, 3, mask=4)",
    ],
)
def test_broken_python_is_seen(source):
    assert wrong_with_python(source)


@pytest.mark.parametrize(
    "target", ["first_day.md", "how_it_works.md#nowhere", "api/modules/equicomir.geometri.rst"]
)
def test_a_broken_link_is_seen(target):
    assert wrong_with_link(target)


def docstrings():
    spec = importlib.util.spec_from_file_location("docstrings", DOCS / "docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORDS = st.sampled_from(["|x|", "a", "``a | b``", "(2, *size)", "of", "|", "`c`", ">>>", "*d*"])


@given(st.lists(st.lists(WORDS).map(" ".join)))
def test_docstrings_lose_nothing_and_keep_examples_and_code(lines):
    made = list(docstrings().mended(lines))
    assert [line.replace("\\", "") for line in made] == lines
    for line, mended in zip(lines, made, strict=True):
        code = re.findall(r"``.+?``", mended)
        assert code == re.findall(r"``.+?``", line)
        if line.startswith(">>>"):
            assert mended == line


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("the norm |a - b|^2", r"the norm \|a - b\|^2"),
        ("Shape (batch, *size).", r"Shape (batch, \*size)."),
        ("of the *critics*", "of the *critics*"),
        ("   :type: int | None", "   :type: int | None"),
        (":returns: *The alignment* -- ``score`` is", ":returns: The alignment: ``score`` is"),
    ],
)
def test_docstrings_are_put_right(line, made):
    assert list(docstrings().mended([line])) == [made]
