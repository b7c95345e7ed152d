#pragma once

#include "bliss/inference/field.hpp"
#include "bliss/shard/hand_out.hpp"
#include "bliss/shard/journal_folder.hpp"
#include "prefetcher.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace bliss::inference {

/// One rank's fields: read ahead, catalogued one after the other, and kept in its journal.
class RankWork {
public:
    /// The arguments must outlive it. @param reconstructions folder of images, where these are asked for
    RankWork(const CatalogConfig& config, Cataloguer& cataloguer, std::filesystem::path reconstructions)
        : config_{config}, cataloguer_{cataloguer}, reconstructions_{std::move(reconstructions)} {}

    /// Until there is no more, or the program is asked to stop. A field that cannot be used is a record of why.
    /// @throws IoError where the journal cannot be written, MpiError
    void run(shard::HandOut& hand_out, const shard::JournalFolder& journals, std::int32_t attempt, int rank);

    /// Of each field: what it came to, and the seconds of its stages.
    [[nodiscard]] const nlohmann::json& report() const { return report_; }
    [[nodiscard]] std::int64_t done() const { return std::ssize(report_); }
    /// Seconds spent on fields, and waiting for them to be handed out and read.
    [[nodiscard]] double work_s() const { return work_s_; }
    [[nodiscard]] double wait_s() const { return wait_s_; }

private:
    [[nodiscard]] Cataloguer::Result process(const ReadField& field, double wait_s);

    const CatalogConfig& config_;
    Cataloguer& cataloguer_;
    std::filesystem::path reconstructions_;
    nlohmann::json report_ = nlohmann::json::array();
    double work_s_ = 0;
    double wait_s_ = 0;
};

}  // namespace bliss::inference
