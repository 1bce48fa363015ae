# One image for the node and for the agents; docker-compose.yml says which container is what.

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/galaxy
COPY . .
RUN /opt/galaxy/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/galaxy /opt/galaxy
ENV PATH=/opt/galaxy/bin:$PATH PYTHONUNBUFFERED=1

# What either keeps lies in the home of its user: the node's artifacts, a device's key and outbox.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/galaxy galaxy
USER galaxy
WORKDIR /var/lib/galaxy
VOLUME /var/lib/galaxy

EXPOSE 8421
# For the node. An agent listens on nothing: its container switches this off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8421/readyz', timeout=2)"]

CMD ["galaxy", "serve"]
