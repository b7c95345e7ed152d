#include "bliss/catalog/reader.hpp"

#include "bliss/catalog/writer.hpp"
#include "bliss/core/error.hpp"
#include "bliss/h5/file.hpp"
#include "catalog/example_catalog.hpp"
#include "support/shared_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

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
