#include "bliss/catalog/reader.hpp"

#include "bliss/catalog/footprint.hpp"
#include "bliss/catalog/sky_index.hpp"
#include "bliss/core/error.hpp"
#include "bliss/h5/reader.hpp"
#include "bliss/survey/healpix.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::catalog {
namespace {

FieldId id_of(const FieldRow& row) { return {row.run, row.camcol, row.field}; }

/// Opens a catalogue of this program's schema and reads what it was made by.
h5::Reader open(const std::filesystem::path& path, Provenance& provenance) {
    auto reader = h5::Reader::open(path);
    const std::int64_t version = reader.read_integer_attribute("/", "schema_version");
    if (version != k_schema_version)
        throw DataError(path.string() + ": catalogue of schema version " + std::to_string(version) + ", this program reads " +
                        std::to_string(k_schema_version) + "; make the catalogue again, or use the program that made it (" +
                        reader.read_text_attribute("/", "program_version") + ")");
    provenance.configuration = reader.read_text_attribute("/", "configuration");
    provenance.configuration_sha256 = reader.read_text_attribute("/", "configuration_sha256");
    provenance.model_sha256 = reader.read_text_attribute("/", "model_sha256");
    provenance.program_version = reader.read_text_attribute("/", "program_version");
    if (reader.has("samples")) provenance.draws = reader.read_integer_attribute("samples", "draws");
    return reader;
}

/// The first of `rows` sorted rows for which `before` is false, by reading few of them.
template <class Before>
std::int64_t first_not(std::int64_t rows, const Before& before) {
    std::int64_t low = 0, high = rows;
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        if (before(middle))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/// Rows of a dataset that need not be there.
template <class Row>
std::vector<Row> read_optional(const h5::Reader& reader, const std::string& dataset, std::span<const Member> members, h5::RowRange range) {
    if (range.count == 0 && !reader.has(dataset)) return {};
    return reader.read_rows<Row>(dataset, members, range);
}

std::int64_t optional_count(const h5::Reader& reader, const std::string& dataset) {
    return reader.has(dataset) ? reader.row_count(dataset) : 0;
}

}  // namespace

Catalog read_catalog(const std::filesystem::path& path) {
    Catalog catalog;
    const h5::Reader reader = open(path, catalog);
    catalog.fields = reader.read_rows<FieldRow>("fields", field_members());
    catalog.sources = reader.read_rows<SourceRow>("catalog", source_members());
    catalog.samples = read_optional<SampleRow>(reader, "samples", sample_members(), {0, optional_count(reader, "samples")});
    catalog.tiles = read_optional<TileRow>(reader, "tiles", tile_members(), {0, optional_count(reader, "tiles")});

    const auto check = [&](const char* dataset, std::size_t rows, std::int64_t FieldRow::* first, std::int64_t FieldRow::* count) {
        std::int64_t next = 0;
        for (const FieldRow& field : catalog.fields) {
            // Packed members have no address of their own to bind to.
            const std::int64_t begin = field.*first, of_field = field.*count;
            if (begin != next || of_field < 0)
                throw DataError(path.string() + ": field " + to_string(id_of(field)) + " does not say where its rows of /" + dataset +
                                " are; the file is damaged");
            next += of_field;
        }
        if (next != static_cast<std::int64_t>(rows))
            throw DataError(path.string() + ": /fields counts " + std::to_string(next) + " rows, /" + dataset + " holds " +
                            std::to_string(rows) + "; the file is damaged");
    };
    check("catalog", catalog.sources.size(), &FieldRow::first_source, &FieldRow::source_count);
    check("samples", catalog.samples.size(), &FieldRow::first_sample, &FieldRow::sample_count);
    check("tiles", catalog.tiles.size(), &FieldRow::first_tile, &FieldRow::tile_count);
    return catalog;
}

Catalog read_field(const std::filesystem::path& path, const FieldId& id) {
    Catalog catalog;
    const h5::Reader reader = open(path, catalog);
    const std::int64_t fields = reader.row_count("fields");
    const auto row = [&](std::int64_t k) { return reader.read_rows<FieldRow>("fields", field_members(), {k, 1}).front(); };
    const std::int64_t found = first_not(fields, [&](std::int64_t k) { return id_of(row(k)) < id; });
    if (found == fields || id_of(row(found)) != id)
        throw DataError(path.string() + ": holds no field " + to_string(id) + "; bliss-mpi info lists those there are");
    FieldRow field = row(found);
    catalog.sources = reader.read_rows<SourceRow>("catalog", source_members(), {field.first_source, field.source_count});
    catalog.samples = read_optional<SampleRow>(reader, "samples", sample_members(), {field.first_sample, field.sample_count});
    catalog.tiles = read_optional<TileRow>(reader, "tiles", tile_members(), {field.first_tile, field.tile_count});
    field.first_source = field.first_sample = field.first_tile = 0;
    catalog.fields.push_back(field);
    const auto renumber = [](auto& rows) {
        for (auto& of_field : rows) of_field.field_index = 0;
    };
    renumber(catalog.sources);
    renumber(catalog.samples);
    renumber(catalog.tiles);
    return catalog;
}

Catalog read_cone(const std::filesystem::path& path, survey::SkyPosition centre, double radius_deg) {
    Catalog catalog;
    const h5::Reader reader = open(path, catalog);
    if (!reader.has("sky")) throw DataError(path.string() + ": no source has a place on the sky, as images have without a WCS");
    const std::int64_t runs = reader.row_count("sky");
    const auto read_runs = [&](h5::RowRange range) { return reader.read_rows<SkyRow>("sky", sky_members(), range); };
    const auto first_from = [&](std::int64_t pixel) {
        return first_not(runs, [&](std::int64_t k) { return read_runs({k, 1}).front().pixel < pixel; });
    };
    std::vector<h5::RowRange> ranges;
    for (const survey::PixelRange& pixels : survey::healpix_cone(k_sky_order, centre, radius_deg)) {
        const std::int64_t first = first_from(pixels.first);
        for (const SkyRow& run : read_runs({first, first_from(pixels.last + 1) - first}))
            ranges.push_back({run.first_source, run.source_count});
    }
    std::ranges::sort(ranges, {}, &h5::RowRange::first);

    const Direction axis = direction_of(centre);
    const double chord = 2 * std::sin(radius_deg * std::numbers::pi / 360);
    std::int64_t last_field = -1;
    for (std::size_t k = 0; k < ranges.size();) {
        h5::RowRange range = ranges[k];
        for (++k; k < ranges.size() && ranges[k].first == range.first + range.count; ++k) range.count += ranges[k].count;
        for (SourceRow& source : reader.read_rows<SourceRow>("catalog", source_members(), range)) {
            if (squared_distance(axis, direction_of({source.ra_deg, source.dec_deg})) > chord * chord) continue;
            if (source.field_index != last_field) {
                last_field = source.field_index;
                FieldRow field = reader.read_rows<FieldRow>("fields", field_members(), {source.field_index, 1}).front();
                field.first_source = std::ssize(catalog.sources);
                field.source_count = field.first_sample = field.sample_count = field.first_tile = field.tile_count = 0;
                catalog.fields.push_back(field);
            }
            source.field_index = std::ssize(catalog.fields) - 1;
            catalog.sources.push_back(source);
            ++catalog.fields.back().source_count;
        }
    }
    return catalog;
}

Overview read_overview(const std::filesystem::path& path) {
    Overview overview;
    const h5::Reader reader = open(path, overview);
    overview.fields = reader.row_count("fields");
    overview.sources = reader.row_count("catalog");
    overview.mode = reader.read_integer_attribute("catalog", "mode_rows");
    overview.mode_primary = reader.read_integer_attribute("catalog", "mode_primary_rows");
    overview.samples = optional_count(reader, "samples");
    overview.tiles = optional_count(reader, "tiles");
    return overview;
}

std::vector<FieldRow> read_field_rows(const std::filesystem::path& path, std::int64_t first, std::int64_t count) {
    Provenance provenance;
    return open(path, provenance).read_rows<FieldRow>("fields", field_members(), {first, count});
}

}  // namespace bliss::catalog
