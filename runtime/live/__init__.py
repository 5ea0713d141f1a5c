"""The live page (``run --serve``): pictures and figures of a run in a browser, its health and its metrics."""
