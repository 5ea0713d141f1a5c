"""YOLOX as task network: it can start from weights that were trained on COCO."""
