"""From the text of a function to code objects: compiled once, with the names that it reads and writes. A leaf.

Imports the standard library only; what runs the code, here or in another process, builds on it.
"""

from __future__ import annotations

import ast
import copy
import dis
import re
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import NamedTuple

from opto.syntax import tree_of

__all__ = [
    "CODE_FILE",
    "DEFINE",
    "RUNNING",
    "TEXT",
    "Program",
    "compiled",
    "compiled_inside",
    "imports_of",
    "parsed",
    "straight",
    "text_behind",
]

CODE_FILE = "<string>"
"""The file name in the SyntaxError of a text that is not Python."""

RUNNING = "<trainable code>"
"""The file name of running code that came from a parameter; code that it runs by `exec` has another."""

TEXT = "__trace_code_text__"
"""The global under which running code holds the text that it came from."""

DEFINE = "__define__"
"""The function that `compiled_inside` wraps a text in; called with the class, it returns the names defined."""

_LONGEST_LINE = 300
_GLOBAL_STORES = {"STORE_GLOBAL", "DELETE_GLOBAL"}
_STORES = {"STORE_NAME", "DELETE_NAME", *_GLOBAL_STORES}
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_LOOKS_AROUND = {"eval", "exec", "globals", "vars", "locals"}
_INDENTED_DEF = r"(?m)^([ \t]+)(?:def\b|async\b|@)"


class Program(NamedTuple):
    """A compiled text, the global names that it reads and writes, whether it may read others, the modules it imports.

    `names` are all names in it, those of attributes too.

    `writes` are the names that are its own from the start: those that it reads before, and those that its functions
    declare `global`, come from around it.
    `lasting`: it only imports and defines, and its functions write no globals, so that running it again would change
    nothing. Any other text is run for each call, as a list that it makes must be empty when the next call begins.
    """

    code: CodeType
    reads: frozenset[str]
    writes: frozenset[str]
    dynamic: bool
    lasting: bool
    imports: frozenset[str]
    names: frozenset[str]

    @property
    def needs_class(self) -> bool:
        """Whether the text means something else inside its class: it calls super(), or has private names."""
        return "super" in self.reads or any(map(_is_private, self.names))


@lru_cache(maxsize=512)
def compiled(text: str, flags: int = 0) -> Program:
    """Compiles a text once; SyntaxError if it is not Python. `flags` are those of the original function's module."""
    code = _compile(text, flags)
    reads: set[str] = set()
    writes: set[str] = set()
    first: set[str] = set()  # read before it is written: `LIMIT = LIMIT or 3`
    rebinds = False
    for part in _parts(code):
        for step in dis.get_instructions(part):
            if step.opname in _LOADS:
                reads.add(step.argval)
                if part is code and step.argval not in writes:
                    first.add(step.argval)
            elif part is code and step.opname in _STORES:
                writes.add(step.argval)
            elif step.opname in _GLOBAL_STORES:
                rebinds = True
    writes -= first
    tree = _tree(text)
    lasting = not rebinds and tree is not None and all(map(_only_defines, tree.body))
    return Program(
        code=code,
        reads=frozenset(reads),
        writes=frozenset(writes),
        dynamic=bool(reads & _LOOKS_AROUND),
        lasting=lasting,
        imports=_imports(tree),
        names=frozenset(name for part in _parts(code) for name in part.co_names),
    )


def _tree(text: str) -> ast.Module | None:
    try:
        return parsed(text)
    except SyntaxError:  # what `_straightened` cannot read after all: it may do anything
        return None


@lru_cache(maxsize=256)
def imports_of(text: str, package: str = "") -> frozenset[str]:
    """The modules that a text imports, their packages included; none if it is not Python. Dots count from `package`."""
    return _imports(_tree(text), package)


def _imports(tree: ast.Module | None, package: str = "") -> frozenset[str]:
    found: set[str] = set()
    for item in () if tree is None else ast.walk(tree):
        if isinstance(item, ast.Import):
            found.update(alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom) and (origin := _origin(item, package)):
            found.add(origin)
            found.update(f"{origin}.{alias.name}" for alias in item.names)
    return frozenset(part for name in found for part in _above(name))


def _origin(item: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names; "" for one that nobody knows."""
    above = package.split(".")
    if item.level > len(above) or (item.level and not package):
        return ""
    return ".".join([*(above[: len(above) - item.level + 1] if item.level else ()), *filter(None, [item.module])])


def _above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _only_defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [*statement.args.defaults, *(d for d in statement.args.kw_defaults if d is not None)]
        return not statement.decorator_list and all(isinstance(d, ast.Constant) for d in defaults)
    documents = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return documents or isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _compile(text: str, flags: int) -> CodeType:
    try:
        return _compile_exactly(text, flags)
    except IndentationError:
        straight = _straightened(text)
        if straight == text:
            raise
        try:
            return _compile_exactly(straight, flags)
        except SyntaxError:
            pass
        raise


def _compile_exactly(tree: str | ast.Module, flags: int) -> CodeType:
    try:
        code: CodeType = compile(tree, RUNNING, "exec", flags=flags, dont_inherit=True)
    except SyntaxError as error:
        error.filename = CODE_FILE
        if len(error.args) == 2:  # so that it is the same when it is made anew elsewhere
            message, (_, *place) = error.args
            error.args = message, (CODE_FILE, *(p[:_LONGEST_LINE] if isinstance(p, str) else p for p in place))
        raise
    return code


def _straightened(text: str) -> str:
    """A nested function whose first line lost its indentation, or a wholly indented one, moved to the left margin."""
    lost = re.search(_INDENTED_DEF, text) if text[:1].strip() else None
    return textwrap.dedent(lost.group(1) + text if lost else text)


def parsed(text: str) -> ast.Module:
    """The syntax tree of a text, as it is compiled; SyntaxError if it is not Python."""
    return tree_of(straight(text))


def straight(text: str) -> str:
    """The text as it is compiled: one that is indented as a whole is moved to the left margin."""
    try:
        tree_of(text)
    except IndentationError:
        return _straightened(text)
    except SyntaxError:
        pass
    return text


def compiled_inside(text: str, owner: str, flags: int = 0) -> CodeType:
    """`text` as in the body of the class named `owner`.

    A function around it gives it the cell `__class__`, which super() without arguments needs; private names
    (`self.__secret`) are those of the class.
    """
    around = tree_of(f"def {DEFINE}(__class__):\n    return locals()")
    function = around.body[0]
    assert isinstance(function, ast.FunctionDef)
    tree = copy.deepcopy(parsed(text))
    if prefix := owner.lstrip("_"):
        for definition in tree.body:
            for part in ast.iter_child_nodes(definition):  # the definition itself keeps the name it is known by
                _PrivateNames(f"_{prefix}").visit(part)
    function.body[:0] = tree.body
    return _compile_exactly(around, flags)


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


class _PrivateNames(ast.NodeTransformer):
    """Writes private names as Python's compiler does inside a class; it leaves inner classes to the compiler."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ClassDef):
            return node
        for field in ("attr", "id", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and _is_private(name):
                setattr(node, field, self.prefix + name)
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self.prefix + name if _is_private(name) else name for name in node.names]
        return self.generic_visit(node)


def text_behind(frame: FrameType) -> str | None:
    """The text from a parameter that this frame runs; None for ordinary code."""
    return frame.f_globals.get(TEXT) if frame.f_code.co_filename == RUNNING else None
