"""The one exception tree of the project. A leaf: it imports nothing of ours.

OptoError
├── ExecutionError            a traced function raised; carries the exception node
├── TraceMissingInputsError   a traced body read a node that it was not given
├── MissingExtraError         an optional package is not installed (also an ImportError)
├── LoadError                 a saved file is damaged, foreign or unsafe
├── SandboxError              code that an optimizer wrote was stopped by its sandbox, or could not be run there
│   ├── SandboxTimeoutError   it took longer than its limit of wall or CPU time
│   ├── SandboxMemoryError    it needed more memory than its limit
│   ├── SandboxCrashError     its process ended, was killed, or broke the protocol
│   ├── SandboxForbiddenError it did something that is forbidden there
│   └── SandboxValueError     a value cannot travel in or out
├── RunTimeoutError           a run of the agent took longer than the training allows
├── OptimizerError            an optimizer cannot go on
│   └── ReplyError            a model's reply could not be used (says which part and why)
│       └── SpaceError        a value is outside the space of its parameter (also a ValueError)
└── LLMError                  a language model did not answer
    ├── LLMConfigError        settings are missing or contradict each other
    │   └── ModelFileError    the local model's weights cannot be found, fetched or trusted
    ├── LLMConnectionError    nobody answers at the address
    ├── LLMTimeoutError       the answer took too long
    ├── LLMAuthError          the key was refused (401, 403)
    ├── LLMRateLimitError     too many requests (429); has `retry_after` in seconds or None
    ├── LLMServerError        the server failed (5xx); has `retry_after` too
    ├── LLMRequestError       the server refuses this request (other 4xx)
    ├── LLMResponseError      the answer is not what the protocol promises
    ├── BudgetExceeded        the next call could exceed what the run may spend; it was not sent
    └── ReplayMissError       a recording has no (more) answer to this request
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BudgetExceeded",
    "ExecutionError",
    "LLMAuthError",
    "LLMConfigError",
    "LLMConnectionError",
    "LLMError",
    "LLMRateLimitError",
    "LLMRequestError",
    "LLMResponseError",
    "LLMServerError",
    "LLMTimeoutError",
    "LoadError",
    "MissingExtraError",
    "ModelFileError",
    "OptimizerError",
    "OptoError",
    "ReplayMissError",
    "ReplyError",
    "RunTimeoutError",
    "SandboxCrashError",
    "SandboxError",
    "SandboxForbiddenError",
    "SandboxMemoryError",
    "SandboxTimeoutError",
    "SandboxValueError",
    "SpaceError",
    "TraceMissingInputsError",
]


class OptoError(Exception):
    """Base of every exception that this project raises on purpose."""


class ExecutionError(OptoError):
    """A traced function raised; `exception_node` is the node to give feedback to.

    >>> from opto.trace import node
    >>> try:
    ...     node(1) / 0
    ... except ExecutionError as e:
    ...     e.exception_node.data
    '(ZeroDivisionError) division by zero'
    """

    def __init__(self, exception_node: Any) -> None:
        self.exception_node = exception_node
        super().__init__(exception_node._data)

    def __str__(self) -> str:
        info = self.exception_node.info
        trace = info.get("traceback") if isinstance(info, dict) else None
        return f"\n\n{trace}" if trace else str(self.exception_node._data)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.exception_node,)


class TraceMissingInputsError(OptoError):
    """A traced body read the data of a node that is not among its inputs."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return self.message


class MissingExtraError(OptoError, ImportError):
    """An optional package is absent; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: run  pip install 'opto-trace[{extra}]'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.package, self.extra, self.purpose)


class LoadError(OptoError):
    """A saved file is damaged, was not written by us, or asks for code that loading must not run."""


class SandboxError(OptoError):
    """Code that an optimizer wrote was stopped by its sandbox, or could not be run there."""


class SandboxTimeoutError(SandboxError, TimeoutError):
    """The code took longer than its limit of wall or CPU time."""


class SandboxMemoryError(SandboxError, MemoryError):
    """The code needed more memory than its limit."""


class SandboxCrashError(SandboxError):
    """The process that ran the code ended: it exited, was killed by a signal, or broke the protocol."""


class SandboxForbiddenError(SandboxError, PermissionError):
    """The code did something that its sandbox forbids."""


class SandboxValueError(SandboxError, TypeError):
    """A value cannot travel between the program and the sandbox, or is too large to."""


class RunTimeoutError(OptoError):
    """A run of the agent took longer than the plan of the training allows."""


class OptimizerError(OptoError):
    """An optimizer cannot go on; the message says what is missing."""


class ReplyError(OptimizerError):
    """A model's reply could not be used; the message quotes the fault so that it can be re-asked."""


class SpaceError(ReplyError, ValueError):
    """A value is outside the space of its parameter, and no allowed one is near; the message says what is allowed."""


class LLMError(OptoError):
    """A language model did not answer as asked."""


class LLMConfigError(LLMError):
    """Settings for a language model are missing or contradict each other."""


class ModelFileError(LLMConfigError):
    """The weights of the local model cannot be found, fetched or trusted."""


class LLMConnectionError(LLMError):
    """Nobody answers at the address, or the connection broke; `sent` is False if the request never left."""

    sent: bool = True


class LLMTimeoutError(LLMError):
    """The answer took longer than the limit; `sent` is False if the request never left."""

    sent: bool = True


class LLMAuthError(LLMError):
    """The server refused the key."""


class LLMRateLimitError(LLMError):
    """The server asks for fewer requests; `retry_after` is its wish in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class LLMServerError(LLMError):
    """The server failed (status 5xx); `retry_after` is its wish in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class LLMRequestError(LLMError):
    """The server refuses this request (status 4xx other than 401, 403, 429)."""


class LLMResponseError(LLMError):
    """The answer is not what the protocol promises."""


class BudgetExceeded(LLMError):
    """The next call could exceed the limit `name` ("calls", "tokens", "money", "seconds"), so it was not sent.

    `spent` was taken before, `held` is set aside for calls under way, `needed` is what this call could take.
    """

    def __init__(self, name: str, limit: float, spent: float, held: float, needed: float) -> None:
        self.name, self.limit, self.spent, self.held, self.needed = name, limit, spent, held, needed
        super().__init__(self._message())

    def _message(self) -> str:
        if self.name == "seconds":
            return f"The budget of {self.limit:g} seconds is used up: {self.spent:.1f} passed since the first call."
        unit = "dollars" if self.name == "money" else self.name
        spent, held, needed = (
            f"{x:.6g}" if isinstance(x, float) else str(x) for x in (self.spent, self.held, self.needed)
        )
        return (
            f"The budget of {self.limit:g} {unit} does not allow one more: "
            f"{spent} spent, {held} under way, {needed} needed."
            if self.name == "calls"
            else f"The budget of {self.limit:g} {unit} does not allow this call: "
            f"{spent} spent, {held} under way, up to {needed} needed; a smaller max_tokens needs less."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.limit, self.spent, self.held, self.needed)


class ReplayMissError(LLMError):
    """A recording has no (more) answer to this request; the message names the nearest request that it has."""
