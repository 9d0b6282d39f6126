"""Values and errors that cross the border of the sandbox.

May import leaves and `worker.from_host`. Into a worker they go as pickles (`to_worker`, `surroundings`), out of it as
JSON (`value_codec`, `errors_as_data`); `wire` frames the messages.
"""
