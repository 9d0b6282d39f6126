"""The way to a server that speaks OpenAI's chat protocol: HTTP in, our responses, streams and errors out.

May import the leaves, `opto.llm.base` and its neighbours, and httpx2; no wrapper. Read openai_compatible (the model
that users make), exchange (one request and its reply within its limits), connections (the httpx2 clients), completions
(bodies into responses), failures (what went wrong as one of our errors), lessons (what a server refuses), providers
(which server has a model).
"""
