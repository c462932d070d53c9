# Server and exporter for NVIDIA GPUs. A plan runs only on the version of TensorRT that built it, so both bases are of
# the same NGC_RELEASE; ../../.env has it.
#   docker build -f docker/images/gpu.Dockerfile --target server --build-arg NGC_RELEASE=26.07 -t triton-diffusion-server:0.1.0 .
#   docker build -f docker/images/gpu.Dockerfile --target exporter --build-arg NGC_RELEASE=26.07 -t triton-diffusion-exporter:0.1.0 .
ARG NGC_RELEASE

FROM nvcr.io/nvidia/tensorrt:${NGC_RELEASE}-py3 AS exporter
ARG VERSION=unknown
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
LABEL org.opencontainers.image.title="Triton Diffusion exporter" \
      org.opencontainers.image.description="Writes the Triton model repository of a checkpoint, with TensorRT plans for the GPU that it runs on" \
      org.opencontainers.image.version="$VERSION"
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
# PyTorch for the CPU: it only exports the graphs and checks them. TensorRT's Python package is the image's own.
COPY requirements/locked/exporter.txt /tmp/
RUN python3 -m pip install --no-cache-dir --break-system-packages --ignore-installed --require-hashes --no-deps \
        --extra-index-url "$TORCH_INDEX" -r /tmp/exporter.txt \
    && rm /tmp/exporter.txt \
    && python3 -c "import tensorrt, torch"
WORKDIR /opt/triton-diffusion
COPY model_repository model_repository
COPY export export
COPY shapes/checkpoint shapes/checkpoint
RUN install --directory --owner=1000 --group=1000 /models
# For what is kept between exports: checkpoints of the hub, and what TensorRT has timed.
ENV HF_HOME=/models/cache/huggingface XDG_CACHE_HOME=/models/cache
USER 1000:1000
# One-shot: it ends when the repository is there, so nothing can ask after its health.
HEALTHCHECK NONE
ENTRYPOINT ["python3", "-m", "export.cached"]
CMD ["shapes/checkpoint", "--models=/models", "--link=/models/repository", "--runtime=tensorrt"]


FROM nvcr.io/nvidia/tritonserver:${NGC_RELEASE}-py3 AS server
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Triton Diffusion server" \
      org.opencontainers.image.description="Triton Inference Server for the repositories that the exporter writes" \
      org.opencontainers.image.version="$VERSION"
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
COPY requirements/locked/server-gpu.txt /tmp/
RUN python3 -m pip install --no-cache-dir --break-system-packages --require-hashes --no-deps -r /tmp/server-gpu.txt \
    && rm /tmp/server-gpu.txt \
    && python3 -c "import numpy, tokenizers"
WORKDIR /opt/triton-diffusion
COPY docker/*.py docker/
# The image's own user, "triton-server".
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --start-period=600s --interval=5s --timeout=5s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready')"]
ENTRYPOINT ["python3", "docker/launcher.py"]
CMD ["--repository=/models/repository", "--host=0.0.0.0", "--metrics-host=0.0.0.0"]
