"""TensorRT and TensorRT-RTX: one builder, one engine cache, one runner for all their versions.

- :mod:`bindings` knows how the versions differ, :mod:`options` what can be asked of a build.
- :mod:`graph` reads names and shapes out of the ONNX bytes, and finds weights in other files.
- :mod:`build` makes an engine, in the process that :mod:`child` is and :mod:`builder` watches.
- :mod:`cache` keeps engines, in a folder that :mod:`folder` looks after and under facts that
  :mod:`facts` writes down; :mod:`obtain` takes one from there or has it built, :mod:`inventory` lists them.
- :mod:`request` says which engine a graph, a shape and a GPU call for, and :mod:`ahead` has those of a bundle
  built before they are needed.
- :mod:`device` is GPU memory and a stream, :mod:`runner` the engines that the pipeline calls, and
  :mod:`from_torch` those that came through PyTorch.
"""
