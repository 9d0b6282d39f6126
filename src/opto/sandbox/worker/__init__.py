"""What runs inside the sandbox: the first process and the workers that it forks. Nothing here is believed outside.

May import leaves, `values` and `layers`. Read in this order: `zygote` (the first process), `serve` (a worker),
`live_program` (a text, defined and called), `from_host` (what it makes of values), `generators`, `differences`,
`crash_stack`.
"""
