# galera-sst alone: one static binary, no shell, no root, nothing to write to.
#
#   docker build --tag galera-sst .
#
# Builds for the machine's architecture, amd64 or arm64. A binary in target/image (galera-sst-x86_64 or
# galera-sst-aarch64) is taken as it is: so a release's image holds the release's binaries.

FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
RUN binary=target/image/galera-sst-$(uname -m) \
 && [ -e "$binary" ] || binary=$(scripts/build-static gnu) \
 && install -D "$binary" /image/usr/bin/galera-sst \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && echo 'galera-sst:x:65532:65532::/:/usr/bin/galera-sst' >/image/etc/passwd \
 && install -d -m 1777 /image/tmp

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="galera-sst" \
      org.opencontainers.image.description="Physical backups of Galera clusters through the cluster's own protocol" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
# The group, the donor, metrics.
EXPOSE 4567 4444 9104
ENTRYPOINT ["/usr/bin/galera-sst"]
CMD ["--help"]
