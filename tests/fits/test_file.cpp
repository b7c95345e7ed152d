#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"
#include "support/temporary_folder.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <csignal>
#include <limits>

using bliss::FitsError;
using bliss::Image;
using bliss::fits::Column;
using bliss::fits::Cube;
using bliss::fits::FitsFile;
using bliss::test::bytes_of;
using bliss::test::write_bytes;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

const std::filesystem::path k_frame = std::filesystem::path(BLISS_TEST_DATA) / "sdss-94-1-12/frame-r-000094-1-0012.fits.bz2";

template <class T>
Image<T> ramp(std::int64_t height, std::int64_t width) {
    Image<T> image(height, width);
    for (std::int64_t i = 0; i < image.size(); ++i) image.pixels()[static_cast<std::size_t>(i)] = static_cast<T>(i);
    return image;
}

/// A complete little file: an image of 60 x 50 and a table behind it.
std::filesystem::path write_sample(const std::filesystem::path& folder) {
    auto file = FitsFile::create(folder / "sample.fits");
    file.write_image(ramp<float>(60, 50));
    file.write_table("T", {Column{"A", "px", "first", std::vector<double>(1000, 1.5)}});
    file.commit();
    return folder / "sample.fits";
}

}  // namespace

TEST_CASE("images, cubes and keys come back as they were written") {
    const bliss::test::TemporaryFolder folder;
    const auto path = folder.path() / "images.fits";
    {
        auto file = FitsFile::create(path);
        auto image = ramp<float>(3, 5);
        image(2, 4) = std::numeric_limits<float>::quiet_NaN();
        file.write_image(image);
        file.write_key("GAIN", 4.71, "electrons per count");
        file.write_key("NROW", std::int64_t{1489}, "");
        file.write_key("FILTER", std::string("r"), "");
        file.write_key("LONGTEXT", std::string(200, 'x'), "");
        file.write_key("DRIFT", true, "");
        file.write_image(ramp<std::uint8_t>(4, 2), "MASK");
        file.write_cube(Cube<double>{2, 2, 3, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}, "CUBE");
        CHECK_FALSE(std::filesystem::exists(path));
        file.commit();
    }
    CHECK_FALSE(std::filesystem::exists(path.string() + ".partial"));
    auto file = FitsFile::open(path);
    CHECK(file.hdu_count() == 3);
    CHECK(file.image_shape() == std::vector<std::int64_t>{3, 5});
    const auto image = file.read_image<float>();
    CHECK(image(1, 3) == 8.0F);
    CHECK(std::isnan(image(2, 4)));
    CHECK(file.read_key<double>("GAIN") == 4.71);
    CHECK(file.read_key<double>("NROW") == 1489.0);
    CHECK(file.read_key<std::int64_t>("NROW") == 1489);
    CHECK(file.read_key<std::string>("FILTER") == "r");
    CHECK(file.read_key<std::string>("LONGTEXT") == std::string(200, 'x'));
    CHECK(file.read_key<bool>("DRIFT"));
    CHECK_FALSE(file.find_key<double>("ABSENT").has_value());
    CHECK(file.has_hdu("CUBE"));
    CHECK_FALSE(file.has_hdu("NONE"));
    CHECK(file.selected_hdu() == 0);
    file.select("MASK");
    CHECK(file.selected_hdu() == 1);
    CHECK(file.read_image<std::uint8_t>()(3, 1) == 7);
    CHECK(file.read_image<double>()(3, 0) == 6.0);
    file.select("CUBE");
    const auto cube = file.read_cube<float>();
    CHECK((cube.depth == 2 && cube.height == 2 && cube.width == 3));
    CHECK(cube.values[7] == 7.0F);
}

TEST_CASE("a header's cards can be given to another image") {
    const bliss::test::TemporaryFolder folder;
    const auto path = folder.path() / "cards.fits";
    auto frame = FitsFile::open(k_frame);
    const auto cards = frame.header_cards();
    CHECK(cards.text.size() == static_cast<std::size_t>(cards.count) * 80);
    CHECK_THAT(cards.text, ContainsSubstring("CTYPE1"));
    auto file = FitsFile::create(path);
    file.write_image(ramp<float>(2, 3), "SMALL", cards.text);
    file.commit();
    auto copy = FitsFile::open(path);
    copy.select("SMALL");
    CHECK(copy.image_shape() == std::vector<std::int64_t>{2, 3});
    CHECK(copy.read_key<double>("CRVAL1") == 336.664257327);
}

TEST_CASE("tables come back as they were written") {
    const bliss::test::TemporaryFolder folder;
    const auto path = folder.path() / "table.fits";
    {
        auto file = FitsFile::create(path);
        file.write_table("CATALOG", {Column{"ra", "deg", "right ascension", std::vector<double>{1.25, std::nan("")}},
                                     Column{"flux", "nmgy", "", std::vector<float>{1.5F, 2.5F}},
                                     Column{"run", "", "imaging run", std::vector<std::int32_t>{94, -1}},
                                     Column{"id", "", "", std::vector<std::int64_t>{1LL << 60, 3}},
                                     Column{"name", "", "", std::vector<std::string>{"a", "longer"}}});
        file.write_table("EMPTY",
                         {Column{"x", "px", "", std::vector<double>{}}, Column{"s", "", "", std::vector<std::string>{}}});
        file.commit();
    }
    auto file = FitsFile::open(path);
    CHECK(file.hdu_count() == 3);
    file.select("CATALOG");
    CHECK(file.is_table());
    CHECK(file.row_count() == 2);
    CHECK(file.read_column<double>("RA")[0] == 1.25);
    CHECK(std::isnan(file.read_column<double>("ra")[1]));
    CHECK(file.read_column<float>("flux") == std::vector<float>{1.5F, 2.5F});
    CHECK(file.read_column<std::int64_t>("run") == std::vector<std::int64_t>{94, -1});
    CHECK(file.read_column<std::int64_t>("id") == std::vector<std::int64_t>{1LL << 60, 3});
    CHECK(file.read_column<std::string>("name") == std::vector<std::string>{"a", "longer"});
    CHECK(file.read_key<std::string>("TUNIT1") == "deg");
    CHECK(file.has_column("flux"));
    CHECK_FALSE(file.has_column("mag"));
    file.select("EMPTY");
    CHECK(file.row_count() == 0);
    CHECK(file.read_column<double>("x").empty());
    CHECK(file.read_column<std::string>("s").empty());
}

TEST_CASE("array columns of the survey's files keep their shape") {
    auto frame = FitsFile::open(k_frame);
    frame.select(2);
    CHECK(frame.column_shape("ALLSKY") == std::vector<std::int64_t>{192, 256});
    const auto x = frame.read_array_column<double>("XINTERP");
    CHECK((x.height() == 1 && x.width() == 2048));
    CHECK(x(0, 0) == -0.4375);
    CHECK_THROWS_MATCHES(frame.read_column<double>("XINTERP"), FitsError,
                         MessageMatches(ContainsSubstring("2048 elements")));
}

TEST_CASE("a compressed file reads like a plain one, gzip and several bzip2 streams too") {
    const bliss::test::TemporaryFolder folder;
    const auto plain = write_sample(folder.path());
    const auto quoted = "'" + plain.string() + "'";
    REQUIRE(std::system(("gzip -c " + quoted + " > " + quoted + ".gz").c_str()) == 0);
    REQUIRE(std::system(("(head -c 9000 " + quoted + " | bzip2; tail -c +9001 " + quoted + " | bzip2) > " + quoted + ".bz2")
                            .c_str()) == 0);
    for (const char* const suffix : {".gz", ".bz2"}) {
        auto file = FitsFile::open(plain.string() + suffix);
        CHECK(file.read_image<float>()(59, 49) == 2999.0F);
        file.select("T");
        CHECK(file.read_column<double>("A").back() == 1.5);
    }
}

TEST_CASE("a file that is not there, not FITS or not a file is refused by name") {
    const bliss::test::TemporaryFolder folder;
    CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "none.fits"), FitsError,
                         MessageMatches(ContainsSubstring("none.fits") && ContainsSubstring("no such file")));
    CHECK_THROWS_AS(FitsFile::open(folder.path()), FitsError);
    write_bytes(folder.path() / "empty.fits", "");
    CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "empty.fits"), FitsError,
                         MessageMatches(ContainsSubstring("empty.fits")));
    write_bytes(folder.path() / "text.fits", "hello");
    CHECK_THROWS_AS(FitsFile::open(folder.path() / "text.fits"), FitsError);
    write_bytes(folder.path() / "mark.fits.bz2", "BZh");
    CHECK_THROWS_AS(FitsFile::open(folder.path() / "mark.fits.bz2"), FitsError);
}

TEST_CASE("a truncated bzip2 file is refused wherever it is cut") {
    const bliss::test::TemporaryFolder folder;
    const auto whole = bytes_of(k_frame);
    // The last cut takes away only the closing checksum: CFITSIO by itself would not notice.
    for (const std::size_t kept : {std::size_t{3}, std::size_t{100}, std::size_t{1000000}, whole.size() - 1}) {
        write_bytes(folder.path() / "cut.fits.bz2", whole.substr(0, kept));
        CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "cut.fits.bz2"), FitsError,
                             MessageMatches(ContainsSubstring("cut.fits.bz2") && ContainsSubstring("truncated")));
    }
}

TEST_CASE("a corrupt bzip2 file is refused wherever the damage is") {
    const bliss::test::TemporaryFolder folder;
    auto bytes = bytes_of(k_frame);
    const auto where = GENERATE(0.01, 0.5, 0.999);
    const auto at = static_cast<std::size_t>(where * static_cast<double>(bytes.size()));
    for (std::size_t i = at; i < at + 8; ++i) bytes[i] = static_cast<char>(~bytes[i]);
    write_bytes(folder.path() / "bad.fits.bz2", bytes);
    CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "bad.fits.bz2"), FitsError,
                         MessageMatches(ContainsSubstring("corrupt")));
}

TEST_CASE("a truncated or corrupt gzip file is refused") {
    const bliss::test::TemporaryFolder folder;
    const auto path = write_sample(folder.path());
    REQUIRE(std::system(("gzip '" + path.string() + "'").c_str()) == 0);
    auto bytes = bytes_of(path.string() + ".gz");
    write_bytes(folder.path() / "cut.gz", bytes.substr(0, bytes.size() - 4));
    CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "cut.gz"), FitsError,
                         MessageMatches(ContainsSubstring("truncated")));
    bytes[bytes.size() - 6] = static_cast<char>(~bytes[bytes.size() - 6]);
    write_bytes(folder.path() / "bad.gz", bytes);
    CHECK_THROWS_MATCHES(FitsFile::open(folder.path() / "bad.gz"), FitsError, MessageMatches(ContainsSubstring("corrupt")));
}

TEST_CASE("a truncated plain file is refused at the HDU that is cut") {
    const bliss::test::TemporaryFolder folder;
    const auto whole = bytes_of(write_sample(folder.path()));
    const auto cut = folder.path() / "cut.fits";
    write_bytes(cut, whole.substr(0, 2880 + 6000));  // half of the image
    CHECK_THROWS_MATCHES(FitsFile::open(cut), FitsError,
                         MessageMatches(ContainsSubstring("HDU 0") && ContainsSubstring("truncated")));
    write_bytes(cut, whole.substr(0, whole.size() - 2880));  // the table's end
    auto file = FitsFile::open(cut);
    CHECK(file.read_image<float>()(59, 49) == 2999.0F);
    CHECK_THROWS_AS(file.select(1), FitsError);
    // Nor may the zeros after the last row be missing: CFITSIO reads whole blocks.
    write_bytes(cut, whole.substr(0, whole.size() - 100));
    auto unpadded = FitsFile::open(cut);
    CHECK_THROWS_MATCHES(unpadded.select(1), FitsError,
                         MessageMatches(ContainsSubstring("HDU 1") && ContainsSubstring("truncated")));
}

TEST_CASE("the wrong HDU, shape, column or key is refused with what was found") {
    const bliss::test::TemporaryFolder folder;
    auto file = FitsFile::open(write_sample(folder.path()));
    CHECK_THROWS_MATCHES(file.select(2), FitsError, MessageMatches(ContainsSubstring("2 HDUs")));
    CHECK_THROWS_AS(file.select(-1), FitsError);
    CHECK_THROWS_MATCHES(file.select("NONE"), FitsError, MessageMatches(ContainsSubstring("NONE")));
    CHECK_THROWS_MATCHES(file.read_vector<float>(), FitsError, MessageMatches(ContainsSubstring("[60, 50]")));
    CHECK_THROWS_AS(file.read_cube<float>(), FitsError);
    CHECK_THROWS_AS(file.read_image<std::uint8_t>(), FitsError);  // values up to 2999
    CHECK_THROWS_AS(file.read_column<double>("A"), FitsError);
    CHECK_THROWS_MATCHES(file.read_key<double>("ABSENT"), FitsError, MessageMatches(ContainsSubstring("ABSENT")));
    CHECK_THROWS_MATCHES(file.read_key<std::string>("NAXIS1"), FitsError, MessageMatches(ContainsSubstring("not a text")));
    file.select(1);
    CHECK_THROWS_MATCHES(file.read_image<float>(), FitsError, MessageMatches(ContainsSubstring("table")));
    CHECK_THROWS_MATCHES(file.read_column<double>("B"), FitsError, MessageMatches(ContainsSubstring("column B")));
    CHECK_THROWS_AS(file.read_column<std::string>("A"), FitsError);
    CHECK_THROWS_AS(file.read_variable_column<std::uint8_t>("A"), FitsError);
    // The errors above leave nothing behind in CFITSIO's message stack, and the file usable.
    CHECK(file.read_column<double>("A").front() == 1.5);
}

TEST_CASE("a fractional number is not read as an integer") {
    auto file = FitsFile::open(k_frame);
    CHECK_THROWS_MATCHES(file.read_key<std::int64_t>("NMGY"), FitsError,
                         MessageMatches(ContainsSubstring("not an integer")));
}

TEST_CASE("columns of unequal length are refused") {
    const bliss::test::TemporaryFolder folder;
    auto file = FitsFile::create(folder.path() / "t.fits");
    CHECK_THROWS_MATCHES(
        file.write_table("T", {Column{"a", "", "", std::vector<double>(2)}, Column{"b", "", "", std::vector<double>(3)}}),
        FitsError, MessageMatches(ContainsSubstring("column b")));
}

TEST_CASE("what is not committed leaves no file and an older file alone") {
    const bliss::test::TemporaryFolder folder;
    const auto path = write_sample(folder.path());
    const auto before = bytes_of(path);
    {
        auto file = FitsFile::create(path);
        file.write_image(ramp<float>(2, 2));
        CHECK(std::filesystem::exists(path.string() + ".partial"));
    }
    CHECK_FALSE(std::filesystem::exists(path.string() + ".partial"));
    CHECK(bytes_of(path) == before);
}

TEST_CASE("a folder that is missing or is a file is refused") {
    const bliss::test::TemporaryFolder folder;
    CHECK_THROWS_MATCHES(FitsFile::create(folder.path() / "no/out.fits"), FitsError,
                         MessageMatches(ContainsSubstring("no such folder")));
    write_bytes(folder.path() / "plain", "x");
    CHECK_THROWS_AS(FitsFile::create(folder.path() / "plain/out.fits"), FitsError);
}

TEST_CASE("a full disk is an error, and nothing is left behind") {
    const bliss::test::TemporaryFolder folder;
    const auto path = folder.path() / "full.fits";
    // The limit on a file's size stands for a full disk: writes beyond it fail in the same calls (EFBIG for ENOSPC).
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    // 8 KB fail when buffers are flushed on commit, 4 MB already while the image is written.
    const auto side = GENERATE(std::int64_t{50}, std::int64_t{1000});
    std::string message;
    {
        rlimit small = before;
        small.rlim_cur = 4096;
        REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
        try {
            auto file = FitsFile::create(path);
            file.write_image(ramp<float>(side, side));
            file.commit();
        } catch (const FitsError& error) {
            message = error.what();
        }
        REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    }
    std::signal(SIGXFSZ, old_handler);
    CHECK_THAT(message, ContainsSubstring("full.fits") && ContainsSubstring("disk is not full"));
    CHECK_FALSE(std::filesystem::exists(path));
    CHECK_FALSE(std::filesystem::exists(path.string() + ".partial"));
}
