"""The surroundings of exported code: imports, helper functions, constants, and stand-ins for names of ours."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import logging
import symtable
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

from opto.registry import PROGRAMS, implementation
from opto.syntax import tree_of
from opto.trace.containers import ParameterContainer, is_bundled, own_attributes
from opto.trace.nodes import AbstractNode, ParameterNode
from opto.trace.saving.export_text import reindented, unbundled

__all__ = ["Names", "assigned_text", "class_scope", "function_scope", "is_ours"]

_LOG = logging.getLogger(__name__)

_CALL_LLM = """\
DEFAULT_LLM = None  # set this to a model for calls that name none: llm(messages=...).choices[0].message.content


def call_llm(llm, system_prompt, *user_prompts, **options):
    if not callable(llm):  # call_llm(system_prompt, *user_prompts)
        user_prompts = user_prompts if system_prompt is None else (system_prompt, *user_prompts)
        llm, system_prompt = DEFAULT_LLM, llm
    if llm is None:
        raise TypeError("call_llm has no model: set DEFAULT_LLM of this module.")
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages += [{"role": "user", "content": prompt} for prompt in user_prompts]
    return llm(messages=messages, **options).choices[0].message.content"""
_NODE = """\
def node(data, name=None, trainable=False, description=None):
    return data"""
_STAND_INS = {"call_llm": _CALL_LLM, "node": _NODE}
_FUTURE = "from __future__ import annotations\n"


def is_ours(thing: Any) -> bool:
    """Does it come from this library?"""
    module = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) or ""
    return str(module).partition(".")[0] == "opto" and not str(module).startswith(PROGRAMS)


class Names:
    """Module-level definitions in the order they are needed; `class_source` writes classes of the user."""

    def __init__(self, class_source: Callable[[type, Names], str]) -> None:
        self.class_source = class_source
        self.imports: dict[str, None] = {}
        self.definitions: dict[str, str] = {}
        self.pending: dict[str, Any] = {}
        self.written: set[int] = set()
        """The ids of the parameters whose current values are in the text."""

    def texts(self) -> Iterator[str]:
        if self.imports:
            yield "\n".join(sorted(self.imports))
        yield from self.definitions.values()

    def need_class(self, cls: type) -> str:
        """The name under which the file knows `cls`: defined in it, or imported."""
        name = cls.__name__
        if name in self.pending:
            return name
        if not _to_be_written(cls):
            return self._imported(cls, name)
        self.pending[name] = cls
        text = self.class_source(cls, self)
        self.definitions[name] = text  # after what it needs
        return name

    def need_all(self, text: str, scope: dict[str, Any]) -> str:
        """Finds definitions for the global names in `text`, whose globals are `scope`; returns the text, made fit."""
        text = _without_our_modules(text, scope)
        for name in _global_names(text):
            if name in scope and name != "__class__":
                self.need(name, scope[name], scope)
            elif name in _STAND_INS:
                self.definitions[name] = _STAND_INS[name]
        for name in _annotation_names(text):
            self._annotation(name, scope.get(name))
        return text

    def _annotation(self, name: str, value: Any) -> None:
        """Imports the names of annotations where that is possible: they are never evaluated, but read."""
        if name not in self.pending and getattr(value, "__module__", None) == "typing":
            self.imports[f"from typing import {name}"] = None
        elif isinstance(value, type) and not is_ours(value) and not _to_be_written(value):
            self._imported(value, name)

    def literal(self, value: Any) -> str | None:
        """An expression for a value whose type has one; what it needs is imported or defined."""
        found: str | None = implementation("literal of a value")(value, self._place)
        return found

    def _place(self, thing: Any) -> str:
        """The name of a class or a function in the file; modules of libraries stand there under names of their own."""
        if isinstance(thing, type) and _local(thing):
            return self.need_class(thing)
        if thing.__module__ == "builtins":
            return str(thing.__name__)
        if _local(thing) or "<" in thing.__qualname__:
            raise ValueError(f"{thing.__qualname__} cannot be imported")
        alias = f"_{thing.__module__.lstrip('_').replace('.', '_')}"
        self.imports[f"import {thing.__module__} as {alias}"] = None
        return f"{alias}.{thing.__qualname__}"

    def need_value(self, value: Any) -> str | None:
        """An expression for a value that has no literal but a name of its own; None if it has none."""
        name = getattr(value, "__name__", None)
        if not isinstance(name, str) or not name.isidentifier():
            return None
        self.need(name, value, {})
        return name

    def need(self, name: str, value: Any, scope: dict[str, Any]) -> None:
        """Defines `name` as `value`, which `scope` (the globals of its users) knows so."""
        if name in self.pending or (name in vars(builtins) and vars(builtins)[name] is value):
            return
        if isinstance(value, type) and not is_ours(value):
            self._alias(name, self.need_class(value))
            return
        self.pending[name] = value
        if isinstance(value, ModuleType):
            module = value.__name__
            self.imports[f"import {module}" + ("" if module == name else f" as {name}")] = None
            if is_ours(value):
                _LOG.warning("the exported code uses %s: the file needs opto to run", module)
        elif _is_name_of_ours(value):
            self._stand_in(name, value)
        elif is_bundled(value):
            source = value.parameter._data if value.trainable else value.info["source"]
            self._function(name, value.fun, source)
        elif isinstance(value, FunctionType) and _local(value):
            self._function(name, value, inspect.getsource(inspect.unwrap(value)))
        elif _importable(value):
            self._imported(value, name)
        else:
            self._constant(name, value, scope)

    def _alias(self, name: str, own: str) -> None:
        if own != name:
            self.definitions[name] = f"{name} = {own}"

    def _stand_in(self, name: str, value: Any) -> None:
        own = getattr(value, "__name__", name)
        if own in _STAND_INS:
            self.definitions[own] = _STAND_INS[own]
            self._alias(name, own)
        elif own not in ("bundle", "model"):
            homes = [m for m, module in sys.modules.items() if is_ours(module) and vars(module).get(own) is value]
            home = min(homes, key=len)
            self.imports[f"from {home} import {own}" + ("" if own == name else f" as {name}")] = None
            _LOG.warning("the exported code uses %s of opto: the file needs opto to run", name)

    def _function(self, name: str, function: Any, source: str) -> None:
        text = unbundled(reindented(source))
        made = tree_of(text).body[-1]
        own = getattr(made, "name", name)
        if isinstance(made, ast.Assign):  # a lambda with a name
            own = getattr(made.targets[0], "id", name)
        text = self.need_all(text, function_scope(function))
        self.pending.setdefault(own, function)
        self.definitions[own] = text
        self._alias(name, own)

    def _constant(self, name: str, value: Any, scope: dict[str, Any]) -> None:
        data = value._data if isinstance(value, AbstractNode) else value
        text = self.literal(data) or _module_text(name, scope)
        if text is None:
            _LOG.warning("the exported code uses %s, a %s without a literal: define it", name, type(data).__name__)
            text = f"None  # was a {type(data).__name__}: define it here"
        else:
            text = self.need_all(text, scope)
        self.definitions[name] = f"{name} = {text}"

    def _imported(self, value: Any, name: str) -> str:
        module, own = value.__module__, value.__name__
        if module != "builtins":
            self.imports[f"from {module} import {own}" + ("" if own == name else f" as {name}")] = None
        return name

    def warn_of_values_not_written(self, parts: Iterable[ParameterContainer]) -> None:
        """Names the parameters of which the file holds the code that made them, not the value that they have now."""
        for part in parts:
            for name, value in sorted(own_attributes(part).items()):
                if isinstance(value, ParameterNode) and id(value) not in self.written:
                    _LOG.warning(
                        "the exported code cannot hold the value of %s.%s, which it makes anew",
                        type(part).__name__,
                        name,
                    )


def _is_name_of_ours(value: Any) -> bool:
    """Is it something that this library defines under a name, not an object that the user made with it?"""
    if not is_ours(value) or isinstance(value, AbstractNode | ParameterContainer):
        return False
    name = getattr(value, "__name__", None)
    modules = [module for module in sys.modules.values() if is_ours(module)]
    return name in _STAND_INS or any(vars(module).get(str(name)) is value for module in modules)


def _module_text(name: str, scope: dict[str, Any]) -> str | None:
    """The expression that the user's module assigns to a global, such as `re.compile(...)`."""
    for source in _sources(sys.modules.get(str(scope.get("__name__")))):
        try:
            statements = tree_of(source).body
        except SyntaxError:
            continue  # a notebook cell with commands of the notebook
        text = assigned_text(name, source, statements)
        if text is not None:
            return text
    return None


def assigned_text(name: str, source: str, statements: Sequence[ast.stmt]) -> str | None:
    """The expression that one of the statements, the last if there are several, assigns to the name."""
    for statement in reversed(statements):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return ast.get_source_segment(source, statement.value)
    return None


def _sources(module: ModuleType | None) -> list[str]:
    """The text of a module; of a notebook its cells, the last first."""
    if module is None:
        return []
    if getattr(module, "__file__", None) is None:
        cells = [entry for name, entry in linecache.cache.items() if "ipykernel" in name or name.startswith("<")]
        return ["".join(entry[2]) for entry in reversed(cells) if len(entry) > 2]
    try:
        return [inspect.getsource(module)]
    except (OSError, TypeError):
        return []


def _importable(value: Any) -> bool:
    """Is it found under its own name in the module that it says it is from?"""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    name = getattr(value, "__name__", None)
    return module is not None and name is not None and callable(value) and vars(module).get(name) == value


def _to_be_written(cls: type) -> bool:
    """Classes of the user that belong to the model; those of installed packages are imported."""
    return issubclass(cls, ParameterContainer) or any(is_bundled(value) for value in vars(cls).values()) or _local(cls)


def _local(thing: Any) -> bool:
    """Is it from a script, a notebook or a single file of the user's, not from an importable package?"""
    module = sys.modules.get(thing.__module__)
    top = str(thing.__module__).partition(".")[0]
    if module is None or top in ("__main__", "__mp_main__") or str(thing.__module__).startswith(PROGRAMS):
        return True
    file = getattr(module, "__file__", None) or ""
    return top not in sys.stdlib_module_names and "site-packages" not in file and file.endswith(".py")


def function_scope(function: Any) -> dict[str, Any]:
    """The globals of a function and the variables that it captured."""
    function = inspect.unwrap(function)
    function = getattr(function, "__func__", function)
    scope = dict(getattr(function, "__globals__", {}))
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(getattr(getattr(function, "__code__", None), "co_freevars", ()), cells, strict=False):
        try:
            scope[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return scope


def class_scope(cls: type) -> dict[str, Any]:
    """The globals of a class body and the variables that its methods captured."""
    scope = dict(vars(sys.modules.get(cls.__module__, builtins)))
    for value in vars(cls).values():
        if isinstance(value, FunctionType):
            scope.update(function_scope(value))
    return scope


def _global_names(text: str) -> list[str]:
    found: dict[str, None] = {}
    ahead = [symtable.symtable(_FUTURE + text, "<export>", "exec")]
    top = {symbol.get_name() for symbol in ahead[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    while ahead:
        table = ahead.pop()
        ahead.extend(table.get_children())
        for symbol in table.get_symbols():
            name = symbol.get_name()
            free = symbol.is_global() or table.get_type() == "module"
            if free and symbol.is_referenced() and name not in top:
                found[name] = None
    return list(found)


def _annotation_names(text: str) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(tree_of(text)):
        places = [getattr(part, "annotation", None), getattr(part, "returns", None)]
        for place in filter(None, places):
            found.update(name.id for name in ast.walk(place) if isinstance(name, ast.Name))
    return found


def _without_our_modules(text: str, scope: dict[str, Any]) -> str:
    """`trace.operators.call_llm` and `ops.call_llm` become `call_llm`, where there is a stand-in."""
    chains = {}
    for part in ast.walk(tree_of(text)):
        if isinstance(part, ast.Attribute) and part.attr in _STAND_INS:
            root: Any = part.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and isinstance(scope.get(root.id), ModuleType) and is_ours(scope[root.id]):
                chains[ast.unparse(part)] = part.attr
    for chain, name in chains.items():
        text = text.replace(chain, name)
    return text
