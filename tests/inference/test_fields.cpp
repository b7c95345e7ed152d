#include "bliss/inference/fields.hpp"

#include "bliss/core/error.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <fstream>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

void put(const std::filesystem::path& path, const std::string& text) { std::ofstream{path} << text; }

}  // namespace

TEST_CASE("SDSS fields come from names, ranges and a list, sorted, each once") {
    const test::TemporaryFolder folder;
    for (const char* name : {"0011", "0012", "0040", "0041"}) put(folder.path() / (std::string{"frame-r-000094-1-"} + name + ".fits"), "");
    put(folder.path() / "fields.txt", "# of a stripe\n 94-1-40  # also in a range\n\n94-6-5\r\n");
    SurveyConfig config{.folder = ".", .fields = {"94-1-11:40", "94-1-700"}, .list = "fields.txt"};
    const FieldList fields = list_fields(config, folder.path());
    CHECK(fields.ids() == std::vector<FieldId>{{94, 1, 11}, {94, 1, 12}, {94, 1, 40}, {94, 1, 700}, {94, 6, 5}});
    CHECK(fields[3].id == FieldId{94, 1, 700});  // named by itself: it fails when it is read
    CHECK(fields[3].band == "r");
    CHECK(fields[3].path == folder.path() / ".");
    CHECK(fields.meaning(folder.path()).empty());

    const auto fails = [&](const std::string& words) {
        CHECK_THROWS_MATCHES(list_fields(config, folder.path()), ConfigError, MessageMatches(ContainsSubstring(words)));
    };
    config.fields = {"94-1-40"};
    fails("94-1-40 twice");
    config.fields = {"95-*-*"};
    fails("95-*-* stands for no frame of band r");
    config.fields = {"94-1"};
    fails("survey.fields: '94-1' names no fields");
    config.fields = {};
    put(folder.path() / "fields.txt", "94-1-12\n94/1/13\n");
    fails("fields.txt:2: '94/1/13'");
    config.list = "absent.txt";
    fails("absent.txt: no such file");
}

TEST_CASE("images come from paths and wildcards, and may share what is said of them") {
    const test::TemporaryFolder folder;
    for (const char* name : {"b.fits", "a.fits", "c.fits", "a.toml"}) put(folder.path() / name, "");
    SurveyConfig config{.kind = SurveyKind::generic, .images = {"c.fits", "[ab].fits"}, .common = "all.toml"};
    const FieldList fields = list_fields(config, folder.path());
    REQUIRE(fields.size() == 3);
    CHECK(fields[0].path == folder.path() / "c.fits");
    CHECK(fields[1].path == folder.path() / "a.fits");
    CHECK(fields[2].path == folder.path() / "b.fits");
    CHECK(fields[2].id == FieldId{0, 0, 2});
    CHECK(fields[2].settings == folder.path() / "all.toml");

    // Another image among them, and the numbers mean others; another place for all, and they do not.
    const std::string meaning = fields.meaning(folder.path());
    CHECK(meaning.size() == 64);
    put(folder.path() / "aa.fits", "");
    SurveyConfig wider = config;
    wider.images = {"c.fits", "[ab]*.fits"};
    CHECK(list_fields(wider, folder.path()).meaning(folder.path()) != meaning);
    CHECK(list_fields(config, folder.path()).meaning(folder.path()) == meaning);
    const test::TemporaryFolder elsewhere;
    for (const char* name : {"b.fits", "a.fits", "c.fits"}) put(elsewhere.path() / name, "");
    CHECK(list_fields(config, elsewhere.path()).meaning(elsewhere.path()) == meaning);

    config.fields = {"0-0-1:5"};
    CHECK(list_fields(config, folder.path()).ids() == std::vector<FieldId>{{0, 0, 1}, {0, 0, 2}});
    const auto fails = [&](const std::string& words) {
        CHECK_THROWS_MATCHES(list_fields(config, folder.path()), ConfigError, MessageMatches(ContainsSubstring(words)));
    };
    config.fields = {"0-0-3"};
    fails("no field 0-0-3: survey.images names 3, fields 0-0-0 to 0-0-2");
    config.fields = {"0-0-1", "0-0-1"};
    fails("0-0-1 twice");
    config = {.kind = SurveyKind::generic, .images = {"x*.fits"}};
    fails("x*.fits stands for no file");
}
