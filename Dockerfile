# Two stages: the first builds with Debian's Rust image, the second holds the binary, libc and public certificates, nothing else.
#   docker build -t tieout . && docker run -p 2000:2000 -v tieout-data:/data tieout
# The server prints the bearer token of a fresh data volume once, on its log: clients outside the container need it.
FROM rust:1.90-bookworm AS build
WORKDIR /src

# Dependencies first: this layer is built again only when a Cargo.toml or Cargo.lock changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY src/runtime/Cargo.toml src/runtime/
COPY src/protocol/Cargo.toml src/protocol/
COPY src/reconcile/Cargo.toml src/reconcile/
RUN for crate in runtime protocol reconcile; do \
      echo '//! Stands in for a crate of ours while the dependencies are built.' > src/$crate/lib.rs; \
    done \
 && echo '//! Stands in for the library while the dependencies are built.' > src/lib.rs \
 && echo '//! Stands in for the binary while the dependencies are built.' > src/main.rs \
 && echo 'fn main() {}' >> src/main.rs \
 && cargo build --profile dist --locked --bin tieout

COPY migrations migrations
COPY console console
COPY src src
# What `tieout --version` names: --build-arg TIEOUT_COMMIT=$(git rev-parse --short=12 HEAD)
ARG TIEOUT_COMMIT
# The copied files are older than the stand-ins were; without `touch` cargo would think them built.
RUN touch src/lib.rs src/main.rs src/runtime/lib.rs src/protocol/lib.rs src/reconcile/lib.rs \
 && cargo build --profile dist --locked --bin tieout \
 && strip --strip-debug target/dist/tieout

FROM debian:12.12-slim
RUN groupadd --system --gid 10001 tieout \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data tieout \
 && install -d -o tieout -g tieout -m 0700 /data
# For `sslmode=verify-full` with a database whose certificate a public authority signed.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/dist/tieout /usr/local/bin/tieout
USER 10001:10001
ENV TIEOUT_LISTEN=0.0.0.0:2000 TIEOUT_DATA_DIR=/data
EXPOSE 2000
VOLUME ["/data"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["tieout", "healthcheck"]
ENTRYPOINT ["tieout"]
CMD ["serve"]
