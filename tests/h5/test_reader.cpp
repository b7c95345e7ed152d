#include "bliss/h5/reader.hpp"

#include "bliss/core/error.hpp"
#include "h5/example_rows.hpp"
#include "support/shared_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>
#include <vector>

using namespace bliss;
using Catch::Matchers::ContainsSubstring;
using test::ExampleRow;

namespace {

template <class Work>
std::string error_of(Work&& work) {
    try {
        work();
    } catch (const H5Error& error) {
        return error.what();
    }
    return {};
}

/// Each test reads what this rank wrote alone.
std::filesystem::path write_alone(const test::TemporaryFolder& folder) {
    const auto self = comm::Communicator::self();
    auto file = h5::File::create(folder / "a.h5", self);
    test::write_example(file, self, 100, 100);
    file.commit();
    return folder / "a.h5";
}

}  // namespace

TEST_CASE("what is absent is named, with file and dataset") {
    const test::TemporaryFolder folder;
    const auto path = write_alone(folder);
    const auto reader = h5::Reader::open(path);
    CHECK(reader.has("rows"));
    CHECK_FALSE(reader.has("catalog"));

    std::string message = error_of([&] { (void)reader.row_count("catalog"); });
    CHECK_THAT(message, ContainsSubstring(path.string()) && ContainsSubstring("catalog: is not in the file"));

    message = error_of([&] { (void)reader.read_integer_attribute("/", "version"); });
    CHECK_THAT(message, ContainsSubstring("attribute version is not in the file"));

    std::vector<h5::Member> members{std::begin(test::k_example_members), std::end(test::k_example_members)};
    members[3].name = "other_value";
    message = error_of([&] { (void)reader.read_rows<ExampleRow>("rows", members); });
    CHECK_THAT(message, ContainsSubstring("rows: member other_value is not in the file"));
}

TEST_CASE("a member of another kind or shape is refused, not converted in silence") {
    const test::TemporaryFolder folder;
    const auto reader = h5::Reader::open(write_alone(folder));
    std::vector<h5::Member> members{std::begin(test::k_example_members), std::end(test::k_example_members)};
    members[0].type = test::Type::f64;
    CHECK_THAT(error_of([&] { (void)reader.read_rows<ExampleRow>("rows", members); }),
               ContainsSubstring("member id is integer, not floating-point"));

    struct Two {
        double corners[2];
    };
    const h5::Member two[] = {{"corners", test::Type::f64, 0, 2, "", ""}};
    CHECK_THAT(error_of([&] { (void)reader.read_rows<Two>("rows", two); }), ContainsSubstring("does not hold 2 elements"));
}

TEST_CASE("a subset of the members in another order reads by name") {
    const test::TemporaryFolder folder;
    const auto reader = h5::Reader::open(write_alone(folder));
#pragma pack(push, 1)
    struct Two {
        double value;
        std::int64_t id;
    };
#pragma pack(pop)
    const h5::Member two[] = {{"value", test::Type::f64, 0, 1, "", ""}, {"id", test::Type::i64, 8, 1, "", ""}};
    const auto rows = reader.read_rows<Two>("rows", two);
    CHECK(rows.at(31).id == 31);
    CHECK(rows.at(31).value == test::example_row(31).value);
    CHECK_THAT(error_of([&] { (void)reader.read_rows<double>("rows", two); }),
               ContainsSubstring("has 8 bytes, its members 16"));
}

TEST_CASE("a file that is not HDF5, is truncated or is not there is refused") {
    const test::TemporaryFolder folder;
    CHECK_THAT(error_of([&] { h5::Reader::open(folder / "none.h5"); }), ContainsSubstring("no such file"));

    test::write_bytes(folder / "text.h5", "this is a text, not a catalogue\n");
    CHECK_THAT(error_of([&] { h5::Reader::open(folder / "text.h5"); }),
               ContainsSubstring("text.h5") && ContainsSubstring("not an HDF5 file"));

    std::string bytes = test::bytes_of(write_alone(folder));
    bytes.resize(bytes.size() - 100);
    test::write_bytes(folder / "short.h5", bytes);
    CHECK_THAT(error_of([&] { h5::Reader::open(folder / "short.h5"); }), ContainsSubstring("truncated"));
}

TEST_CASE("members that leave a gap are refused") {
    const h5::Member gap[] = {{"a", test::Type::i32, 0, 1, "", ""}, {"b", test::Type::f64, 8, 1, "", ""}};
    CHECK_THROWS_AS(h5::packed_row_bytes(gap), H5Error);
    CHECK(h5::packed_row_bytes(test::k_example_members) == sizeof(ExampleRow));
}
