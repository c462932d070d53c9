# The command line `triton-diffusion`: the OpenAI-compatible door by default, `serve-web` for the page.
#   docker build -f docker/images/gateway.Dockerfile -t triton-diffusion-gateway:0.1.0 .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
ENV PATH=/opt/venv/bin:$PATH
COPY requirements/locked/gateway.txt /tmp/
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --require-hashes --no-deps -r /tmp/gateway.txt
COPY client /tmp/client
RUN pip install --no-cache-dir --no-deps --no-build-isolation /tmp/client \
    && pip uninstall --yes pip setuptools


FROM ${BASE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Triton Diffusion gateway" \
      org.opencontainers.image.description="OpenAI's images API and a web page, in front of Triton Diffusion servers" \
      org.opencontainers.image.version="$VERSION"
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /tmp triton
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 GRADIO_ANALYTICS_ENABLED=false
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --start-period=60s --interval=5s --timeout=5s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz')"]
ENTRYPOINT ["triton-diffusion"]
CMD ["--help"]
