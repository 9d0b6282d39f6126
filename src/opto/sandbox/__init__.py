"""Where code that an optimizer wrote runs. One seam, `Executor`; the default one is `process`.

May import the standard library, cloudpickle and leaves. Read in this order: `opto.execution` (the seam and its
records), `process` (the executor), `call` (one job, from the lease of a worker to the outcome), `pool` and
`first_process` (workers), `conversation` (an exchange with one), `worker` (what runs inside), `values` (what crosses),
`layers` (what the system refuses), `monty` and `unsafe` (the other executors).
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
