"""Where code that an optimizer wrote runs. One seam, `Executor`; the default one is `process`.

May import the standard library and leaves. Read in this order: `opto.execution` (the seam and its records), `process`
(the executor), `pool` and `zygote` (its workers), `worker` (what runs in them), `layers` (what holds them), `travel`
and `codec` (how values get in and out), `inprocess` (the other executors).
"""

from opto.execution import (
    Executor,
    Job,
    Limits,
    Outcome,
    Scope,
    Shape,
    SuggestedText,
    Usage,
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
    "Scope",
    "Shape",
    "SuggestedText",
    "Usage",
    "current_executor",
    "executor_named",
    "set_default_executor",
    "using",
]
