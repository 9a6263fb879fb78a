// The reference for "no SQL at all": hnswlib over float32 vectors in one process, built and searched with
// given parameters. Also finds the true neighbours, which the benchmark measures recall against.
//
// Usage: raw_hnswlib truth  BASE QUERY ROWS METRIC K OUTPUT
//        raw_hnswlib search BASE QUERY ROWS METRIC M EF_CONSTRUCTION THREADS K REPEAT EF...
//
// "truth" writes uint32 queries, uint32 K, then ids (int32) and distances (float32) as in *.ibin files.
// "search" prints a line "build SECONDS BYTES", then a line "search EF REPETITION QUERIES_PER_SECOND", and
// for the first repetition of each EF one line "found EF QUERY ID...".

#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

struct Vectors {
  uint32_t rows = 0;
  uint32_t dims = 0;
  std::vector<float> values;
  const float* Row(size_t row) const { return values.data() + row * dims; }
};

float FromHalf(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  float value;
  if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else if (exponent == 31) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else {
    value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

// Reads up to `limit` rows; the format is told by the name's end.
Vectors Read(const std::string& path, uint32_t limit, bool normalize) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  uint32_t head[2];
  if (file == nullptr || std::fread(head, 4, 2, file.get()) != 2) {
    throw std::runtime_error("cannot read " + path);
  }
  Vectors result;
  result.rows = std::min(head[0], limit);
  result.dims = head[1];
  const size_t count = size_t{result.rows} * result.dims;
  const size_t width = path.ends_with(".u8bin") ? 1 : path.ends_with(".f16bin") ? 2 : 4;
  std::vector<unsigned char> bytes(count * width);
  if (std::fread(bytes.data(), width, count, file.get()) != count) {
    throw std::runtime_error(path + " is too short");
  }
  result.values.resize(count);
  for (size_t i = 0; i < count; i++) {
    if (width == 1) {
      result.values[i] = bytes[i];
    } else if (width == 2) {
      uint16_t half;
      std::memcpy(&half, bytes.data() + 2 * i, 2);
      result.values[i] = FromHalf(half);
    } else {
      std::memcpy(&result.values[i], bytes.data() + 4 * i, 4);
    }
  }
  for (size_t row = 0; normalize && row < result.rows; row++) {
    float* values = result.values.data() + row * result.dims;
    double sum = 0;
    for (size_t i = 0; i < result.dims; i++) {
      sum += static_cast<double>(values[i]) * values[i];
    }
    const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
    for (size_t i = 0; i < result.dims; i++) {
      values[i] = static_cast<float>(values[i] * scale);
    }
  }
  return result;
}

std::unique_ptr<hnswlib::SpaceInterface<float>> MakeSpace(const std::string& metric, size_t dims) {
  if (metric == "l2") {
    return std::make_unique<hnswlib::L2Space>(dims);
  }
  return std::make_unique<hnswlib::InnerProductSpace>(dims);
}

template <typename Work>
void InThreads(size_t threads, size_t count, const Work& work) {
  std::atomic<size_t> next{0};
  std::vector<std::thread> running;
  for (size_t t = 0; t < threads; t++) {
    running.emplace_back([&] {
      for (size_t i = next++; i < count; i = next++) {
        work(i);
      }
    });
  }
  for (std::thread& thread : running) {
    thread.join();
  }
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

void WriteTruth(const Vectors& base, const Vectors& queries, const std::string& metric, uint32_t k,
                const char* output) {
  const auto space = MakeSpace(metric, base.dims);
  const auto distance = space->get_dist_func();
  k = std::min(k, base.rows);
  std::vector<int32_t> ids(size_t{queries.rows} * k);
  std::vector<float> distances(ids.size());
  InThreads(std::thread::hardware_concurrency(), queries.rows, [&](size_t q) {
    std::vector<std::pair<float, int32_t>> all(base.rows);
    for (uint32_t row = 0; row < base.rows; row++) {
      all[row] = {distance(queries.Row(q), base.Row(row), space->get_dist_func_param()),
                  static_cast<int32_t>(row)};
    }
    std::partial_sort(all.begin(), all.begin() + k, all.end());
    for (uint32_t i = 0; i < k; i++) {
      distances[q * k + i] = all[i].first;
      ids[q * k + i] = all[i].second;
    }
  });
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(output, "wb"), &std::fclose);
  const uint32_t head[2] = {queries.rows, k};
  if (file == nullptr || std::fwrite(head, 4, 2, file.get()) != 2 ||
      std::fwrite(ids.data(), 4, ids.size(), file.get()) != ids.size() ||
      std::fwrite(distances.data(), 4, distances.size(), file.get()) != distances.size()) {
    throw std::runtime_error(std::string("cannot write ") + output);
  }
}

struct SearchOptions {
  size_t m;
  size_t ef_construction;
  size_t threads;
  size_t k;
  int repeat;
  std::vector<size_t> efs;
};

void Search(const Vectors& base, const Vectors& queries, const std::string& metric,
            const SearchOptions& options) {
  const auto space = MakeSpace(metric, base.dims);
  hnswlib::HierarchicalNSW<float> graph(space.get(), base.rows, options.m, options.ef_construction);
  const auto start = std::chrono::steady_clock::now();
  graph.addPoint(base.Row(0), 0);
  InThreads(options.threads, base.rows - 1, [&](size_t i) { graph.addPoint(base.Row(i + 1), i + 1); });
  std::printf("build %.3f %zu\n", Seconds(start), graph.indexFileSize());
  for (int repetition = 1; repetition <= options.repeat; repetition++) {
    for (const size_t ef : options.efs) {
      graph.setEf(ef);
      std::vector<std::vector<std::pair<float, hnswlib::labeltype>>> found(queries.rows);
      const auto begin = std::chrono::steady_clock::now();
      for (uint32_t q = 0; q < queries.rows; q++) {
        found[q] = graph.searchKnnCloserFirst(queries.Row(q), options.k);
      }
      std::printf("search %zu %d %.1f\n", ef, repetition, queries.rows / Seconds(begin));
      for (uint32_t q = 0; repetition == 1 && q < queries.rows; q++) {
        std::printf("found %zu %u", ef, q);
        for (const auto& hit : found[q]) {
          std::printf(" %zu", hit.second);
        }
        std::printf("\n");
      }
    }
  }
}

int Run(int count, char** arguments) {
  const std::string command = count > 1 ? arguments[1] : "";
  if (!(command == "truth" && count == 8) && !(command == "search" && count >= 12)) {
    std::fprintf(stderr, "usage: see the head of raw_hnswlib.cpp\n");
    return 2;
  }
  const auto number = [&](int i) { return static_cast<uint32_t>(std::strtoul(arguments[i], nullptr, 10)); };
  const std::string metric = arguments[5];
  const Vectors base = Read(arguments[2], number(4), metric == "cosine");
  const Vectors queries = Read(arguments[3], UINT32_MAX, metric == "cosine");
  if (base.rows == 0 || base.dims != queries.dims) {
    throw std::runtime_error("base and queries do not fit together");
  }
  if (command == "truth") {
    WriteTruth(base, queries, metric, number(6), arguments[7]);
    return 0;
  }
  SearchOptions options{number(6), number(7), number(8), number(9), static_cast<int>(number(10)), {}};
  for (int i = 11; i < count; i++) {
    options.efs.push_back(number(i));
  }
  Search(base, queries, metric, options);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return Run(count, arguments);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "raw_hnswlib: %s\n", problem.what());
    return 1;
  }
}
