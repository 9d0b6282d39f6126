"""What the syntax of a text may contain for the executor `inprocess`, and the text with guards put in.

`check` refuses what can be told from the syntax. `guarded` rewrites what only the moment of the call can tell: reading
attributes that may lead out, and writing to any. This keeps honest code from reaching for what it has no business
with. It does not keep hostile code in: Python in one process has no walls. Code that you do not trust belongs in the
executor `process`. Imports `opto.program`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType

from opto.errors import SandboxForbiddenError
from opto.program import RUNNING, compiled_inside, parsed

__all__ = [
    "ATTRIBUTE",
    "EXCEPTION",
    "IMPORT",
    "IMPORT_FROM",
    "STORE",
    "TURNED_AWAY",
    "check",
    "doubtful",
    "guarded",
    "refused",
]

# Names under which the rewritten text finds its guards: no text can spell them.
ATTRIBUTE, STORE, EXCEPTION = "opto attribute", "opto store", "opto exception"
IMPORT, IMPORT_FROM = "opto import", "opto import from"

_METHODS = """
    name doc debug slots all version author
    init new post_init call repr str bytes format hash bool len iter next reversed contains missing length_hint
    getitem setitem delitem enter exit aenter aexit aiter anext await eq ne lt le gt ge
    add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor neg pos abs invert
    radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor
    iadd isub imul imatmul itruediv ifloordiv imod ipow ilshift irshift iand ior ixor
    int float complex index round trunc floor ceil"""
_DUNDERS = frozenset(f"__{name}__" for name in _METHODS.split())
_FRAMES = frozenset(
    [f"{kind}_{part}" for kind in ("gi", "cr", "ag") for part in ("frame", "code")]
    + ["f_back", "f_builtins", "f_code", "f_globals", "f_locals", "tb_frame", "tb_next"]
    + ["func_closure", "func_code", "func_defaults", "func_dict", "func_globals"]  # of compiled extensions
)
_DOUBTFUL = frozenset(["cffi", "ctypes", "dump", "evaluate", "format", "format_map", "mro", "obj", "tofile"])
_AWAY = """
    BaseException BaseExceptionGroup GeneratorExit KeyboardInterrupt SystemExit breakpoint compile copyright credits
    eval exec exit globals help input license locals memoryview open quit vars"""
TURNED_AWAY = frozenset(_AWAY.split())
"""Builtins that the code does not see."""
_ASKED_FOR = TURNED_AWAY - {"BaseException", "BaseExceptionGroup"}  # for those two others stand in


def refused(name: str) -> bool:
    """Whether no code may use this name, whatever it is the name of."""
    return name in _FRAMES or (name.startswith("__") and name.endswith("__") and name not in _DUNDERS)


def doubtful(name: str) -> bool:
    """Whether it depends on the object if code may read its attribute of this name."""
    return (name.startswith("_") and name not in _DUNDERS) or name in _DOUBTFUL


def check(text: str, modules: Collection[str]) -> None:
    """SandboxForbiddenError, naming the line, unless the text keeps to the rules; SyntaxError if it is not Python.

    `modules` are those that it may import, with their dots.
    """
    nodes = list(ast.walk(parsed(text)))
    own = {name for node in nodes for name in _bound(node)}
    for node in nodes:
        for fault in (*_faults(node, own), *_imports(node, modules)):
            error = SandboxForbiddenError(f"line {getattr(node, 'lineno', '?')}: {fault}")
            raise error


def _identifiers(node: ast.AST) -> Iterator[str]:
    """All names in this one node: of variables, attributes, arguments, functions, patterns, imports."""
    if isinstance(node, ast.Constant):
        return
    for field, value in ast.iter_fields(node):
        if field not in ("module", "type_comment"):
            yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str))


def _bound(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Attribute) and not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
        yield from _identifiers(node)


def _faults(node: ast.AST, own: Collection[str]) -> Iterator[str]:
    for name in _identifiers(node):
        if any(map(refused, name.split("."))):
            yield f"the code may not use {name!r}"
    if isinstance(node, ast.Name) and node.id in _ASKED_FOR and node.id not in own:
        yield f"the code may not use {node.id!r}"
    elif isinstance(node, ast.pattern):
        inside = [sub.attr for sub in ast.walk(node) if isinstance(sub, ast.Attribute)]
        named = [*inside, *getattr(node, "kwd_attrs", ())]
        yield from (f"a pattern may not use the attribute {name!r}" for name in named if doubtful(name))
    elif any(map(_jumps, getattr(node, "finalbody", ()))):  # of `try` with `except*`, too
        yield "a 'finally' may not end with 'return', 'break' or 'continue': that swallows errors"


def _jumps(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return False
    leaves = isinstance(node, ast.Return | ast.Break | ast.Continue)
    return leaves or any(map(_jumps, ast.iter_child_nodes(node)))


def _imports(node: ast.AST, modules: Collection[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        wanted = ["." * node.level + (node.module or "")]
        yield from (f"the code may not import {a.name!r}" for a in node.names if a.name.startswith("_"))
    else:
        return
    tops = sorted({name.partition(".")[0] for name in modules})
    yield from (f"the code may not import {n!r}: allowed are {', '.join(tops)}" for n in wanted if n not in modules)


# --- the text with guards in it -------------------------------------------------------------------


def guarded(text: str, flags: int, inside: bool, star: Callable[[str], Iterable[str]]) -> CodeType:
    """The code of a text that was checked; `inside` a function that gives it `__class__`, for `super()`.

    `star` names what `from module import *` brings.
    """
    tree = ast.fix_missing_locations(_Guarding(star).visit(parsed(text)))
    if inside:
        return compiled_inside(tree, flags)
    code: CodeType = compile(tree, RUNNING, "exec", flags=flags, dont_inherit=True)
    return code


class _Guarding(ast.NodeTransformer):
    def __init__(self, star: Callable[[str], Iterable[str]]) -> None:
        self._star = star
        self._class = ""

    # Imports become calls: the library, too, imports by the `__import__` of whoever calls it, and must find its own.
    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        tops = [
            (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2 for alias in node.names
        ]
        return [_set(node, name, _call(IMPORT, ast.Constant(module))) for name, module in tops]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        module = node.module or ""
        if module == "__future__":
            return node
        names = [(alias.asname or alias.name, alias.name) for alias in node.names if alias.name != "*"]
        if not names:
            names = [(name, name) for name in self._star(module)]
        origin = ast.Constant(module)
        return [_set(node, name, _call(IMPORT_FROM, origin, ast.Constant(given))) for name, given in names]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        around, self._class = self._class, node.name.lstrip("_")
        self.generic_visit(node)
        self._class = around
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        name = node.attr
        if self._class and name.startswith("__") and not name.endswith("__"):
            name = f"_{self._class}{name}"  # as the compiler does
        if not isinstance(node.ctx, ast.Load):
            node.value = _asked(STORE, node.value, name)
        elif doubtful(name):
            return ast.copy_location(_asked(ATTRIBUTE, node.value, name), node)
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        return node  # a pattern takes no calls; `check` has looked at it

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        if node.type is None:  # else it would swallow the watchdog
            node.type = ast.Name(EXCEPTION, ast.Load())
        return node


def _call(guard: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(guard, ast.Load()), list(arguments), [])


def _asked(guard: str, value: ast.expr, name: str) -> ast.Call:
    return ast.copy_location(_call(guard, value, ast.Constant(name)), value)


def _set(statement: ast.stmt, name: str, value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), statement)
