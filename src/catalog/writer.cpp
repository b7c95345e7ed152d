#include "bliss/catalog/writer.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/h5/file.hpp"

#include <algorithm>

namespace bliss::catalog {

namespace {

struct IndexAndCount {
    std::int64_t index;
    std::int64_t count;
};

/// Where each field's sources start in /catalog, by field index; one more element: the number of all sources.
/// @throws DataError on all ranks when their indices are not 0 ... n - 1 once each. @collective
std::vector<std::int64_t> first_sources(const comm::Communicator& comm, std::span<const LocalField> fields) {
    std::vector<IndexAndCount> mine;
    for (const LocalField& field : fields) mine.push_back({field.index, field.source_count});
    std::vector<IndexAndCount> all = comm.gather_v(mine);
    std::ranges::sort(all, {}, &IndexAndCount::index);
    std::vector<std::int64_t> first{0};
    comm::agree_on(comm, [&] {
        for (const auto& [index, count] : all) {
            const std::int64_t expected = std::ssize(first) - 1;
            if (index != expected)
                throw DataError("catalogue: field index " + std::to_string(index < expected ? index : expected) +
                                (index < expected ? " is held twice" : " is held by no rank"));
            first.push_back(first.back() + count);
        }
    });
    return first;
}

/// Local fields [begin, end) whose sources are written in one collective call.
struct Round {
    std::size_t begin = 0;
    std::size_t end = 0;
};

std::vector<Round> cut_rounds(std::span<const LocalField> fields, std::int64_t round_bytes) {
    std::vector<Round> rounds;
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        if (rounds.empty() || (rows + fields[i].source_count) * std::int64_t{sizeof(SourceRow)} > round_bytes) {
            rounds.push_back({i, i});
            rows = 0;
        }
        rounds.back().end = i + 1;
        rows += fields[i].source_count;
    }
    return rounds;
}

std::vector<SourceRow> load_round(std::span<const LocalField> fields, std::span<const std::size_t> positions, Round round,
                                  const SourceLoader& load_sources) {
    std::vector<SourceRow> rows;
    for (std::size_t i = round.begin; i < round.end; ++i) {
        std::vector<SourceRow> sources = load_sources(positions[i]);
        if (std::ssize(sources) != fields[i].source_count)
            throw DataError("catalogue: field " +
                            to_string(FieldId{fields[i].row.run, fields[i].row.camcol, fields[i].row.field}) + " gave " +
                            std::to_string(sources.size()) + " sources where " + std::to_string(fields[i].source_count) +
                            " were announced");
        for (SourceRow& source : sources) source.field_index = fields[i].index;
        rows.insert(rows.end(), sources.begin(), sources.end());
    }
    return rows;
}

/// Appends a range, joined to the last one where they touch.
void append(std::vector<h5::RowRange>& ranges, h5::RowRange range) {
    if (range.count == 0) return;
    if (!ranges.empty() && ranges.back().first + ranges.back().count == range.first)
        ranges.back().count += range.count;
    else
        ranges.push_back(range);
}

void write_sources(h5::File& file, const comm::Communicator& comm, std::span<const LocalField> fields,
                   std::span<const std::size_t> positions, const SourceLoader& load_sources, std::int64_t round_bytes) {
    const std::vector<Round> rounds = cut_rounds(fields, round_bytes);
    const std::int64_t most = comm.all_reduce_max(std::ssize(rounds));
    for (std::int64_t r = 0; r < most; ++r) {
        const Round round = r < std::ssize(rounds) ? rounds[static_cast<std::size_t>(r)] : Round{};
        std::vector<SourceRow> rows;
        comm::agree_on(comm, [&] { rows = load_round(fields, positions, round, load_sources); });
        std::vector<h5::RowRange> ranges;
        for (std::size_t i = round.begin; i < round.end; ++i)
            append(ranges, {fields[i].row.first_source, fields[i].row.source_count});
        file.write_rows("catalog", source_members(), ranges, std::as_bytes(std::span{rows}));
    }
}

void write_fields(h5::File& file, std::span<const LocalField> fields) {
    std::vector<FieldRow> rows;
    std::vector<h5::RowRange> ranges;
    for (const LocalField& field : fields) {
        rows.push_back(field.row);
        append(ranges, {field.index, 1});
    }
    file.write_rows("fields", field_members(), ranges, std::as_bytes(std::span{rows}));
}

}  // namespace

void write_catalog(const std::filesystem::path& path, const comm::Communicator& comm, std::vector<LocalField> given,
                   const SourceLoader& load_sources, const Provenance& provenance, std::int64_t round_bytes) {
    const std::vector<std::int64_t> first = first_sources(comm, given);
    const std::int64_t field_count = std::ssize(first) - 1;

    // In file order; `positions` remembers where each stood, for the loader.
    std::vector<std::size_t> positions(given.size());
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = i;
    std::ranges::sort(positions, {}, [&](std::size_t i) { return given[i].index; });
    std::vector<LocalField> fields;
    for (const std::size_t i : positions) {
        fields.push_back(given[i]);
        fields.back().row.first_source = first[static_cast<std::size_t>(given[i].index)];
        fields.back().row.source_count = given[i].source_count;
    }

    auto file = h5::File::create(path, comm);
    file.write_attribute("/", "schema_version", k_schema_version);
    file.write_attribute("/", "program_version", provenance.program_version);
    file.write_attribute("/", "configuration", provenance.configuration);
    file.write_attribute("/", "configuration_sha256", provenance.configuration_sha256);
    file.write_attribute("/", "model_sha256", provenance.model_sha256);
    file.create_rows("fields", field_members(), field_count);
    file.create_rows("catalog", source_members(), first.back());
    write_fields(file, fields);
    write_sources(file, comm, fields, positions, load_sources, round_bytes);
    file.commit();
}

void write_catalog(const std::filesystem::path& path, const Catalog& catalog) {
    std::vector<LocalField> fields;
    for (const FieldRow& row : catalog.fields) {
        if (row.first_source < 0 || row.source_count < 0 ||
            row.first_source + row.source_count > std::ssize(catalog.sources))
            throw DataError("catalogue: field " + to_string(FieldId{row.run, row.camcol, row.field}) +
                            " names sources that are not there");
        fields.push_back({std::ssize(fields), row.source_count, row});
    }
    const auto load = [&](std::size_t i) {
        const auto begin = catalog.sources.begin() + catalog.fields[i].first_source;
        return std::vector<SourceRow>(begin, begin + catalog.fields[i].source_count);
    };
    write_catalog(path, comm::Communicator::self(), std::move(fields), load, catalog);
}

}  // namespace bliss::catalog
