"""A model as a plain Python file: the classes with their current code and values, and the definitions that these need.

The text is made of the methods' own sources, so comments stay; the names that they use are looked up and written above
the class (see `export_names`). May import: the standard library, `nodes`, `containers`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from opto.syntax import tree_of
from opto.trace.containers import Map, ParameterContainer, Seq, is_bundled, own_attributes
from opto.trace.nodes import AbstractNode, MessageNode
from opto.trace.saving.export_names import Names, assigned_text, class_scope, function_scope, is_ours
from opto.trace.saving.export_text import edited, reindented, straightened, unbundled

__all__ = ["export_source", "without_nodes"]

_MADE_BY_PYTHON = {
    "__abstractmethods__", "__annotations__", "__dict__", "__doc__", "__firstlineno__", "__match_args__", "__module__",
    "__orig_bases__", "__parameters__", "__qualname__", "__static_attributes__", "__weakref__", "_abc_impl",
    "__annotate__", "__annotate_func__", "__annotations_cache__", "__conditional_annotations__", "__type_params__",
}  # fmt: skip
_HEADER = (
    '"""Exported by opto: the current code and values of {name}, as plain Python."""\n\n'
    "from __future__ import annotations"
)


def export_source(model: ParameterContainer) -> str:
    """The text of a module that defines the class of `model` and everything of the user's that it needs.

    Raises ValueError, naming the method, where a source cannot be found or a code parameter does not parse.
    """
    classes = _Classes(model)
    names = Names(classes.source)
    name = getattr(model, "__name__", "") if is_bundled(model) else type(model).__name__
    if is_bundled(model):
        names.need(name, model, {})
    else:
        names.need_class(type(model))
        names.warn_of_values_not_written(classes.instances.values())
    return "\n\n\n".join([_HEADER.format(name=name), *names.texts()]) + "\n"


class _Classes:
    """Writes classes; `instances` are the parts of the exported object by class."""

    def __init__(self, model: ParameterContainer) -> None:
        self.instances: dict[type, ParameterContainer] = {}
        ahead: list[Any] = [model]
        visited: set[int] = set()
        while ahead:
            part = ahead.pop(0)
            if id(part) in visited:
                continue
            visited.add(id(part))
            if isinstance(part, ParameterContainer) and not is_bundled(part):
                self.instances.setdefault(type(part), part)
                ahead.extend(own_attributes(part).values())
            elif isinstance(part, list | tuple):
                ahead.extend(part)
            elif isinstance(part, dict):
                ahead.extend(part.values())

    def source(self, cls: type, names: Names) -> str:
        """The class statement of `cls`, with the values of its instance where the exported object has one."""
        instance = self.instances.get(cls) or next((i for t, i in self.instances.items() if cls in t.__mro__), None)
        if instance is None and (text := _as_it_stands(cls)) is not None:
            return names.need_all(text, class_scope(cls))
        if "__dataclass_fields__" in vars(_original(cls)):
            raise ValueError(f"{cls.__name__} is a dataclass, whose methods have no source: write them to export it")
        plain_bases = [base for base in _original(cls).__bases__ if base is not object and not is_ours(base)]
        bases = [names.need_class(base) for base in plain_bases]
        body = [_quoted_doc(cls.__doc__)] if cls.__doc__ else []
        for name, value in vars(_original(cls)).items():
            if name not in _MADE_BY_PYTHON:
                body.append(_Member(cls, name, value, instance, names).text())
        inherits = any(issubclass(base, ParameterContainer) for base in plain_bases)
        calls = "__call__" in vars(_original(cls))
        if issubclass(cls, ParameterContainer) and is_ours(cls.__call__) and not (inherits or calls):
            body.append("def __call__(self, *args, **kwargs):\n    return self.forward(*args, **kwargs)")
        heading = f"class {cls.__name__}({', '.join(bases)}):" if bases else f"class {cls.__name__}:"
        return heading + "\n" + "\n\n".join(reindented(text, "    ") for text in body or ["pass"])


def _as_it_stands(cls: type) -> str | None:
    """The text of a class with nothing in it that the file could not have: nodes, bundled functions, bases of ours."""
    ours = (is_bundled(value) or isinstance(value, AbstractNode) for value in vars(cls).values())
    return None if issubclass(cls, ParameterContainer) or any(ours) else _class_text(cls)


def _class_text(cls: type) -> str | None:
    try:
        return reindented(inspect.getsource(cls))
    except (OSError, TypeError):
        return None


def _original(cls: type) -> type:
    """The class that `@model` was applied to; its body holds the methods."""
    original: type = cls.__dict__.get("__wrapped_model__", cls)
    return original


class _Member:
    """One entry of a class body on its way to text."""

    def __init__(self, cls: type, name: str, value: Any, instance: Any, names: Names) -> None:
        self.cls, self.name, self.value, self.instance, self.names = cls, name, value, instance, names

    def text(self) -> str:
        value = self.value
        if isinstance(value, property):
            return "\n\n".join(self._function(f) for f in (value.fget, value.fset, value.fdel) if f is not None)
        if isinstance(value, staticmethod | classmethod):
            inner = value.__func__
            text = self._bundle(inner) if is_bundled(inner) else self._function(inner)
            mark = f"@{type(value).__name__}"
            return text if text.lstrip().startswith(mark) else f"{mark}\n{text}"
        if is_bundled(value):
            return self._bundle(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type) and value.__qualname__.startswith(f"{_original(self.cls).__qualname__}."):
            nested = _class_text(value)
            if nested is None:
                raise ValueError(f"the source of the nested class {value.__qualname__} cannot be found")
            return nested
        return self._constant()

    def _bundle(self, bundle: Any) -> str:
        bound = bundle if self.instance is None or not bundle.trainable else bundle.__get__(self.instance, self.cls)
        text = bound.parameter._data if bound.trainable else bound.info["source"]
        text = reindented(straightened(text))
        where = f"{self.cls.__name__}.{self.name}"
        try:
            statements = tree_of(text).body
        except SyntaxError as error:
            raise ValueError(f"the code of {where} does not parse, so it cannot be exported: {error}") from error
        if not text:
            raise ValueError(f"the source of {where} cannot be found, so it cannot be exported")
        text = self.names.need_all(text, function_scope(bound.fun))
        if len(statements) == 1:
            return text
        # Imports and further functions beside the method: they stay together, where only the method sees them.
        maker = f"_make_{self.cls.__name__}_{self.name}"
        self.names.definitions[maker] = f"def {maker}():\n{reindented(text, '    ')}\n    return {self.name}"
        return f"{self.name} = {maker}()"

    def _function(self, function: Any) -> str:
        inner = inspect.unwrap(function)
        try:
            text = reindented(inspect.getsource(inner))
        except (OSError, TypeError) as error:
            raise ValueError(
                f"the source of {self.cls.__name__}.{self.name} cannot be found, so it cannot be exported: "
                "write the method in a file or a notebook cell"
            ) from error
        text = unbundled(text)
        if self.instance is not None:
            text = _with_values(text, self.instance, self.name == "__init__", self.names)
        return self.names.need_all(text, function_scope(inner))

    def _constant(self) -> str:
        value = self.value
        if self.instance is not None and isinstance(value, AbstractNode):
            value = self.instance.__dict__.get(self.name, value)
            self.names.written.add(id(value))
        text = self.names.literal(without_nodes(value)) or self.names.need_value(value) or self._as_written()
        if text is None:
            kind = type(value).__name__
            raise ValueError(f"{self.cls.__name__}.{self.name} of type {kind} cannot be exported: make it in a method")
        return f"{self.name} = {text}"

    def _as_written(self) -> str | None:
        """The expression that the class body assigns."""
        cls = _original(self.cls)
        source = _class_text(cls)
        if source is None:
            return None
        [statement] = tree_of(source).body
        text = assigned_text(self.name, source, getattr(statement, "body", []))
        return text and self.names.need_all(text, class_scope(cls))


def without_nodes(value: Any) -> Any:
    """`value` with its nodes replaced by their data, in lists, tuples and dicts too."""
    if isinstance(value, AbstractNode):
        return without_nodes(value._data)
    if isinstance(value, Seq):
        return [without_nodes(item) for item in value]
    if isinstance(value, Map):
        return {without_nodes(key): without_nodes(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(without_nodes(item) for item in value)
    if type(value) is dict:
        return {without_nodes(key): without_nodes(item) for key, item in value.items()}
    return value


def _holds_nodes(value: Any) -> bool:
    if isinstance(value, AbstractNode | Seq | Map):
        return True
    if isinstance(value, dict):
        return any(_holds_nodes(item) for item in (*value.keys(), *value.values()))
    return isinstance(value, list | tuple) and any(_holds_nodes(item) for item in value)


def _quoted_doc(doc: str) -> str:
    return f'"""{inspect.cleandoc(doc)}"""' if '"' not in doc and "\\" not in doc else repr(inspect.cleandoc(doc))


# --- current values in place of the first ones --------------------------------------------------


def _with_values(text: str, instance: Any, always: bool, names: Names) -> str:
    """Replaces `self.x = ...` by the current value where the attribute is a node, whose id joins those written.

    Results of calls, and outside `__init__` (`always` false) all others, are replaced only where a node is made.
    """
    function = tree_of(text).body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef), "a method is a function"
    attributes = own_attributes(instance)
    own = {name: without_nodes(value) for name, value in attributes.items() if _holds_nodes(value)}
    first = next((argument.arg for argument in function.args.args), "self")
    edits: list[tuple[ast.expr, str]] = []
    for statement in ast.walk(function):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for attribute, expression in _pairs(targets, statement.value, first):
                value = names.literal(own[attribute]) if attribute in own else None
                computed = isinstance(attributes.get(attribute), MessageNode)
                if value is not None and ((always and not computed) or _makes_node(expression)):
                    edits.append((expression, value))
                    names.written.add(id(attributes[attribute]))
    return edited(text, edits)


def _pairs(targets: Iterable[ast.expr], value: ast.expr, first: str) -> Iterable[tuple[str, ast.expr]]:
    """The attributes of `self` that an assignment sets, each with the expression it gets."""
    for target in targets:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == first:
            yield target.attr, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, part in zip(target.elts, value.elts, strict=True):
                yield from _pairs([one], part, first)


def _makes_node(expression: ast.expr) -> bool:
    for part in ast.walk(expression):
        if isinstance(part, ast.Call):
            called = part.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("node", "Node", "ParameterNode"):
                return True
    return False
