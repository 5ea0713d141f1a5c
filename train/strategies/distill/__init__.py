"""Strategy ``distill``: a small fusion network learns from a large one.

Source: MMDRFuse, ACM MM 2024 (arXiv 2408.15641), for the terms and the memory; TDFusion, CVPR 2025 (arXiv
2412.03240), for the fusion loss, which the teacher's own G goes on weighing. ``terms.py`` and ``memory.py``
say where ours differs.
"""
