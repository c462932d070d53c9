import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import of ONNX Runtime
