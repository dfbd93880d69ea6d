# Two images from one file:  docker build --target bot .   and   docker build --target worker .
# Their steps are the scripts that `make` runs.

FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin darkroom \
    && install -d -o darkroom -g darkroom /data /models
WORKDIR /app

# What is installed hangs on these files only, so that a change of code installs nothing again.
FROM base AS recipe
COPY pyproject.toml ./
COPY constraints ./constraints
COPY scripts ./scripts

FROM recipe AS install-worker
RUN VENV=/opt/venv TORCH=cuda scripts/install.sh worker

FROM recipe AS install-bot
RUN VENV=/opt/venv scripts/install.sh bot

# Makes the pictures; dials the bot. Needs the NVIDIA container toolkit on the host; torch brings its own CUDA.
FROM base AS worker
# torch's compiler links a little C for each kernel; without one, models are computed uncompiled.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# Models of the hub and compiled code are kept in the volume.
ENV DARKROOM_DATA=/models/darkroom
ENV HF_HOME=/models NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=install-worker /opt/venv /opt/venv
COPY core ./core
COPY worker ./worker
COPY models/postcard ./models/postcard
USER 10001
VOLUME /models
# The bot hears this process's heartbeat each second and says in /info and in its own health check when it is gone;
# an import of torch every half minute would cost the pictures more than it could tell.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "worker"]
CMD ["--connect", "bot:8801"]

# Speaks with Discord and keeps the queue. No torch, no GPU.
FROM base AS bot
ENV DARKROOM_DATA=/data
COPY --from=install-bot /opt/venv /opt/venv
COPY core ./core
COPY storage ./storage
COPY bot ./bot
COPY cogs ./cogs
COPY bot.py ./
COPY models.toml ./
# The catalogue's own LoRA: the bot reads what it fits, the worker its weights.
COPY models/postcard/lora ./models/postcard/lora
USER 10001
VOLUME /data
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python", "bot.py", "health"]
CMD ["python", "bot.py"]
