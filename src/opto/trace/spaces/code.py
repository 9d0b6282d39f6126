"""Programs that must keep their signature, import only what is allowed, and pass tests."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from opto.errors import SpaceError
from opto.trace.code import Environment, define
from opto.trace.projections.space import Space
from opto.trace.spaces.signatures import check_code, definition_in, parsed, signature_of

__all__ = ["Code"]

Test = str | Callable[[Any], Any]


class Code(Space):
    """The source of a function whose signature stays that of the first text (or of `signature`).

    `imports` lists the modules that it may import (None: any). Each of `tests` is an expression or `assert` that may
    use the function by name, or a function that takes it; a test that raises or returns False refuses the text. `names`
    is what the code finds beside builtins while it is tested, for instance `globals()`. Tests run the text in this
    process, and the list of imports is a rule for honest code: neither keeps hostile code out.

    >>> space = Code(signature="def double(x):", imports=["math"], tests=["double(2) == 4"])
    >>> space("def double(x): return x ** 2").startswith("def")
    True
    >>> space("def double(x): return x + 1")
    Traceback (most recent call last):
    opto.errors.SpaceError: the code fails the test 'double(2) == 4'
    """

    def __init__(
        self,
        *,
        signature: str | None = None,
        imports: Iterable[str] | None = None,
        tests: Iterable[Test] = (),
        names: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.signature = signature
        self.imports = None if imports is None else tuple(imports)
        self.tests = tuple(tests)
        self.names = dict(names or {})
        rules = ["Python code"]
        if self.imports is not None:
            rules.append(f"it imports only {', '.join(self.imports)}" if self.imports else "it imports nothing")
        rules += [f"it passes the test {_named(test)}" for test in self.tests]
        self.constraint = "; ".join(rules)

    def starting_at(self, value: Any) -> Code:
        if self.signature is not None or not isinstance(value, str):
            return self
        function = definition_in(value)
        if function is None:
            raise SpaceError("a parameter with a Code space starts as the source of a function")
        twin = copy.copy(self)
        twin.signature = f"{signature_of(function)}:"
        twin.constraint = f"{self.constraint}; it defines  {twin.signature}"
        return twin

    def project(self, x: Any) -> str:
        if not isinstance(x, str):
            raise SpaceError(f"code is expected, not a {type(x).__name__}")
        if self.signature is not None:
            check_code(x, f"{self.signature.rstrip().rstrip(':')}:\n    pass")
        self._check_imports(parsed(x))
        if self.tests:
            self._check_tests(x)
        return x

    def _check_imports(self, tree: ast.Module) -> None:
        if self.imports is None:
            return
        for statement in ast.walk(tree):
            found: list[str] = []
            if isinstance(statement, ast.Import):
                found = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                found = ["." * statement.level + (statement.module or "")]
            for name in found:
                if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in self.imports):
                    raise SpaceError(f"the code may not import {name!r}, only: {', '.join(self.imports) or 'nothing'}")

    def _check_tests(self, text: str) -> None:
        function = definition_in(self.signature or text) or definition_in(text)
        if function is None:
            raise SpaceError("the code must define a function, so that it can be tested")
        outside: Any = SimpleNamespace(__name__=function.name, __globals__={"__name__": "tested", **self.names})
        try:
            fun = define(text, Environment(outside, {})).fun
        except Exception as error:
            raise SpaceError(f"the code cannot be run: {_said(error)}") from error
        for test in self.tests:
            try:
                passed = test(fun) if callable(test) else _run(test, {**self.names, function.name: fun})
            except Exception as error:
                raise SpaceError(f"the code fails the test {_named(test)}: {_said(error)}") from error
            if passed is not None and not passed:
                raise SpaceError(f"the code fails the test {_named(test)}")


def _named(test: Test) -> str:
    return repr(test) if isinstance(test, str) else getattr(test, "__name__", type(test).__name__)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _run(test: str, names: dict[str, Any]) -> Any:
    """The value of an expression, or None of a statement that did not raise."""
    try:
        expression = compile(test, "<test>", "eval")
    except SyntaxError:
        exec(compile(test, "<test>", "exec"), names)
        return None
    return eval(expression, names)
