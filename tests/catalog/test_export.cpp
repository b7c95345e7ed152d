#include "bliss/catalog/export.hpp"

#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"
#include "catalog/example_catalog.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cstring>
#include <sstream>

using namespace bliss;
using Catch::Matchers::ContainsSubstring;

namespace {

std::vector<std::string> split(const std::string& line, char separator) {
    std::vector<std::string> parts;
    std::istringstream in{line};
    for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
    return parts;
}

/// Puts a number back where the member stands.
template <class T>
void put(catalog::SourceRow& row, std::size_t offset, T value) {
    std::memcpy(reinterpret_cast<char*>(&row) + offset, &value, sizeof value);
}

catalog::SourceRow parse(const std::string& line) {
    catalog::SourceRow row{};
    const auto cells = split(line, ',');
    const auto members = catalog::source_members();
    for (std::size_t i = 0; i < members.size(); ++i) {
        const std::string& cell = cells.at(i);
        switch (members[i].type) {
            case catalog::Member::Type::i32:
                put(row, members[i].offset, static_cast<std::int32_t>(std::stol(cell)));
                break;
            case catalog::Member::Type::i64:
                put(row, members[i].offset, static_cast<std::int64_t>(std::stoll(cell)));
                break;
            case catalog::Member::Type::u32:
                put(row, members[i].offset, static_cast<std::uint32_t>(std::stoul(cell)));
                break;
            default:
                put(row, members[i].offset, std::strtod(cell.c_str(), nullptr));
        }
    }
    return row;
}

}  // namespace

TEST_CASE("a CSV export reads back to the same bits") {
    const test::TemporaryFolder folder;
    const catalog::Catalog catalog = test::example_catalog(6);
    catalog::export_csv(catalog, folder / "a.csv", {.primary_only = false});
    const auto lines = split(test::bytes_of(folder / "a.csv"), '\n');
    REQUIRE(lines.size() == catalog.sources.size() + 1);
    CHECK_THAT(lines[0],
               Catch::Matchers::StartsWith("field_index,run,camcol") && Catch::Matchers::EndsWith(",surroundings_sigma,flags,primary"));
    for (std::size_t i = 0; i < catalog.sources.size(); ++i) {
        const auto row = parse(lines[i + 1]);
        CHECK(std::memcmp(&row, &catalog.sources[i], sizeof row) == 0);
    }
    CHECK_FALSE(std::filesystem::exists(folder / "a.csv.partial"));
}

TEST_CASE("a FITS export reads back with units") {
    const test::TemporaryFolder folder;
    const catalog::Catalog catalog = test::example_catalog(6);
    catalog::export_fits(catalog, folder / "a.fits", {.primary_only = false});
    auto file = fits::FitsFile::open(folder / "a.fits");
    file.select("CATALOG");
    CHECK(file.row_count() == std::ssize(catalog.sources));
    const auto x = file.read_column<double>("x_px");
    const auto flags = file.read_column<std::int64_t>("flags");
    const auto mag_err = file.read_column<double>("mag_err");
    for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(x[i] == double{catalog.sources[i].x_px});
        CHECK(flags[i] == std::int64_t{catalog.sources[i].flags});
        CHECK(std::isnan(mag_err[i]));
    }
    const auto members = catalog::source_members();
    for (std::size_t i = 0; i < members.size(); ++i) {
        CHECK(file.read_key<std::string>("TTYPE" + std::to_string(i + 1)) == members[i].name);
        CHECK(file.find_key<std::string>("TUNIT" + std::to_string(i + 1)).value_or("") ==
              (members[i].unit == "px" ? "pixel" : members[i].unit));
    }
    file.select("FIELDS");
    CHECK(file.row_count() == 6);
    CHECK(file.read_column<std::string>("reason").at(0) == "frame is missing");
    CHECK(file.read_column<double>("corner_ra_deg_3").at(0) == 339);
}

TEST_CASE("DS9 regions are on the sky where there is a WCS, else in pixels that start at 1") {
    const test::TemporaryFolder folder;
    catalog::Catalog catalog = test::example_catalog(1);
    auto star = test::example_source(0, 2);
    auto galaxy = test::example_source(0, 0);
    star.p_star = 0.5;
    galaxy.p_star = 0.4;
    star.x_px = 10;
    star.y_px = 20.25;
    catalog.sources = {star, galaxy};
    const catalog::ExportOptions all{.primary_only = false};
    catalog::export_ds9(catalog, folder / "sky.reg", all);
    std::string text = test::bytes_of(folder / "sky.reg");
    CHECK_THAT(text, ContainsSubstring("\nicrs\n"));
    CHECK_THAT(text, ContainsSubstring("circle(336.50000200,-0.90000000,1.2\") # color=cyan"));
    CHECK_THAT(text, ContainsSubstring("circle(336.50000000,-0.90000000,1.2\") # color=magenta"));

    catalog.sources[1].ra_deg = std::nan("");
    catalog::export_ds9(catalog, folder / "pixels.reg", all);
    text = test::bytes_of(folder / "pixels.reg");
    CHECK_THAT(text, ContainsSubstring("\nimage\n"));
    CHECK_THAT(text, ContainsSubstring("circle(11.000,21.250,3) # color=cyan"));
}

TEST_CASE("sources below the least probability, or that another field owns, are left out of every format") {
    const test::TemporaryFolder folder;
    const catalog::Catalog catalog = test::example_catalog(6);
    const catalog::ExportOptions options{.min_p_source = 0.4};
    std::int64_t kept = 0;
    for (const auto& source : catalog.sources) kept += source.p_source >= 0.4 && source.primary != 0;
    REQUIRE(kept > 0);
    REQUIRE(kept < std::ranges::count_if(catalog.sources, [](const auto& source) { return source.p_source >= 0.4; }));
    catalog::export_csv(catalog, folder / "a.csv", options);
    catalog::export_ds9(catalog, folder / "a.reg", options);
    catalog::export_fits(catalog, folder / "a.fits", options);
    CHECK(std::ssize(split(test::bytes_of(folder / "a.csv"), '\n')) == kept + 1);
    CHECK(std::ssize(split(test::bytes_of(folder / "a.reg"), '\n')) == kept + 3);
    auto file = fits::FitsFile::open(folder / "a.fits");
    file.select("CATALOG");
    CHECK(file.row_count() == kept);
}

TEST_CASE("an export that cannot be written names the file and the reason, and leaves nothing") {
    const test::TemporaryFolder folder;
    const catalog::Catalog catalog = test::example_catalog(3);
    const auto reason = [&](auto&& work) {
        try {
            work();
        } catch (const Error& error) {
            return std::string{error.what()};
        }
        return std::string{};
    };
    CHECK_THAT(reason([&] { catalog::export_csv(catalog, folder / "no/a.csv"); }),
               ContainsSubstring("no/a.csv") && ContainsSubstring("No such file or directory"));
    // A link to a device that is always full stands for a full disk.
    std::filesystem::create_symlink("/dev/full", folder / "full.csv.partial");
    CHECK_THAT(reason([&] { catalog::export_csv(catalog, folder / "full.csv"); }), ContainsSubstring("No space left on device"));
    CHECK(std::filesystem::is_empty(folder.path()));
}
