#include "bliss/catalog/writer.hpp"

#include "bliss/catalog/reader.hpp"
#include "bliss/core/error.hpp"
#include "catalog/example_catalog.hpp"
#include "support/shared_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cstring>

using namespace bliss;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr std::int64_t k_fields = 23;

/// Which rank holds a field.
using Deal = std::int64_t (*)(std::int64_t index, int ranks);

std::int64_t in_turn(std::int64_t index, int ranks) { return index % ranks; }
std::int64_t in_blocks(std::int64_t index, int ranks) { return index * ranks / k_fields; }
std::int64_t all_to_the_last(std::int64_t, int ranks) { return ranks - 1; }

/// Fields of this rank, highest index first: the order in which a rank holds them must not matter.
std::vector<catalog::LocalField> local_fields(const comm::Communicator& comm, Deal deal) {
    std::vector<catalog::LocalField> fields;
    for (std::int64_t index = k_fields - 1; index >= 0; --index)
        if (deal(index, comm.size()) == comm.rank())
            fields.push_back({index, test::example_count(index), test::example_samples(index), test::example_tiles(index)});
    return fields;
}

/// Where its rows begin is the writer's to fill in.
catalog::FieldRow field_of(std::int64_t index) {
    catalog::FieldRow row = test::example_field(index, test::example_count(index));
    row.source_count = -1;
    return row;
}

std::vector<catalog::SourceRow> sources_of(std::int64_t index) {
    std::vector<catalog::SourceRow> rows;
    for (std::int64_t i = 0; i < test::example_count(index); ++i) {
        rows.push_back(test::example_source(index, i));
        rows.back().field_index = -1;  // the writer's to fill in
    }
    return rows;
}

std::vector<catalog::SampleRow> samples_of(std::int64_t index) {
    std::vector<catalog::SampleRow> rows;
    for (std::int64_t i = 0; i < test::example_samples(index); ++i) {
        rows.push_back(test::example_sample(index, i));
        rows.back().field_index = -1;
    }
    return rows;
}

std::vector<catalog::TileRow> tiles_of(std::int64_t index) {
    std::vector<catalog::TileRow> rows;
    for (std::int64_t i = 0; i < test::example_tiles(index); ++i) {
        rows.push_back(test::example_tile(index, i));
        rows.back().field_index = -1;
    }
    return rows;
}

void write(const std::filesystem::path& path, const comm::Communicator& comm, Deal deal, std::int64_t round_bytes) {
    const auto fields = local_fields(comm, deal);
    const catalog::RowLoaders load{
        [&](std::size_t i) { return field_of(fields[i].index); }, [&](std::size_t i) { return sources_of(fields[i].index); },
        [&](std::size_t i) { return samples_of(fields[i].index); }, [&](std::size_t i) { return tiles_of(fields[i].index); }};
    catalog::write_catalog(path, comm, fields, load, test::example_provenance(), round_bytes);
}

/// Rows of another table stand field by field, each as it was given, where the field says.
template <class Row>
void check_rows(const std::vector<catalog::FieldRow>& fields, const std::vector<Row>& rows, std::int64_t catalog::FieldRow::* first,
                std::int64_t catalog::FieldRow::* count, std::int64_t (*expected_count)(std::int64_t),
                Row (*expected)(std::int64_t, std::int64_t)) {
    std::int64_t next = 0;
    for (std::int64_t index = 0; index < std::ssize(fields); ++index) {
        // Packed members have no address of their own to bind to.
        const std::int64_t begin = fields[static_cast<std::size_t>(index)].*first,
                           of_field = fields[static_cast<std::size_t>(index)].*count;
        CHECK(begin == next);
        CHECK(of_field == expected_count(index));
        for (std::int64_t i = 0; i < expected_count(index); ++i, ++next) {
            const Row wanted = expected(index, i);
            CHECK(std::memcmp(&rows.at(static_cast<std::size_t>(next)), &wanted, sizeof wanted) == 0);
        }
    }
    CHECK(std::ssize(rows) == next);
    CHECK(next > 0);
}

template <class Work>
std::string error_of(Work&& work) {
    try {
        work();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("sources and fields come back in canonical order with their ranges filled in") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    write(folder / "catalog.h5", comm, in_turn, 1 << 20);
    const catalog::Catalog read = catalog::read_catalog(folder / "catalog.h5");

    CHECK(read.configuration == test::example_provenance().configuration);
    CHECK(read.configuration_sha256 == "abc");
    CHECK(read.model_sha256.empty());
    CHECK(read.program_version == "0.1");
    CHECK(read.fields.size() == k_fields);
    std::int64_t next = 0;
    for (std::int64_t index = 0; index < std::ssize(read.fields); ++index) {
        const catalog::FieldRow& field = read.fields[static_cast<std::size_t>(index)];
        CHECK(std::int64_t{field.field} == index);
        CHECK(std::int64_t{field.first_source} == next);
        CHECK(std::int64_t{field.source_count} == test::example_count(index));
        for (std::int64_t i = 0; i < test::example_count(index); ++i) {
            const auto expected = test::example_source(index, i);
            CHECK(std::memcmp(&read.sources.at(static_cast<std::size_t>(next + i)), &expected, sizeof expected) == 0);
        }
        next += test::example_count(index);
    }
    CHECK(std::ssize(read.sources) == next);
    check_rows(read.fields, read.samples, &catalog::FieldRow::first_sample, &catalog::FieldRow::sample_count, test::example_samples,
               test::example_sample);
    CHECK(read.draws == 5);
    check_rows(read.fields, read.tiles, &catalog::FieldRow::first_tile, &catalog::FieldRow::tile_count, test::example_tiles,
               test::example_tile);
    CHECK(next > 0);
    CHECK(catalog::text_of(read.fields.front().reason) == "frame is missing");
    CHECK(catalog::text_of(read.fields.front().band) == "r");
}

TEST_CASE("the bytes do not depend on ranks, on who holds which field, or on how much is written at once") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto path = folder / "alone.h5";
    if (comm.rank() == 0) catalog::write_catalog(path, test::example_catalog(k_fields));
    comm.barrier();
    const std::string alone = test::bytes_of(path);
    CHECK(alone.size() > 10'000);
    for (int ranks = 1; ranks <= comm.size(); ++ranks) {
        const auto part = comm.split(comm.rank() < ranks ? 0 : 1, comm.rank());
        for (const Deal deal : {in_turn, in_blocks, all_to_the_last})
            for (const std::int64_t round_bytes : {1, 10'000, 1 << 26}) {
                if (comm.rank() < ranks) write(folder / "many.h5", part, deal, round_bytes);
                comm.barrier();
                CHECK((test::bytes_of(folder / "many.h5") == alone));
                comm.barrier();
            }
    }
}

TEST_CASE("a catalogue without any field or source can be written and read") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    catalog::write_catalog(folder / "empty.h5", comm, {}, {}, test::example_provenance());
    const catalog::Catalog read = catalog::read_catalog(folder / "empty.h5");
    CHECK(read.fields.empty());
    CHECK(read.sources.empty());
    CHECK(read.samples.empty());
}

TEST_CASE("a field that is doubled or missing is one error on all ranks") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto write_indices = [&](std::int64_t shift) {
        std::vector<catalog::LocalField> fields;
        for (std::int64_t index = 0; index < k_fields; ++index)
            if (index % comm.size() == comm.rank()) fields.push_back({index == 7 ? index + shift : index});
        return error_of([&] {
            const catalog::RowLoaders none{[&](std::size_t i) { return field_of(fields[i].index); },
                                           [](std::size_t) { return std::vector<catalog::SourceRow>{}; },
                                           {},
                                           {}};
            catalog::write_catalog(folder / "a.h5", comm, fields, none, {});
        });
    };
    CHECK_THAT(write_indices(1), ContainsSubstring("field index 7 is held by no rank"));
    CHECK_THAT(write_indices(-1), ContainsSubstring("field index 6 is held twice"));
    CHECK(write_indices(0).empty());
}

TEST_CASE("a rank that cannot load its sources fails all ranks with its reason and leaves no file") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto fields = local_fields(comm, in_turn);
    const int failing = comm.size() - 1;
    const auto row = [&](std::size_t i) { return field_of(fields[i].index); };
    const auto load = [&](std::size_t i) {
        if (comm.rank() == failing && i == 1) throw IoError("journal: cannot read");
        return sources_of(fields[i].index);
    };
    const auto samples = [&](std::size_t i) { return samples_of(fields[i].index); };
    const auto tiles = [&](std::size_t i) { return tiles_of(fields[i].index); };
    std::string message = error_of([&] { catalog::write_catalog(folder / "a.h5", comm, fields, {row, load, samples, tiles}, {}, 1); });
    CHECK_THAT(message, ContainsSubstring("journal: cannot read"));
    if (comm.size() > 1) CHECK_THAT(message, ContainsSubstring("rank " + std::to_string(failing) + ": "));
    comm.barrier();
    CHECK(std::filesystem::is_empty(folder.path()));
    comm.barrier();

    const auto too_few = [&](std::size_t i) {
        auto rows = sources_of(fields[i].index);
        if (comm.rank() == failing && !rows.empty()) rows.pop_back();
        return rows;
    };
    message = error_of([&] { catalog::write_catalog(folder / "a.h5", comm, fields, {row, too_few, samples, tiles}, {}); });
    CHECK_THAT(message, ContainsSubstring("were announced"));
    const auto all = [&](std::size_t i) { return sources_of(fields[i].index); };
    const auto too_many = [&](std::size_t i) {
        auto rows = samples_of(fields[i].index);
        if (comm.rank() == failing) rows.push_back({});
        return rows;
    };
    message = error_of([&] { catalog::write_catalog(folder / "a.h5", comm, fields, {row, all, too_many, tiles}, {}); });
    CHECK_THAT(message, ContainsSubstring("rows of /samples"));
}
