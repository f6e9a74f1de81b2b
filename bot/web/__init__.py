"""The edges on HTTP: the OpenAI-compatible API, the pages, and who may do what."""
