"""TensorRT and TensorRT-RTX: one builder, one store of engines, one runner for all their versions.

- :mod:`bindings` knows how the versions differ, :mod:`log` takes what they say.
- :mod:`build` makes an engine, in the process that :mod:`child` is and :mod:`builder` watches.
- :mod:`store` keeps engines, each under the digest of its request.
- :mod:`prebuild` has those of a bundle built before they are needed.
- :mod:`device` is GPU memory and a stream, :mod:`workspace` how much of it a build may take.
- :mod:`runner` has the engines that the pipeline calls, :mod:`kernels` keeps what they compile.
"""
