"""Writing agents to files and reading them back: JSON, the pickles of the existing library, plain Python, sandboxes.

Read in this order: `plain_data` (values as JSON), `safe_pickle` (values that JSON cannot hold), `parameter_file` (save
and load), `flat_pickle` (pickles of nodes), `export`, `export_names` and `export_text` (plain Python),
`sandbox_reductions`. May import nodes, containers and bundle.
"""
