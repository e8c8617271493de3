# Both services, an image each:
#
#   docker build --target http-gateway -t tidings/http-gateway .
#   docker build --target event-processor -t tidings/event-processor .
#
# and a third, `grpc`, for docker-compose.yml: one address for any number of processors.
#
# A change in one service compiles that one alone; one in common/ or proto/ both.
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS build
WORKDIR /src
COPY scripts/deps scripts/runtime-packages scripts/
RUN scripts/deps build
COPY Makefile ./
COPY proto proto
COPY common common
RUN make -j"$(nproc)" CFLAGS= build/libcommon.a

FROM build AS build-http-gateway
COPY docs/openapi.json docs/
COPY http-gateway http-gateway
RUN make -j"$(nproc)" CFLAGS= build/http-gateway
RUN scripts/runtime-packages build/http-gateway > build/packages

FROM build AS build-event-processor
COPY event-processor event-processor
RUN make -j"$(nproc)" CFLAGS= build/event-processor
RUN scripts/runtime-packages build/event-processor > build/packages

# What both load; the lists seldom change, and this layer with them.
FROM ${DEBIAN} AS runtime
COPY --from=build-http-gateway /src/build/packages /tmp/http-gateway
COPY --from=build-event-processor /src/build/packages /tmp/event-processor
RUN apt-get -qq update && \
    sort -u /tmp/http-gateway /tmp/event-processor | DEBIAN_FRONTEND=noninteractive \
    xargs apt-get -qq install --no-install-recommends && \
    rm -rf /tmp/* /var/lib/apt/lists/* /var/cache/apt/* && \
    install -d -o 10001 -g 10001 /var/lib/tidings
COPY scripts/healthcheck /usr/local/bin/
USER 10001:10001

FROM runtime AS http-gateway
LABEL org.opencontainers.image.title="Tidings http-gateway" \
      org.opencontainers.image.description="Accepts events over HTTP, stores them in NATS JetStream" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-http-gateway /src/build/http-gateway /usr/local/bin/
EXPOSE 8080
HEALTHCHECK --interval=1s --timeout=3s --start-period=30s CMD ["healthcheck", "8080", "health"]
ENTRYPOINT ["http-gateway"]

FROM runtime AS event-processor
LABEL org.opencontainers.image.title="Tidings event-processor" \
      org.opencontainers.image.description="Processes events, says over gRPC what became of each" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-event-processor /src/build/event-processor /usr/local/bin/
ENV TIDINGS_DATA=/var/lib/tidings
EXPOSE 9090 9091
HEALTHCHECK --interval=1s --timeout=3s --start-period=30s CMD ["healthcheck", "9091", "health"]
ENTRYPOINT ["event-processor"]

FROM ${DEBIAN} AS grpc
LABEL org.opencontainers.image.title="Tidings grpc" \
      org.opencontainers.image.description="One address for all event-processors"
RUN apt-get -qq update && \
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends haproxy && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY docker/haproxy.cfg /etc/haproxy/
USER 10001:10001
EXPOSE 9090
ENTRYPOINT ["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
