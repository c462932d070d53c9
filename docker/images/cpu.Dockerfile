# Server and exporter for machines without a GPU. Nothing comes from NVIDIA's registry.
#   docker build -f docker/images/cpu.Dockerfile --target server -t triton-diffusion-server:0.1.0-cpu .
#   docker build -f docker/images/cpu.Dockerfile --target exporter -t triton-diffusion-exporter:0.1.0-cpu .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /tmp triton
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /opt/triton-diffusion


FROM base AS exporter-packages
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/locked/exporter.txt /tmp/
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --require-hashes --no-deps --extra-index-url "$TORCH_INDEX" -r /tmp/exporter.txt \
    && pip uninstall --yes pip


FROM base AS exporter
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Triton Diffusion exporter" \
      org.opencontainers.image.description="Writes the Triton model repository of a checkpoint, for the CPU" \
      org.opencontainers.image.version="$VERSION"
COPY --from=exporter-packages /opt/venv /opt/venv
COPY model_repository model_repository
COPY export export
COPY shapes/checkpoint shapes/checkpoint
RUN install --directory --owner=1000 --group=1000 /models
ENV HF_HOME=/models/cache/huggingface
USER 1000:1000
# One-shot: it ends when the repository is there, so nothing can ask after its health.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "export.cached"]
CMD ["shapes/checkpoint", "--models=/models", "--link=/models/repository"]


# The checkpoint that ships with the project, so that the server image has something to serve.
FROM exporter AS shipped
RUN python -m export shapes/checkpoint --repository /models/repository


FROM base AS server-packages
COPY requirements/locked/server-cpu.txt /tmp/
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --require-hashes --no-deps -r /tmp/server-cpu.txt \
    && pip uninstall --yes pip setuptools
# The wheel's Triton, laid out as in NVIDIA's image: where the launcher finds it ready, it puts no programs into /tmp.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN mkdir --parents /opt/tritonserver/bin /opt/tritonserver/backends \
    && mv pytriton/tritonserver/bin/tritonserver /opt/tritonserver/bin/ \
    && mv pytriton/tritonserver/backends/python /opt/tritonserver/backends/ \
    && mv pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub /opt/tritonserver/backends/python/ \
    && mv nvidia_pytriton.libs /opt/tritonserver/lib \
    && rm -r pytriton nvidia_pytriton-*.dist-info


FROM base AS server
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Triton Diffusion server" \
      org.opencontainers.image.description="Triton Inference Server with the shipped checkpoint, for the CPU" \
      org.opencontainers.image.version="$VERSION"
COPY --from=server-packages /opt/tritonserver /opt/tritonserver
COPY --from=server-packages /opt/venv /opt/venv
COPY --from=shipped /models/repository model_repository
COPY docker/*.py docker/
ENV LD_LIBRARY_PATH=/opt/tritonserver/lib
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --start-period=600s --interval=5s --timeout=5s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready')"]
ENTRYPOINT ["python3", "docker/launcher.py"]
CMD ["--host=0.0.0.0", "--metrics-host=0.0.0.0"]
