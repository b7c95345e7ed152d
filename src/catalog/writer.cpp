#include "bliss/catalog/writer.hpp"

#include "bliss/catalog/sky_index.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/h5/file.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace bliss::catalog {

namespace {

/// Where each field's rows start in /catalog, /samples and /tiles, by field index; one more element: the number of all rows.
struct Firsts {
    std::vector<std::int64_t> source{0};
    std::vector<std::int64_t> sample{0};
    std::vector<std::int64_t> tile{0};
};

/// @throws DataError on all ranks when the fields' indices are not 0 ... n - 1 once each. @collective
Firsts first_rows(const comm::Communicator& comm, const std::vector<LocalField>& fields) {
    std::vector<LocalField> all = comm.gather_v(fields);
    std::ranges::sort(all, {}, &LocalField::index);
    Firsts first;
    comm::agree_on(comm, [&] {
        for (const LocalField& field : all) {
            const std::int64_t expected = std::ssize(first.source) - 1;
            if (field.index != expected)
                throw DataError("catalogue: field index " + std::to_string(field.index < expected ? field.index : expected) +
                                (field.index < expected ? " is held twice" : " is held by no rank"));
            first.source.push_back(first.source.back() + field.source_count);
            first.sample.push_back(first.sample.back() + field.sample_count);
            first.tile.push_back(first.tile.back() + field.tile_count);
        }
    });
    return first;
}

/// Appends a range, joined to the last one where they touch.
void append(std::vector<h5::RowRange>& ranges, h5::RowRange range) {
    if (range.count == 0) return;
    if (!ranges.empty() && ranges.back().first + ranges.back().count == range.first)
        ranges.back().count += range.count;
    else
        ranges.push_back(range);
}

/// One dataset that holds rows of fields, field by field.
template <class Row>
struct Table {
    const char* name;
    std::span<const Member> members;
    std::vector<h5::RowRange> of_field;                       ///< of each local field, in file order
    std::function<std::vector<Row>(std::size_t field)> load;  ///< rows of a local field, complete, by place in file order
};

/// Local fields [begin, end) whose rows are written in one collective call.
struct Round {
    std::size_t begin = 0;
    std::size_t end = 0;
};

std::vector<Round> cut_rounds(std::span<const h5::RowRange> of_field, std::size_t row_bytes, std::int64_t round_bytes) {
    std::vector<Round> rounds;
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < of_field.size(); ++i) {
        if (rounds.empty() || (rows + of_field[i].count) * static_cast<std::int64_t>(row_bytes) > round_bytes) {
            rounds.push_back({i, i});
            rows = 0;
        }
        rounds.back().end = i + 1;
        rows += of_field[i].count;
    }
    return rounds;
}

template <class Row>
std::vector<Row> load_round(std::span<const LocalField> fields, const Table<Row>& table, Round round) {
    std::vector<Row> rows;
    std::int64_t count = 0;
    for (std::size_t i = round.begin; i < round.end; ++i) count += table.of_field[i].count;
    rows.reserve(static_cast<std::size_t>(count));
    for (std::size_t i = round.begin; i < round.end; ++i) {
        std::vector<Row> of_field = table.load(i);
        if (std::ssize(of_field) != table.of_field[i].count)
            throw DataError("catalogue: the field of index " + std::to_string(fields[i].index) + " gave " +
                            std::to_string(of_field.size()) + " rows of /" + table.name + " where " +
                            std::to_string(table.of_field[i].count) + " were announced");
        rows.insert(rows.end(), of_field.begin(), of_field.end());
    }
    return rows;
}

template <class Row>
void write_table(h5::File& file, const comm::Communicator& comm, std::span<const LocalField> fields, const Table<Row>& table,
                 std::int64_t round_bytes) {
    const std::vector<Round> rounds = cut_rounds(table.of_field, sizeof(Row), round_bytes);
    const std::int64_t most = comm.all_reduce_max(std::ssize(rounds));
    for (std::int64_t r = 0; r < most; ++r) {
        const Round round = r < std::ssize(rounds) ? rounds[static_cast<std::size_t>(r)] : Round{};
        std::vector<Row> rows;
        comm::agree_on(comm, [&] { rows = load_round(fields, table, round); });
        std::vector<h5::RowRange> ranges;
        for (std::size_t i = round.begin; i < round.end; ++i) append(ranges, table.of_field[i]);
        file.write_rows(table.name, table.members, ranges, std::as_bytes(std::span{rows}));
    }
}

/// Writes the runs of all ranks. @collective
void write_sky(h5::File& file, const comm::Communicator& comm, std::vector<SkyRow> mine) {
    std::vector<SkyRow> all = comm.gather_v(mine, 0);
    mine = {};
    std::ranges::sort(all, {}, [](const SkyRow& run) { return std::pair{std::int64_t{run.pixel}, std::int64_t{run.first_source}}; });
    std::int64_t runs = std::ssize(all);
    comm.broadcast(runs);
    if (runs == 0) return;
    file.create_rows("sky", sky_members(), runs);
    file.write_attribute("sky", "order", std::int64_t{k_sky_order});
    file.write_attribute("sky", "scheme", "NESTED");
    const std::vector<h5::RowRange> ranges(comm.rank() == 0 ? 1 : 0, h5::RowRange{0, runs});
    file.write_rows("sky", sky_members(), ranges, std::as_bytes(std::span{all}));
}

}  // namespace

ModeCounts write_catalog(const std::filesystem::path& path, const comm::Communicator& comm, std::vector<LocalField> given,
                         const RowLoaders& load, const Provenance& provenance, std::int64_t round_bytes) {
    const Firsts first = first_rows(comm, given);
    const std::int64_t field_count = std::ssize(first.source) - 1;

    // In file order; `positions` remembers where each stood, for the loader.
    std::vector<std::size_t> positions(given.size());
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = i;
    std::ranges::sort(positions, {}, [&](std::size_t i) { return given[i].index; });
    std::vector<LocalField> fields;
    for (const std::size_t i : positions) fields.push_back(given[i]);
    const auto named = [&](auto rows, std::size_t i) {
        for (auto& row : rows) row.field_index = fields[i].index;
        return rows;
    };
    std::vector<SkyRow> sky;
    ModeCounts mode;
    Table<SourceRow> sources{"catalog", source_members(), {}, [&](std::size_t i) {
                                 std::vector<SourceRow> of_field = named(load.sources(positions[i]), i);
                                 append_runs(of_field, sources.of_field[i].first, sky);
                                 for (const SourceRow& row : of_field) {
                                     if ((row.flags & k_flag_mode) == 0) continue;
                                     ++mode.rows;
                                     mode.primary += row.primary != 0 ? 1 : 0;
                                 }
                                 return of_field;
                             }};
    Table<SampleRow> samples{"samples", sample_members(), {}, [&](std::size_t i) { return named(load.samples(positions[i]), i); }};
    Table<TileRow> tiles{"tiles", tile_members(), {}, [&](std::size_t i) { return named(load.tiles(positions[i]), i); }};
    Table<FieldRow> rows{"fields", field_members(), {}, [&](std::size_t i) {
                             FieldRow row = load.field(positions[i]);
                             row.first_source = sources.of_field[i].first;
                             row.source_count = sources.of_field[i].count;
                             row.first_sample = samples.of_field[i].first;
                             row.sample_count = samples.of_field[i].count;
                             row.first_tile = tiles.of_field[i].first;
                             row.tile_count = tiles.of_field[i].count;
                             return std::vector{row};
                         }};
    for (const LocalField& field : fields) {
        const auto index = static_cast<std::size_t>(field.index);
        rows.of_field.push_back({field.index, 1});
        sources.of_field.push_back({first.source[index], field.source_count});
        samples.of_field.push_back({first.sample[index], field.sample_count});
        tiles.of_field.push_back({first.tile[index], field.tile_count});
    }

    auto file = h5::File::create(path, comm);
    file.write_attribute("/", "schema_version", k_schema_version);
    file.write_attribute("/", "program_version", provenance.program_version);
    file.write_attribute("/", "configuration", provenance.configuration);
    file.write_attribute("/", "configuration_sha256", provenance.configuration_sha256);
    file.write_attribute("/", "model_sha256", provenance.model_sha256);
    file.create_rows("fields", field_members(), field_count);
    file.create_rows("catalog", source_members(), first.source.back());
    const bool sampled = provenance.draws > 0 || first.sample.back() > 0, tiled = first.tile.back() > 0;
    if (sampled) {
        file.create_rows("samples", sample_members(), first.sample.back());
        file.write_attribute("samples", "draws", provenance.draws);
    }
    if (tiled) file.create_rows("tiles", tile_members(), first.tile.back());
    write_table(file, comm, fields, rows, round_bytes);
    write_table(file, comm, fields, sources, round_bytes);
    if (sampled) write_table(file, comm, fields, samples, round_bytes);
    if (tiled) write_table(file, comm, fields, tiles, round_bytes);
    write_sky(file, comm, std::move(sky));
    mode = {comm.all_reduce_sum(mode.rows), comm.all_reduce_sum(mode.primary)};
    file.write_attribute("catalog", "mode_rows", mode.rows);
    file.write_attribute("catalog", "mode_primary_rows", mode.primary);
    file.commit();
    return mode;
}

void write_catalog(const std::filesystem::path& path, const Catalog& catalog) {
    std::vector<LocalField> fields;
    const auto inside = [](std::int64_t first, std::int64_t count, std::size_t rows) {
        return first >= 0 && count >= 0 && first + count <= static_cast<std::int64_t>(rows);
    };
    for (const FieldRow& row : catalog.fields) {
        if (!inside(row.first_source, row.source_count, catalog.sources.size()) ||
            !inside(row.first_sample, row.sample_count, catalog.samples.size()) ||
            !inside(row.first_tile, row.tile_count, catalog.tiles.size()))
            throw DataError("catalogue: field " + to_string(FieldId{row.run, row.camcol, row.field}) + " names rows that are not there");
        fields.push_back({std::ssize(fields), row.source_count, row.sample_count, row.tile_count});
    }
    const auto part = [](const auto& rows, std::int64_t first, std::int64_t count) {
        return std::vector(rows.begin() + first, rows.begin() + first + count);
    };
    const auto& of = catalog.fields;
    const RowLoaders load{[&](std::size_t i) { return of[i]; },
                          [&](std::size_t i) { return part(catalog.sources, of[i].first_source, of[i].source_count); },
                          [&](std::size_t i) { return part(catalog.samples, of[i].first_sample, of[i].sample_count); },
                          [&](std::size_t i) { return part(catalog.tiles, of[i].first_tile, of[i].tile_count); }};
    write_catalog(path, comm::Communicator::self(), std::move(fields), load, catalog);
}

}  // namespace bliss::catalog
