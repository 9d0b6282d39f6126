"""The way to a server that speaks OpenAI's chat protocol: HTTP in, our responses, streams and errors out.

May import the leaves, `opto.llm.base` and its neighbours, and httpx2; no wrapper. Read openai_compatible (the model
that users make), then connections, failures, completions, stream and providers (which server has a model).
"""
