#include "bliss/inference/field_record.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/version.hpp"

#include <fmt/format.h>

#include <span>

namespace bliss::inference {
namespace {

enum Section : std::size_t { row, sources, samples, tiles, places };

template <class Row>
std::vector<Row> read_rows(const std::filesystem::path& journal, const shard::JournalEntry& entry, Section section) {
    const auto bytes = static_cast<std::size_t>(entry.bytes[section]);
    if (bytes % sizeof(Row) != 0) {
        throw DataError(fmt::format("{}: {} bytes of a record are no whole rows; start over with --fresh", journal.string(), bytes));
    }
    std::vector<Row> rows(bytes / sizeof(Row));
    shard::read_section(journal, entry, section, std::as_writable_bytes(std::span{rows}));
    return rows;
}

}  // namespace

std::string record_layout() {
    return fmt::format("{}, schema {}, rows of {}, {}, {} and {} bytes", k_program_version, catalog::k_schema_version,
                       sizeof(catalog::FieldRow), sizeof(catalog::SourceRow), sizeof(catalog::SampleRow), sizeof(catalog::TileRow));
}

void append(shard::JournalWriter& journal, const Cataloguer::Result& result) {
    const catalog::FieldRow& field = result.field;
    std::vector<survey::SkyPosition> places;
    places.reserve(result.sources.size());
    for (const catalog::SourceRow& source : result.sources) places.push_back({source.ra_deg, source.dec_deg});
    journal.append({field.run, field.camcol, field.field}, field.status,
                   {std::as_bytes(std::span{&field, 1}), std::as_bytes(std::span{result.sources}), std::as_bytes(std::span{result.samples}),
                    std::as_bytes(std::span{result.tiles}), std::as_bytes(std::span{places})});
}

catalog::FieldRow read_row(const std::filesystem::path& journal, const shard::JournalEntry& entry) {
    const auto rows = read_rows<catalog::FieldRow>(journal, entry, row);
    if (rows.size() != 1)
        throw DataError(fmt::format("{}: a record holds {} fields, not one; start over with --fresh", journal.string(), rows.size()));
    return rows.front();
}

std::vector<catalog::SourceRow> read_sources(const std::filesystem::path& journal, const shard::JournalEntry& entry) {
    return read_rows<catalog::SourceRow>(journal, entry, sources);
}

std::vector<catalog::SampleRow> read_samples(const std::filesystem::path& journal, const shard::JournalEntry& entry) {
    return read_rows<catalog::SampleRow>(journal, entry, samples);
}

std::vector<catalog::TileRow> read_tiles(const std::filesystem::path& journal, const shard::JournalEntry& entry) {
    return read_rows<catalog::TileRow>(journal, entry, tiles);
}

std::vector<survey::SkyPosition> read_places(const std::filesystem::path& journal, const shard::JournalEntry& entry) {
    return read_rows<survey::SkyPosition>(journal, entry, places);
}

std::int64_t source_count(const shard::JournalEntry& entry) {
    return entry.bytes[sources] / static_cast<std::int64_t>(sizeof(catalog::SourceRow));
}

std::int64_t sample_count(const shard::JournalEntry& entry) {
    return entry.bytes[samples] / static_cast<std::int64_t>(sizeof(catalog::SampleRow));
}

std::int64_t tile_count(const shard::JournalEntry& entry) {
    return entry.bytes[tiles] / static_cast<std::int64_t>(sizeof(catalog::TileRow));
}

}  // namespace bliss::inference
