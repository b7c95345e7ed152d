#pragma once

#include "bliss/inference/field.hpp"
#include "bliss/shard/hand_out.hpp"
#include "bliss/shard/journal_folder.hpp"
#include "prefetcher.hpp"

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
    float read_s = 0;  ///< while another field was computed
    float wait_s = 0;
    float prepare_s = 0, detect_s = 0, candidates_s = 0, likelihood_s = 0, classify_s = 0, samples_s = 0, reconstruct_s = 0;
    float keep_s = 0;   ///< to append it to the journal
    float total_s = 0;  ///< without reading and waiting
};

/// One rank's fields: read ahead, catalogued one after the other, and kept in its journal.
class RankWork {
public:
    /// The arguments must outlive it. @param reconstructions folder of images, where these are asked for
    /// @param most_failures see RunOptions
    RankWork(const CatalogConfig& config, Cataloguer& cataloguer, std::filesystem::path reconstructions, std::int64_t most_failures)
        : config_{config}, cataloguer_{cataloguer}, reconstructions_{std::move(reconstructions)}, most_failures_{most_failures} {}

    /// Until there is no more, or the program is asked to stop. A field that cannot be used is a record of why.
    /// @throws IoError where the journal cannot be written, DataError where too many fields fail one after the other, MpiError
    void run(shard::HandOut& hand_out, const shard::JournalFolder& journals, std::int32_t attempt, int rank);

    [[nodiscard]] const std::vector<FieldTimes>& times() const { return times_; }
    [[nodiscard]] std::int64_t done() const { return std::ssize(times_); }
    /// Seconds spent waiting for fields to be handed out and read, at the end, too.
    [[nodiscard]] double wait_s() const { return wait_s_; }
    /// Which fields failed and why, the first hundred.
    [[nodiscard]] const std::vector<std::pair<FieldId, std::string>>& failures() const { return failures_; }

private:
    [[nodiscard]] Cataloguer::Result process(const ReadField& field);

    const CatalogConfig& config_;
    Cataloguer& cataloguer_;
    std::filesystem::path reconstructions_;
    std::int64_t most_failures_;
    std::vector<FieldTimes> times_;
    std::vector<std::pair<FieldId, std::string>> failures_;
    double wait_s_ = 0;
};

}  // namespace bliss::inference
