# docker build -t lsp .
# docker run --rm -v "$PWD/runs:/home/lsp/runs" lsp lsp.run --agent=sac_lsp --env=Pendulum-v1 --steps=20_000
#
# Where your user is not number 1000, add --user "$(id -u)" so that runs/ can be written to.
FROM python:3.12-slim

# What videos are drawn with, without a display.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1-mesa-dri libosmesa6 \
    && rm -rf /var/lib/apt/lists/*

# First what changes rarely, so that a change of the source installs nothing again.
COPY requirements.txt /lsp/
RUN pip install --no-cache-dir --requirement /lsp/requirements.txt
# For an NVIDIA GPU, and start with docker run --gpus all:
# RUN pip install --no-cache-dir "jax[cuda13]>=0.10.0,<0.11"

COPY README.md LICENSE setup.cfg pyproject.toml /lsp/
COPY lsp /lsp/lsp
RUN pip install --no-cache-dir --no-deps --editable /lsp

RUN useradd --create-home --uid 1000 lsp && mkdir /home/lsp/runs && chown lsp: /home/lsp/runs
USER lsp
WORKDIR /home/lsp
ENV HOME=/home/lsp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m"]
CMD ["lsp.run", "--help"]
