#pragma once

#include "bliss/comm/communicator.hpp"
#include "rank_work.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace bliss::inference {

/// Writes what may differ from run to run and so has no place in the catalogue, and logs it in short. run-report.json: `of_run`, and of all
/// fields and of each rank the seconds of every stage, rates, waiting, memory, failures. run-fields.jsonl: a line for every field, added to
/// by each attempt, begun by the first. Memory does not grow with the number of fields but for 80 bytes each.
/// @throws IoError on all ranks @collective
void write_report(const std::filesystem::path& folder, const comm::Communicator& comm, const RankWork& work, nlohmann::json of_run);

/// Peak resident memory of this process, GB.
[[nodiscard]] double peak_memory_gb();

}  // namespace bliss::inference
