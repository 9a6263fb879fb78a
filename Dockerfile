# PostgreSQL with vecckpt, on the official image: docker build --build-arg PG_MAJOR=17 -t vecckpt .
# Databases that the image creates have the library preloaded. For a data folder from elsewhere, add vecckpt to its
# shared_preload_libraries, or: docker run vecckpt -c shared_preload_libraries=vecckpt

ARG PG_MAJOR=17

FROM postgres:${PG_MAJOR}-trixie AS build
# The image sets PG_MAJOR, too.
RUN apt-get update && \
    apt-get install -y --no-install-recommends g++ make libhwy-dev libxxhash-dev "postgresql-server-dev-$PG_MAJOR"
COPY . /src
RUN make -C /src -j "$(nproc)" PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" && \
    make -C /src install DESTDIR=/install PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config"

FROM postgres:${PG_MAJOR}-trixie
RUN apt-get update && \
    apt-get install -y --no-install-recommends libhwy1t64 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /install /
COPY LICENSE README.md /usr/share/doc/vecckpt/
# What initdb makes postgresql.conf from.
RUN echo "shared_preload_libraries = 'vecckpt'" >> /usr/share/postgresql/postgresql.conf.sample
