"""Functions as source text, which must keep their signature, import only what is allowed, and pass tests."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Mapping
from textwrap import indent
from typing import Any

from opto.errors import SpaceError
from opto.execution import Job, Limits, Scope, current_executor
from opto.show import text_of
from opto.trace.spaces.code_signature import check_code, definition_in, parsed, signature_of
from opto.trace.spaces.space import Space

__all__ = ["Code"]

Test = str | Callable[[Any], Any]
_TEST = "passes_the_test"


class Code(Space):
    """The source of a function whose signature stays that of the first text (or of `signature`).

    `imports` lists the modules that it may import (None: any); it is a rule for honest code, not a lock. Each of
    `tests` is an expression or statements that use the function by name, or a function that takes it; one that raises
    or gives False refuses the text. `names` is what the code finds beside builtins while it is tested. The text is run
    by the executor of the context (`opto.execution`), by default in a process that can do nothing but compute, and
    within `limits`. The first text need not pass: to make it pass may be what the optimizer is for.

    >>> space = Code(signature="def double(x):", imports=["math"], tests=["double(2) == 4"])
    >>> space("def double(x): return x ** 2").startswith("def")
    True
    >>> space("def double(x): return x + 1")
    Traceback (most recent call last):
    opto.errors.SpaceError: the code fails the test 'double(2) == 4'
    """

    holds_code = True

    def __init__(
        self,
        *,
        signature: str | None = None,
        imports: Iterable[str] | None = None,
        tests: Iterable[Test] = (),
        names: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__()
        self.signature = signature
        self.imports = None if imports is None else tuple(imports)
        self.tests = tuple(tests)
        for test in self.tests:
            _check_spelling(test)
        self.names = dict(names or {})
        self.limits = limits
        rules = ["Python code"]
        if self.imports is not None:
            rules.append(f"it imports only {', '.join(self.imports)}" if self.imports else "it imports nothing")
        rules += [f"it passes the test {_named(test)}" for test in self.tests]
        self.constraint = "; ".join(rules)

    def starting_at(self, value: Any) -> tuple[Space, Any]:
        function = definition_in(value) if isinstance(value, str) else None
        if function is None:
            raise SpaceError("a parameter with a Code space starts as the source of a function")
        if self.signature is not None:
            return self, value
        twin = copy.copy(self)
        twin.signature = f"{signature_of(function)}:"
        twin.constraint = f"{self.constraint}; it defines  {twin.signature}"
        return twin, value

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

        def run(name: str, *args: Any, more: str = "", **call: Any) -> Any:
            job = Job(text + more, name, args, scope=Scope(self.names, "tested"), **call)
            return current_executor().run(job, self.limits).result()

        def fun(*args: Any, **kwargs: Any) -> Any:
            return run(function.name, *args, kwargs=kwargs)

        try:
            run(function.name, describe=True)
        except Exception as error:
            raise SpaceError(f"the code cannot be run: {_error_text(error)}") from error
        for test in self.tests:
            try:
                passed = test(fun) if callable(test) else run(_TEST, more=_as_function(test))
            except Exception as error:
                raise SpaceError(f"the code fails the test {_named(test)}: {_error_text(error)}") from error
            if passed is not None and not passed:
                raise SpaceError(f"the code fails the test {_named(test)}")


def _named(test: Test) -> str:
    return repr(test) if isinstance(test, str) else getattr(test, "__name__", type(test).__name__)


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")


def _check_spelling(test: Test) -> None:
    try:
        compile(test if isinstance(test, str) else "", "<test>", "exec")
    except SyntaxError as error:
        raise ValueError(f"The test {test!r} is not Python: {error.msg}.") from error


def _as_function(test: str) -> str:
    """A function that gives the value of an expression, or None after statements that did not raise."""
    try:
        compile(test, "<test>", "eval")
        body = f"return ({test}\n)"
    except SyntaxError:
        body = test
    return f"\n\n\ndef {_TEST}():\n{indent(body, '    ')}\n"
