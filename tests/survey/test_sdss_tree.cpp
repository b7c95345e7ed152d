#include "bliss/survey/sdss_tree.hpp"

#include "bliss/survey/sdss.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

namespace {

using namespace bliss;
using namespace bliss::survey;
namespace fs = std::filesystem;

const fs::path k_data = fs::path{BLISS_TEST_DATA} / "sdss-94-1-12";

void touch(const fs::path& path) {
    fs::create_directories(path.parent_path());
    std::ofstream{path} << "x";
}

std::vector<FieldId> listed(const fs::path& folder, const std::string& band, std::initializer_list<const char*> names) {
    std::vector<FieldPattern> patterns;
    for (const char* name : names) patterns.push_back(parse_field_pattern(name));
    return SdssTree{folder}.fields(band, patterns);
}

}  // namespace

TEST_CASE("a frame reads alike from one folder, from folders of runs, and from the survey's archive") {
    const auto sum = [](const Frame& frame) {
        double total = 0;
        for (const float pixel : frame.electrons.pixels()) total += static_cast<double>(pixel);
        return total;
    };
    const double expected = sum(read_sdss_frame({k_data, {94, 1, 12}, "r"}));
    struct Place {
        const char *frame, *photo_field, *others;
    };
    for (const Place& place : {Place{"94/1", "94", "94/1"}, Place{"94", "94", "94"},
                               Place{"photoObj/frames/301/94/1", "photoObj/301/94", "photo/redux/301/94/objcs/1"}}) {
        const test::TemporaryFolder folder;
        for (const auto& file : fs::directory_iterator{k_data}) {
            const std::string name = file.path().filename().string();
            const char* const where = name.starts_with("frame")                          ? place.frame
                                      : name.starts_with("photoField")                   ? place.photo_field
                                      : name.starts_with("p") || name.starts_with("fpM") ? place.others
                                                                                         : nullptr;
            if (where == nullptr) continue;
            fs::create_directories(folder.path() / where);
            fs::create_symlink(file.path(), folder.path() / where / name);
        }
        CHECK(listed(folder.path(), "r", {"*-*-*"}) == std::vector<FieldId>{{94, 1, 12}});
        const Frame frame = read_sdss_frame({folder.path(), {94, 1, 12}, "r"});
        CHECK(frame.has_mask);
        CHECK(sum(frame) == expected);
    }
}

TEST_CASE("fields are those with a frame in the band, each once, sorted") {
    const test::TemporaryFolder folder;
    const auto base = folder.path();
    for (const char* name :
         {"frame-r-000094-1-0012.fits.bz2", "frame-r-000094-1-0012.fits", "frame-r-000094-2-0011.fits.gz", "frame-g-000094-1-0013.fits",
          "frame-r-000094-1-0014.fits.part", "frame-r-000094-1.fits", "frame-r-000094-1-0015-7.fits", "psField-000094-1-0016.fit",
          "94/frame-r-000094-3-0100.fits", "125/6/frame-r-000125-6-0300.fits", "photoObj/frames/301/125/1/frame-r-000125-1-0200.fits.bz2",
          "photoObj/frames/301/94/1/frame-r-000094-1-0012.fits.bz2", "photoObj/frames/40/94/1/frame-r-000094-1-0500.fits"})
        touch(base / name);
    CHECK(listed(base, "r", {"*-*-*"}) == std::vector<FieldId>{{94, 1, 12}, {94, 2, 11}, {94, 3, 100}, {125, 1, 200}, {125, 6, 300}});
    CHECK(listed(base, "g", {"*-*-*"}) == std::vector<FieldId>{{94, 1, 13}});
    CHECK(listed(base, "r", {"94-1:2-*", "125-6-300:400"}) == std::vector<FieldId>{{94, 1, 12}, {94, 2, 11}, {125, 6, 300}});
    CHECK(listed(base, "r", {"95-*-*"}).empty());
    CHECK(listed(base / "absent", "r", {"*-*-*"}).empty());
}
