"""Detectors of the user's own: any ONNX file that gives COCO's 80 classes in one of the known ways."""
