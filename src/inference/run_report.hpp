#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/core/ids.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace bliss::inference {

/// What a field came to, and the seconds of its stages.
struct FieldTimes {
    FieldId id;
    std::int32_t status = 0;
    std::int64_t candidates = 0;
    double read_s = 0;  ///< while another field was computed
    double wait_s = 0;  ///< for it to be handed out and read
    double prepare_s = 0, detect_s = 0, candidates_s = 0, likelihood_s = 0, classify_s = 0, samples_s = 0, reconstruct_s = 0;
    double keep_s = 0;   ///< to append it to the journal
    double total_s = 0;  ///< without reading and waiting
};

/// As a line of JSON; stages that took no time are left out.
[[nodiscard]] std::string line_of(const FieldTimes& field);

/// Fields and seconds of one rank, or of all.
struct RunSums {
    std::int64_t fields = 0, failed = 0, candidates = 0;
    FieldTimes sums;           ///< of seconds
    double idle_s = 0;         ///< after the last field, until all ranks had finished theirs
    double slowest_s = 0;      ///< field
    double peak_memory_gb = 0;

    void add(const FieldTimes& field);
    void add(const RunSums& other);
};

/// Which fields failed, and why.
using Failures = std::vector<std::pair<FieldId, std::string>>;

/// Writes run-report.json, what may differ from run to run and so has no place in the catalogue: `of_run`, and of all fields and of each
/// rank the seconds of every stage, rates, waiting, memory, failures; and logs it in short. @param of_run with "seconds" and "gather_s"
/// @throws IoError on all ranks @collective
void write_report(const std::filesystem::path& path, const comm::Communicator& comm, const RunSums& mine, const Failures& failures,
                  nlohmann::json of_run);

/// Peak resident memory of this process, GB.
[[nodiscard]] double peak_memory_gb();

}  // namespace bliss::inference
