"""The house's rules that a machine can hold: who imports whom, no cycles, sizes, `__all__`."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import opto
from opto.registry import IMPLEMENTATIONS, implementation

ROOT = Path(opto.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py"))
LEAVES = {
    "opto.cost",
    "opto.errors",
    "opto.evidence",
    "opto.events",
    "opto.execution",
    "opto.program",
    "opto.registry",
    "opto.show",
    "opto.syntax",
    "opto.version",
}

# What each subsystem may import besides itself and the leaves.
ALLOWED = {
    "trace": set(),
    "llm": set(),
    "sandbox": set(),
    "optimizers": {"trace", "llm"},
    "agents": {"trace", "llm"},
    "trainer": {"trace", "llm", "optimizers", "sandbox"},
    "runs": set(),
    "viewer": {"runs"},
    "cli": {"trace", "llm", "optimizers", "trainer", "sandbox", "runs", "viewer"},
    "__main__": {"cli"},
    "utils": {"trace", "llm", "optimizers", "trainer"},
    "features": {"agents", "trace", "llm", "optimizers"},
    "integrations": {"trace", "llm", "optimizers", "trainer", "runs"},
}
FACADES = {"utils", "features"}  # nothing inside imports them
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS, MAX_FOLDER = 400, 40, 7, 14
# One subject that a cut would scatter; never above 600.
LONGER_FILES = {"opto.trace.nodes": 570, "opto.trace.bundle.function": 412}
# `utils`, `errors` and `auto_retry` are paths that programs import.
SHARED_BASENAMES = {"__init__", "__main__", "utils", "errors", "auto_retry"}
TABLES_OF_NAMES = {"opto.registry"}  # it names modules in texts, as its job


def module_name(path: Path) -> str:
    parts = ("opto", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def subsystem(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """(module, statement) of each first-party import that runs, `from package import module` resolved."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if is_typing_block(node):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names if alias.name.split(".")[0] == "opto")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "opto":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in NAMES else node.module), node
        stack.extend(ast.iter_child_nodes(node))


NAMES = {module_name(path) for path in FILES}
LEAVES |= {name for name in NAMES if name.startswith("opto.values")}
TREES = {module_name(path): ast.parse(path.read_text()) for path in FILES}


@pytest.mark.parametrize("module", sorted(NAMES))
def test_imports_go_the_way_of_the_house(module: str) -> None:
    here = subsystem(module)
    if not here or module in LEAVES:
        assert not [name for name, _ in imports(TREES[module]) if name not in LEAVES], "a leaf imports nothing of ours"
        return
    for name, statement in imports(TREES[module]):
        there = subsystem(name)
        if name in LEAVES or there == here:
            continue
        assert there in ALLOWED[here], f"{module}:{statement.lineno} imports {name}: {here} may not import {there}"
        assert there not in FACADES, f"{module}:{statement.lineno} imports the façade {name}"


def test_the_tape_does_not_import_drawing() -> None:
    for module in NAMES:
        if module.startswith("opto.trace") and not module.startswith("opto.trace.pictures"):
            drawing = [name for name, _ in imports(TREES[module]) if name.startswith("opto.trace.pictures")]
            assert not drawing, f"{module} imports {drawing}: ask opto.registry for it"


def test_there_is_no_cycle() -> None:
    graph = {
        module: {name for name, _ in imports(TREES[module]) if name != module and name in NAMES}
        for module in NAMES
        if not (
            ROOT / "/".join(module.split(".")[1:]) / "__init__.py"
        ).exists()  # packages re-export; files must not loop
    }
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(graph[start])))]
        path.append(start)
        while stack:
            module, rest = stack[-1]
            following = next((name for name in rest if name in graph and name not in done), None)
            if following is None:
                done.add(module)
                stack.pop()
                path.pop()
                continue
            assert following not in path, "cycle: " + " → ".join([*path[path.index(following) :], following])
            path.append(following)
            stack.append((following, iter(sorted(graph[following]))))


@pytest.mark.parametrize("module", sorted(name for name in NAMES if subsystem(name) not in ("cli",)))
def test_no_first_party_import_inside_a_function(module: str) -> None:
    for outer in ast.walk(TREES[module]):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [f"line {statement.lineno}: {name}" for name, statement in imports(outer)]
            assert not inner, f"{module}: {inner}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    longest = LONGER_FILES.get(module_name(path), MAX_FILE)
    assert text.count("\n") <= longest, f"{path.name} has {text.count(chr(10))} lines"
    for node in ast.walk(TREES[module_name(path)]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            docstring = ast.get_docstring(node, clean=False)
            length -= docstring.count("\n") + 1 if docstring else 0
            assert length <= MAX_FUNCTION, f"{path.name}: {node.name} has {length} lines"
            arguments = node.args
            count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
            count -= bool(arguments.args and arguments.args[0].arg in ("self", "cls"))
            if f"def {node.name}(  # noqa: PLR0913" not in text:
                assert count <= MAX_PARAMETERS, f"{path.name}: {node.name} has {count} parameters"


def test_no_folder_shows_too_many_files() -> None:
    for folder in sorted({path.parent for path in FILES}):
        files = [path for path in FILES if path.parent == folder]
        assert len(files) <= MAX_FOLDER, f"{folder.relative_to(ROOT)} has {len(files)} files"


def test_no_two_files_have_the_same_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in FILES:
        homes.setdefault(path.stem, []).append(str(path.relative_to(ROOT)))
    assert not {name: where for name, where in homes.items() if len(where) > 1 and name not in SHARED_BASENAMES}


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the texts that stand alone as a statement: they name things for readers."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def named_module(text: object) -> str | None:
    """The module of ours that a text names, whether or not something in it follows: `opto.a.b`, `opto.a.b:C`."""
    if not isinstance(text, str) or not re.fullmatch(r"opto(\.\w+)+\.?(:[\w.]+)?", text):
        return None
    module = text.partition(":")[0].rstrip(".")
    while module not in NAMES and "." in module:
        module = module.rpartition(".")[0]
    return module if module != "opto" else None


@pytest.mark.parametrize("module", sorted(NAMES - TABLES_OF_NAMES))
def test_no_text_names_a_module_of_ours(module: str) -> None:
    """An import that no test sees is a way around the directions above; late loading has one table, the registry."""
    alone = docstrings(TREES[module])
    found = [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Constant) and id(node) not in alone and named_module(node.value)
    ]
    assert not found, f"{module}: {found}"


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_the_registry_names_what_exists(name: str) -> None:
    assert implementation(name) is not None


def test_every_public_module_lists_its_names_sorted() -> None:
    for module in sorted(NAMES):
        if any(part.startswith("_") for part in module.split(".")):
            continue
        names = getattr(importlib.import_module(module), "__all__", None)
        if names is None:
            assert not ast.parse(Path(importlib.import_module(module).__file__ or "").read_text()).body[1:], (
                f"{module} has code but no __all__"
            )
            continue
        loaded = importlib.import_module(module)
        missing = [name for name in names if not hasattr(loaded, name)]
        assert not missing, f"{module}.__all__ names {missing}, which do not exist"
        assert len(set(names)) == len(names), f"{module}.__all__ repeats a name"
        own = {
            node.name
            for node in TREES[module].body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        }
        assert own <= set(names), f"{module}: {sorted(own - set(names))} are public but not in __all__"


def test_importing_every_module_works_alone() -> None:
    for info in pkgutil.walk_packages(opto.__path__, "opto."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)


def test_each_package_says_what_it_is_for() -> None:
    for path in ROOT.rglob("__init__.py"):
        assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 40, f"{path} needs an opening"
