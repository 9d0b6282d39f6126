"""Where code that an optimizer wrote runs. One seam, `Executor`; the default one is `process`.

May import the standard library, cloudpickle and leaves. Read in this order: `opto.execution` (the seam and its
records), `process` (the executor), `pool` (its workers), `conversation` (one exchange with a worker), `worker` (what
runs in them), `values` (what crosses), `layers` (what the system refuses), `monty` and `unsafe` (the other executors).
"""

from opto.execution import (
    Executor,
    Job,
    Limits,
    Outcome,
    ResourceUsage,
    Scope,
    Shape,
    SuggestedText,
    current_executor,
    executor_named,
    set_default_executor,
    using,
)

__all__ = [
    "Executor",
    "Job",
    "Limits",
    "Outcome",
    "ResourceUsage",
    "Scope",
    "Shape",
    "SuggestedText",
    "current_executor",
    "executor_named",
    "set_default_executor",
    "using",
]
