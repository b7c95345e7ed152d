#include "bliss/catalog/reader.hpp"

#include "bliss/catalog/writer.hpp"
#include "bliss/core/error.hpp"
#include "bliss/h5/file.hpp"
#include "catalog/example_catalog.hpp"
#include "support/shared_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <tuple>

using namespace bliss;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string error_of(const std::filesystem::path& path) {
    try {
        (void)catalog::read_catalog(path);
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

/// A file that lies in one respect: its schema version, or the sources its fields count.
void write_other(const std::filesystem::path& path, std::int64_t version, std::int64_t sources) {
    auto file = h5::File::create(path, comm::Communicator::self());
    file.write_attribute("/", "schema_version", version);
    for (const char* name : {"program_version", "configuration", "configuration_sha256", "model_sha256"})
        file.write_attribute("/", name, std::string_view{"9.9"});
    const std::vector<catalog::FieldRow> fields{test::example_field(0, 2)};
    const std::vector<catalog::SourceRow> rows(static_cast<std::size_t>(sources), test::example_source(0, 0));
    file.create_rows("fields", catalog::field_members(), 1);
    file.create_rows("catalog", catalog::source_members(), sources);
    const h5::RowRange one{0, 1};
    const h5::RowRange all{0, sources};
    file.write_rows("fields", catalog::field_members(), std::span{&one, 1}, std::as_bytes(std::span{fields}));
    file.write_rows("catalog", catalog::source_members(), std::span{&all, 1}, std::as_bytes(std::span{rows}));
    file.commit();
}

}  // namespace

TEST_CASE("another schema version is refused with both versions") {
    const test::TemporaryFolder folder;
    write_other(folder / "a.h5", catalog::k_schema_version, 2);
    CHECK(error_of(folder / "a.h5").empty());
    write_other(folder / "b.h5", catalog::k_schema_version + 1, 2);
    CHECK_THAT(error_of(folder / "b.h5"),
               ContainsSubstring("b.h5: catalogue of schema version " + std::to_string(catalog::k_schema_version + 1) +
                                 ", this program reads " + std::to_string(catalog::k_schema_version)) &&
                   ContainsSubstring("9.9"));
}

TEST_CASE("fields that count other sources than there are are refused") {
    const test::TemporaryFolder folder;
    write_other(folder / "a.h5", catalog::k_schema_version, 3);
    CHECK_THAT(error_of(folder / "a.h5"), ContainsSubstring("/fields counts 2 rows, /catalog holds 3"));
}

TEST_CASE("what is no catalogue is refused with what is wrong") {
    const test::TemporaryFolder folder;
    CHECK_THAT(error_of(folder / "none.h5"), ContainsSubstring("no such file"));
    test::write_bytes(folder / "text.h5", "x,y\n1,2\n");
    CHECK_THAT(error_of(folder / "text.h5"), ContainsSubstring("not an HDF5 file"));

    h5::File::create(folder / "other.h5", comm::Communicator::self()).commit();
    CHECK_THAT(error_of(folder / "other.h5"), ContainsSubstring("attribute schema_version is not in the file"));

    catalog::write_catalog(folder / "whole.h5", test::example_catalog(5));
    CHECK(error_of(folder / "whole.h5").empty());
    const std::string bytes = test::bytes_of(folder / "whole.h5");
    for (const std::size_t size : {std::size_t{0}, std::size_t{10}, bytes.size() / 2, bytes.size() - 1}) {
        test::write_bytes(folder / "short.h5", bytes.substr(0, size));
        CHECK_THAT(error_of(folder / "short.h5"), ContainsSubstring("short.h5"));
    }
}

TEST_CASE("one field is read without the others") {
    const test::TemporaryFolder folder;
    const auto path = folder / "whole.h5";
    catalog::write_catalog(path, test::example_catalog(23));
    const catalog::Catalog whole = catalog::read_catalog(path);
    for (std::int32_t index = 0; index < 23; ++index) {
        const catalog::Catalog one = catalog::read_field(path, {94, 1, index});
        REQUIRE(one.fields.size() == 1);
        CHECK(one.fields[0].field == index);
        CHECK(one.draws == 5);
        const auto sources = catalog::sources_of(whole, whole.fields[static_cast<std::size_t>(index)]);
        const auto mine = catalog::sources_of(one, one.fields[0]);
        REQUIRE(mine.size() == sources.size());
        for (std::size_t i = 0; i < mine.size(); ++i) {
            CHECK(mine[i].field_index == 0);
            CHECK(mine[i].x_px == sources[i].x_px);
        }
        CHECK(catalog::samples_of(one, one.fields[0]).size() ==
              catalog::samples_of(whole, whole.fields[static_cast<std::size_t>(index)]).size());
        CHECK(std::ssize(one.tiles) == test::example_tiles(index));
    }
    try {
        (void)catalog::read_field(path, {94, 1, 23});
        FAIL("there is no such field");
    } catch (const DataError& error) {
        CHECK_THAT(error.what(), ContainsSubstring("holds no field 94-1-23"));
    }
}

TEST_CASE("a cone is read by the index of the sky: what lies in it, no more and no less") {
    const test::TemporaryFolder folder;
    const auto path = folder / "whole.h5";
    // Sources on a band across right ascension 0, by field from right to left; one has no place.
    catalog::Catalog all = test::example_catalog(23);
    for (std::size_t k = 0; k < all.sources.size(); ++k) {
        all.sources[k].ra_deg = std::fmod(361.5 - 0.005 * static_cast<double>(k), 360);
        all.sources[k].dec_deg = 0.4 * std::sin(static_cast<double>(k));
    }
    all.sources[40].ra_deg = std::nan("");
    catalog::write_catalog(path, all);
    for (const auto& [ra, dec, radius] :
         {std::tuple{0.0, 0.0, 0.3}, {359.99, 0.2, 0.05}, {1.5, 0.0, 10.0}, {-0.1, 0.0, 0.2}, {180.0, 0.0, 1.0}}) {
        const auto inside = [&](const catalog::SourceRow& s) {
            const double off = std::remainder(s.ra_deg - ra, 360) * std::cos(s.dec_deg * 0.0174533);
            return std::hypot(off, s.dec_deg - dec) < radius;
        };
        std::vector<double> expected, found;
        for (const auto& source : all.sources) {
            if (inside(source)) expected.push_back(source.x_px);
        }
        const catalog::Catalog cone = catalog::read_cone(path, {ra, dec}, radius);
        std::int64_t in_fields = 0;
        for (const catalog::FieldRow& field : cone.fields) {
            for (const auto& source : catalog::sources_of(cone, field)) CHECK(source.field == field.field);
            in_fields += field.source_count;
        }
        CHECK(in_fields == std::ssize(cone.sources));
        for (const auto& source : cone.sources) found.push_back(source.x_px);
        CHECK(found == expected);
    }
    catalog::Catalog no_sky = test::example_catalog(3);
    for (auto& source : no_sky.sources) source.ra_deg = std::nan("");
    catalog::write_catalog(folder / "no_sky.h5", no_sky);
    CHECK_THROWS_AS(catalog::read_cone(folder / "no_sky.h5", {0, 0}, 1), DataError);
}
