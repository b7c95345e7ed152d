#pragma once

#include "bliss/inference/field.hpp"
#include "bliss/shard/hand_out.hpp"
#include "bliss/shard/journal_folder.hpp"
#include "prefetcher.hpp"
#include "run_report.hpp"

#include <chrono>
#include <filesystem>

namespace bliss::inference {

/// Folder of the lines that tell of each field, in a run's output folder.
inline constexpr const char* k_run_fields = "run-fields";

/// One rank's fields: read ahead, catalogued one after the other, and kept in its journal.
class RankWork {
public:
    /// The arguments must outlive it. @param output folder of the run @param most_failures see RunOptions
    RankWork(const CatalogConfig& config, Cataloguer& cataloguer, std::filesystem::path output, std::int64_t most_failures)
        : config_{config}, cataloguer_{cataloguer}, output_{std::move(output)}, most_failures_{most_failures} {}

    /// Until there is no more, or the program is asked to stop. A field that cannot be used is a record of why. Each field's seconds are a
    /// line of output/run-fields/ATTEMPT-RANK.jsonl.
    /// @throws IoError where the journal cannot be written, DataError where too many fields fail one after the other, MpiError
    void run(shard::HandOut& hand_out, const shard::JournalFolder& journals, std::int32_t attempt, int rank);

    [[nodiscard]] const RunSums& sums() const { return sums_; }
    /// Which fields failed and why, the first hundred.
    [[nodiscard]] const Failures& failures() const { return failures_; }
    /// To be called when all ranks have finished their fields.
    void all_ended();

private:
    [[nodiscard]] Cataloguer::Result process(const ReadField& field);
    /// @param in_a_row fields that have failed one after the other, of those that an earlier attempt has not seen fail
    void note_failure(const ReadField& field, const catalog::FieldRow& row, std::int64_t& in_a_row);

    const CatalogConfig& config_;
    Cataloguer& cataloguer_;
    std::filesystem::path output_;
    std::int64_t most_failures_;
    RunSums sums_;
    Failures failures_;
    std::chrono::steady_clock::time_point ended_ = std::chrono::steady_clock::now();
};

}  // namespace bliss::inference
