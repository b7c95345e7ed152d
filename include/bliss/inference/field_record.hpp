#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/inference/field.hpp"
#include "bliss/shard/journal.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace bliss::inference {

/// How a field stands in a journal: its row, the rows of its sources, of its draws, of its tiles, as they are in memory; and once more the
/// places of its sources on the sky, which fields around it ask for.
/// @return text that says which layout this is
[[nodiscard]] std::string record_layout();

/// Appends a finished or failed field. @throws IoError
void append(shard::JournalWriter& journal, const Cataloguer::Result& result);

/// Rows of a record, read when they are wanted. @throws DataError, IoError
[[nodiscard]] catalog::FieldRow read_row(const std::filesystem::path& journal, const shard::JournalEntry& entry);
[[nodiscard]] std::vector<catalog::SourceRow> read_sources(const std::filesystem::path& journal, const shard::JournalEntry& entry);
[[nodiscard]] std::vector<catalog::SampleRow> read_samples(const std::filesystem::path& journal, const shard::JournalEntry& entry);

[[nodiscard]] std::vector<catalog::TileRow> read_tiles(const std::filesystem::path& journal, const shard::JournalEntry& entry);
/// Of the sources, in their order.
[[nodiscard]] std::vector<survey::SkyPosition> read_places(const std::filesystem::path& journal, const shard::JournalEntry& entry);

/// How many rows these will be.
[[nodiscard]] std::int64_t source_count(const shard::JournalEntry& entry);
[[nodiscard]] std::int64_t sample_count(const shard::JournalEntry& entry);
[[nodiscard]] std::int64_t tile_count(const shard::JournalEntry& entry);

}  // namespace bliss::inference
