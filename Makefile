# The extension itself, built by PGXS: make, make install. The core's unit tests are built by CMakeLists.txt;
# ./run does all of it.

PG_CONFIG ?= pg_config

EXTENSION = vecckpt vecckpt_pgvector
DATA = sql/vecckpt--1.0.sql sql/vecckpt_pgvector--1.0.sql
PGFILEDESC = "vecckpt - HNSW vector index with background builds and checkpoints"

MODULE_big = vecckpt
OBJS = \
	src/base/checksum.o \
	src/base/fault_point.o \
	src/base/status.o \
	src/os/counted_try.o \
	src/os/file.o \
	src/os/file_lock.o \
	src/os/mapping.o \
	src/os/mapping_guard.o \
	src/hnsw/byte_kernels.o \
	src/hnsw/code_check.o \
	src/hnsw/codec.o \
	src/hnsw/codec_none.o \
	src/hnsw/codec_sq4.o \
	src/hnsw/codec_sq8.o \
	src/hnsw/encode_kernels.o \
	src/hnsw/exact.o \
	src/hnsw/graph_builder.o \
	src/hnsw/graph_check.o \
	src/hnsw/graph_inserter.o \
	src/hnsw/graph_repair.o \
	src/hnsw/graph_search.o \
	src/hnsw/half_kernels.o \
	src/hnsw/kernels.o \
	src/hnsw/nibble_kernels.o \
	src/hnsw/norm_penalty.o \
	src/hnsw/scalar_codec.o \
	src/hnsw/stored_vector.o \
	src/segment/liveness_bitmap.o \
	src/segment/manifest.o \
	src/segment/names.o \
	src/segment/segment.o \
	src/segment/segment_check.o \
	src/segment/segment_format.o \
	src/segment/segment_writer.o \
	src/segment/slot_set.o \
	src/index/graph_job.o \
	src/index/job_inputs.o \
	src/index/liveness.o \
	src/index/liveness_job.o \
	src/index/merge_job.o \
	src/index/merged_search.o \
	src/index/node_table.o \
	src/index/policy.o \
	src/index/recall_interval.o \
	src/index/seal_job.o \
	src/index/segment_assembly.o \
	src/index/segment_source.o \
	src/index/thread_pool.o \
	src/pg/am_build.o \
	src/pg/am_cost.o \
	src/pg/am_handler.o \
	src/pg/am_insert.o \
	src/pg/am_scan.o \
	src/pg/am_vacuum.o \
	src/pg/build_horizon.o \
	src/pg/builder.o \
	src/pg/builder_progress.o \
	src/pg/builder_work.o \
	src/pg/catalog.o \
	src/pg/checkpoint.o src/pg/database_list.o \
	src/pg/entry_reader.o \
	src/pg/folder_owner.o \
	src/pg/generation.o \
	src/pg/index_build.o \
	src/pg/kept_text.o \
	src/pg/launcher.o \
	src/pg/log_append.o \
	src/pg/log_bulk.o \
	src/pg/log_format.o \
	src/pg/log_free.o \
	src/pg/log_read.o \
	src/pg/mapping_holders.o \
	src/pg/mappings.o \
	src/pg/module.o \
	src/pg/options.o \
	src/pg/pgvector.o \
	src/pg/private_segments.o \
	src/pg/recall.o \
	src/pg/reload.o \
	src/pg/scan_exact.o \
	src/pg/segment_jobs.o \
	src/pg/shared_state.o \
	src/pg/sorted_rows.o \
	src/pg/sql_check.o \
	src/pg/sql_check_extents.o \
	src/pg/sql_check_free.o \
	src/pg/sql_check_heap.o \
	src/pg/sql_check_meta.o \
	src/pg/sql_check_pages.o \
	src/pg/sql_check_segments.o \
	src/pg/sql_checkpoint.o \
	src/pg/sql_distance.o \
	src/pg/sql_prewarm.o \
	src/pg/sql_progress.o \
	src/pg/sql_recall.o \
	src/pg/sql_stat.o \
	src/pg/sql_support.o \
	src/pg/sql_views.o \
	src/pg/sweep.o \
	src/pg/utility_hook.o \
	src/pg/validation.o \
	src/pg/vector_input.o \
	src/pg/vector_site.o \
	src/pg/wait_events.o \
	src/pg/wall.o \
	src/pg/writers.o

# pg_regress, pg_isolation_regress and TAP; all need a server with vecckpt preloaded, which ./run test starts.
REGRESS = functions options reloptions create_index query dimensions ddl temporary transactions checkpoint views measure check psql extension
# Where pgvector is installed too.
REGRESS_PGVECTOR = pgvector_extension pgvector_index pgvector_arrays pgvector_switch
REGRESS_OPTS = --load-extension=vecckpt
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=vecckpt
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
PROVE_FLAGS += -I test/t/lib

# Nobody looks at errno after a mathematical function: rounding then takes an instruction instead of a call.
# C++ throughout; the server's headers count as system headers, so that -Werror judges only our own code.
# PostgreSQL 15 leaves PGDLLEXPORT empty, which would hide the entry points from the server.
PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server) \
	-isystem $(shell $(PG_CONFIG) --pkgincludedir)/internal -MMD -MP \
	'-DPGDLLEXPORT=__attribute__((visibility("default")))'
# -ffp-contract=off -fno-math-errno: sums in the same order have the same bits in every function.
PG_CXXFLAGS = -std=c++20 -O2 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -Wno-register -fPIC -fvisibility=hidden -fvisibility-inlines-hidden
# What clang says about gcc's options and attributes, which PostgreSQL's configuration brings, and about its macros.
ifneq (,$(findstring clang,$(CXX)))
PG_CXXFLAGS += -Wno-unknown-warning-option -Wno-ignored-attributes -Wno-deprecated-volatile
endif
SHLIB_LINK = -lhwy -lpthread

# make VECCKPT_SANITIZE=address,undefined VECCKPT_CORE=build/asan/libvecckpt_core.a: the server's side only, and the core
# from CMake's build with the same sanitizers. The server must load their run-time library first (tools/sanitized.sh).
ifdef VECCKPT_SANITIZE
OBJS := $(filter src/pg/%,$(OBJS))
PG_CXXFLAGS += -O1 -fsanitize=$(VECCKPT_SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-clobbered
SHLIB_LINK := $(VECCKPT_CORE) -fsanitize=$(VECCKPT_SANITIZE) $(SHLIB_LINK)
endif

# Places that tests make fail, see src/base/fault_point.hpp. In a copy of the sources, as ./run test does it: objects
# of the two kinds must not mix.
ifdef FAULT_POINTS
PG_CPPFLAGS += -DVECCKPT_FAULT_POINTS
endif

EXTRA_CLEAN = $(OBJS:.o=.d)

# Bitcode for inlining into JIT code gains nothing here and would need its own flags.
override with_llvm := no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS links with the C compiler, which leaves the C++ runtime out.
override COMPILER = $(CXX) $(CXXFLAGS)

-include $(OBJS:.o=.d)

# Prints a variable for ./run: make print-REGRESS
print-%:
	@echo '$($*)'
