# One image for every role, built by buildah, podman or Docker's BuildKit: docs/image.md.
# The base brings Python 3.11 to 3.13 with venv. Where it brings tini too, no Debian package is
# fetched.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE} AS base
# tini is not pinned: Debian keeps one version of it, and the base decides which.
# hadolint ignore=DL3008
RUN command -v tini >/dev/null || { \
      apt-get update \
      && apt-get install -y --no-install-recommends tini \
      && rm -rf /var/lib/apt/lists/*; }

# Stages copy these lists and not pyproject.toml: its other lines change more often.
FROM base AS requirements
COPY image/requirements.py pyproject.toml /
RUN mkdir /requirements && python3 /requirements.py /pyproject.toml /requirements
COPY constraints.txt /requirements/

# pip comes from a folder that goes, so that the image has none. Wheels, pip's cache and pip.conf
# are there only while it works.
FROM base AS dependencies
COPY --from=requirements /requirements/runtime.txt /requirements/constraints.txt /requirements/
RUN --mount=type=bind,source=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/ticket-assets/venv \
    && /tmp/pip/bin/pip --python /opt/ticket-assets/venv/bin/python install --no-compile \
      --find-links /wheels -c /requirements/constraints.txt -r /requirements/runtime.txt \
    && python3 -m compileall -q -j 0 /opt/ticket-assets/venv/lib \
    && rm -rf /tmp/pip

# Encoders, converted for every CPU. Only this stage has PyTorch, and of the product only the
# modules that convert, so that other changes do not convert again.
FROM dependencies AS encoders
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=requirements /requirements/conversion.txt /requirements/
RUN --mount=type=bind,source=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /opt/ticket-assets/venv/bin/python install --no-compile \
      --find-links /wheels ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
      -c /requirements/constraints.txt -r /requirements/conversion.txt
ARG ENCODERS="multilingual-e5-small-tickets multilingual-e5-small"
COPY ticket_assets/__init__.py ticket_assets/cores.py ticket_assets/errors.py \
     ticket_assets/free_memory.py ticket_assets/parallel.py /src/ticket_assets/
COPY ticket_assets/embedding /src/ticket_assets/embedding
COPY ticket_assets/sample /src/ticket_assets/sample
COPY ticket_assets/storage/__init__.py ticket_assets/storage/leases.py \
     ticket_assets/storage/unfinished.py ticket_assets/storage/whole_file.py \
     ticket_assets/storage/whole_folder.py /src/ticket_assets/storage/
COPY ticket_assets/text/__init__.py ticket_assets/text/characters.py /src/ticket_assets/text/
WORKDIR /src
# shellcheck disable=SC2086
RUN /opt/ticket-assets/venv/bin/python -m ticket_assets.embedding.prepared /encoders ${ENCODERS}

FROM dependencies AS product
COPY LICENSE README.md pyproject.toml /src/
COPY ticket_assets /src/ticket_assets
RUN --mount=type=bind,source=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /opt/ticket-assets/venv/bin/python install --no-deps \
      --find-links /wheels --root /product /src

FROM dependencies AS image
COPY --from=encoders /encoders/openvino /opt/ticket-assets/encoders/openvino
COPY --from=encoders /encoders/prepared /opt/ticket-assets/encoders/prepared
COPY --from=product /product /
# A new volume takes the rights of the folder that it covers; any user may write there.
RUN install -d -o 10001 -g 0 -m 1777 /var/lib/ticket-assets /var/lib/ticket-assets/dagster \
      /var/lib/chroma
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ticket-assets" \
      org.opencontainers.image.description="Sorts IT-support mail: a Dagster data platform" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A user that has no account has no name and no home.
ENV PATH=/opt/ticket-assets/venv/bin:$PATH \
    HOME=/tmp \
    LANG=C.UTF-8 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TICKETS_DATA_DIR=/var/lib/ticket-assets \
    TICKETS_ENCODERS_DIR=/opt/ticket-assets/encoders \
    USER=tickets \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config
WORKDIR /var/lib/ticket-assets
USER 10001:10001
ENTRYPOINT ["tini", "--"]
CMD ["tickets", "--help"]
