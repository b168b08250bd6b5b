# The harness as an image: `docker build -t engagement-harness .`, then `docker run --rm engagement-harness --help`.
# Checked for form by tests/contract/test_containers.py; not built in CI.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/harness
# The versions that the tests ran with, without the hashes: those are of packages, and ours is a folder.
COPY .ci/requirements.txt .ci/requirements.txt
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' .ci/requirements.txt > constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY harness harness
COPY locustfiles locustfiles
COPY fixtures fixtures
COPY grafana grafana
RUN /opt/harness/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
RUN useradd --create-home harness && install -d -o harness -g harness /home/harness/runs
COPY --from=build /opt/harness /opt/harness
ENV PATH=/opt/harness/bin:$PATH PYTHONUNBUFFERED=1
USER harness
WORKDIR /home/harness
# Workers leave a run in good order on SIGTERM, and a run is cut off, judged and stored.
STOPSIGNAL SIGTERM
ENTRYPOINT ["harness"]
CMD ["--help"]
