#include "bliss/core/error.hpp"
#include "bliss/core/units.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/survey/sdss.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using bliss::DataError;
using bliss::FitsError;
using bliss::Image;
using bliss::fits::Column;
using bliss::fits::FitsFile;
using bliss::survey::Frame;
using bliss::survey::read_sdss_frame;
using bliss::survey::SdssField;
using bliss::test::bytes_of;
using bliss::test::write_bytes;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

namespace fs = std::filesystem;
const fs::path k_data = fs::path(BLISS_TEST_DATA) / "sdss-94-1-12";
const char* const k_frame = "frame-r-000094-1-0012.fits";
const char* const k_psf = "psField-000094-1-0012.fit";
const char* const k_table = "photoField-000094-1.fits";
const char* const k_mask = "fpM-000094-r1-0012.fit";
/// DARK_VARIANCE 1.8225 counts squared, gain 4.71.
constexpr double k_pedestal_e = 1.8225 * 4.71 * 4.71;

SdssField field_in(const fs::path& folder) { return {folder, {94, 1, 12}, "r"}; }

const Frame& real_frame() {
    static const Frame frame = read_sdss_frame(field_in(k_data));
    return frame;
}

/// The frame's files but those named, as links.
void link_all_but(const fs::path& folder, const std::vector<std::string>& left_out) {
    for (const auto& entry : fs::directory_iterator(k_data)) {
        const std::string name = entry.path().filename().string();
        if (std::find(left_out.begin(), left_out.end(), name) == left_out.end()) {
            fs::create_symlink(entry.path(), folder / name);
        }
    }
}

/// Unpacked frame whose bytes can be changed: big-endian floats from byte 8640 on, row by row (2048 columns).
std::string plain_frame_bytes(const fs::path& folder) {
    const auto path = folder / "unpacked";
    REQUIRE(std::system(("bzip2 -dc '" + (k_data / (std::string(k_frame) + ".bz2")).string() + "' > '" + path.string() + "'")
                            .c_str()) == 0);
    return bytes_of(path);
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
    REQUIRE(what.size() == with.size());
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("the r frame of 94-1-12 has the electrons, background and calibration known of it") {
    const Frame& frame = real_frame();
    REQUIRE(frame.height() == 1489);
    REQUIRE(frame.width() == 2048);
    CHECK(to_string(frame.id) == "94-1-12");
    CHECK(frame.band == "r");

    const auto background = frame.background_e.pixels();
    const auto [low, high] = std::minmax_element(background.begin(), background.end());
    // The nodes span 860.53 to 864.17; interpolation with an independent program (scipy) gives these extremes and values.
    CHECK_THAT(*low - k_pedestal_e, WithinAbs(860.539, 2e-3));
    CHECK_THAT(*high - k_pedestal_e, WithinAbs(864.088, 2e-3));
    CHECK_THAT(frame.background_e(0, 0) - k_pedestal_e, WithinAbs(860.635, 2e-3));
    CHECK_THAT(frame.background_e(744, 1024) - k_pedestal_e, WithinAbs(861.964, 2e-3));

    const auto& factors = frame.electrons_per_nmgy;
    REQUIRE(factors.size() == 2048);
    const double mean = std::accumulate(factors.begin(), factors.end(), 0.0) / 2048;
    CHECK_THAT(mean, WithinAbs(987.307, 0.05));
    CHECK_THAT(*std::min_element(factors.begin(), factors.end()), WithinAbs(986.34, 0.01));
    CHECK_THAT(*std::max_element(factors.begin(), factors.end()), WithinAbs(988.45, 0.01));

    // An electron image minus background is the calibrated image again.
    auto file = FitsFile::open(k_data / (std::string(k_frame) + ".bz2"));
    const auto nmgy = file.read_image<float>();
    for (const auto& [row, col] : {std::pair{0, 0}, {744, 1024}, {1488, 2047}, {300, 1285}}) {
        const double electrons = frame.electrons(row, col) - frame.background_e(row, col);
        CHECK_THAT(electrons, WithinAbs(nmgy(row, col) * factors[static_cast<std::size_t>(col)], 0.01));
    }
    REQUIRE(frame.wcs.has_value());
    CHECK_THAT(frame.wcs->sky({1024, 744}).ra_deg, WithinAbs(336.664257327, 1e-9));
    CHECK_THAT(frame.psf.fwhm_px(), WithinAbs(3.63, 0.05));
}

TEST_CASE("the empty sky scatters as the background says") {
    const Frame& frame = real_frame();
    std::vector<float> deviations;
    for (std::int64_t row = 0; row < frame.height(); ++row) {
        for (std::int64_t col = 0; col < frame.width(); ++col) {
            if (frame.valid(row, col) == 0) continue;
            const float sky = frame.background_e(row, col);
            deviations.push_back((frame.electrons(row, col) - sky) / std::sqrt(sky));
        }
    }
    std::sort(deviations.begin(), deviations.end());
    const auto quantile = [&](double share) {
        return deviations[static_cast<std::size_t>(share * static_cast<double>(deviations.size()))];
    };
    // Lower half only: sources raise the upper one. 16 % and 50 % of a Normal lie one standard deviation apart.
    CHECK_THAT(quantile(0.5) - quantile(0.16), WithinAbs(1, 0.06));
    CHECK_THAT(quantile(0.5), WithinAbs(0.09, 0.06));
}

TEST_CASE("flux of a bright star in the frame is PHOTO's") {
    const Frame& frame = real_frame();
    auto catalogue = FitsFile::open(k_data / "photoObj-000094-1-0012.fits");
    catalogue.select(1);
    const auto type = catalogue.read_column<std::int64_t>("OBJC_TYPE");
    const auto row = catalogue.read_array_column<double>("ROWC");
    const auto col = catalogue.read_array_column<double>("COLC");
    const auto flux = catalogue.read_array_column<double>("PSFFLUX");
    constexpr std::int64_t k_r = 2;
    std::vector<double> ratios;
    for (std::int64_t i = 0; i < row.height(); ++i) {
        const double mag = bliss::magnitude_from_nmgy(flux(i, k_r));
        const double x = col(i, k_r) - 0.5;
        const double y = row(i, k_r) - 0.5;
        if (type[static_cast<std::size_t>(i)] != 6 || !(mag > 16.5 && mag < 18.5) || x < 30 || y < 30 || x > 2017 ||
            y > 1458)
            continue;
        // PSF-weighted flux: sum of (data * psf) / sum of psf^2.
        double data = 0;
        double norm = 0;
        for (auto b = static_cast<std::int64_t>(y) - 8; b <= static_cast<std::int64_t>(y) + 9; ++b) {
            for (auto a = static_cast<std::int64_t>(x) - 8; a <= static_cast<std::int64_t>(x) + 9; ++a) {
                const double value = frame.psf.value(std::hypot(static_cast<double>(a) - x, static_cast<double>(b) - y));
                data += value * (frame.electrons(b, a) - frame.background_e(b, a));
                norm += value * value;
            }
        }
        ratios.push_back(data / norm / frame.electrons_per_nmgy[static_cast<std::size_t>(x)] / flux(i, k_r));
    }
    REQUIRE(ratios.size() >= 10);
    std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
    // The PSF varies over the frame by a few per cent; a wrong origin or PSF is off by far more. Gain and calibration cancel here:
    // the noise of empty sky, above, tests them.
    CHECK_THAT(ratios[ratios.size() / 2], WithinAbs(1, 0.03));
}

TEST_CASE("the mask takes saturated stars, cosmic rays and bad columns, and leaves the edge") {
    const Frame& frame = real_frame();
    // SATUR, CR and INTERP cover 0.62 % of this frame; NOTCHECKED, nearly all of it edge, would be 1.03 % more.
    CHECK_THAT(1 - bliss::survey::valid_share(frame), WithinAbs(0.0062, 0.0002));
    CHECK(frame.valid(700, 110) == 0);  // bad column: INTERP
    CHECK(frame.valid(700, 109) == 1);
    CHECK(frame.valid(347, 1285) == 0);  // saturated star
    CHECK(frame.valid(8, 503) == 0);     // cosmic ray
    CHECK(frame.valid(8, 502) == 1);
    CHECK(frame.valid(2, 1000) == 1);     // not checked, edge
    CHECK(frame.valid(1270, 1819) == 0);  // not checked, core of the brightest star
}

TEST_CASE("a plain frame reads like the bzip2 one; a missing mask file masks nothing") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {std::string(k_frame) + ".bz2", k_mask});
    write_bytes(folder.path() / k_frame, plain_frame_bytes(folder.path()));
    const auto frame = read_sdss_frame(field_in(folder.path()));
    CHECK(bliss::survey::valid_share(frame) == 1.0);
    CHECK(std::equal(frame.electrons.pixels().begin(), frame.electrons.pixels().end(),
                     real_frame().electrons.pixels().begin()));
}

TEST_CASE("NaN pixels are invalid; a frame of NaN only is refused") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {std::string(k_frame) + ".bz2"});
    auto bytes = plain_frame_bytes(folder.path());
    constexpr std::size_t k_start = 8640;
    const auto set_nan = [&](std::size_t pixel) { bytes.replace(k_start + 4 * pixel, 4, "\x7f\xc0\0\0", 4); };
    set_nan(600 * 2048 + 500);
    write_bytes(folder.path() / k_frame, bytes);
    const auto frame = read_sdss_frame(field_in(folder.path()));
    CHECK(frame.valid(600, 500) == 0);
    CHECK(frame.valid(600, 501) == 1);
    CHECK(std::isfinite(frame.electrons(600, 500)));

    for (std::size_t pixel = 0; pixel < 1489 * 2048; ++pixel) set_nan(pixel);
    write_bytes(folder.path() / k_frame, bytes);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring(k_frame) && ContainsSubstring("no pixel is valid")));
}

TEST_CASE("each missing file is named") {
    for (const std::string& name : {std::string(k_frame) + ".bz2", std::string(k_psf), std::string(k_table)}) {
        const bliss::test::TemporaryFolder folder;
        link_all_but(folder.path(), {name});
        CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), FitsError,
                             MessageMatches(ContainsSubstring(name.substr(0, 12)) && ContainsSubstring("no such file")));
    }
}

TEST_CASE("truncated and corrupt frames are refused") {
    const bliss::test::TemporaryFolder folder;
    const std::string name = std::string(k_frame) + ".bz2";
    link_all_but(folder.path(), {name});
    auto bytes = bytes_of(k_data / name);
    write_bytes(folder.path() / name, bytes.substr(0, bytes.size() / 2));
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), FitsError,
                         MessageMatches(ContainsSubstring("truncated")));
    bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
    write_bytes(folder.path() / name, bytes);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), FitsError, MessageMatches(ContainsSubstring("corrupt")));
}

TEST_CASE("a frame without its calibration or sky HDU, or of another shape, is refused") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {std::string(k_frame) + ".bz2"});
    const auto bytes = plain_frame_bytes(folder.path());
    write_bytes(folder.path() / k_frame, bytes.substr(0, 12208320));  // HDU 0 alone
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), FitsError, MessageMatches(ContainsSubstring("1 HDUs")));
    // The same pixels, called 1489 columns and 2048 rows.
    auto swapped = replaced(bytes, "NAXIS1  =                 2048", "NAXIS1  =                 1489");
    swapped = replaced(swapped, "NAXIS2  =                 1489", "NAXIS2  =                 2048");
    write_bytes(folder.path() / k_frame, swapped);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring("2048 columns") && ContainsSubstring("1489")));
    // Fewer rows: the calibration fits, the sky does not.
    auto fewer = replaced(bytes, "NAXIS2  =                 1489", "NAXIS2  =                 1488");
    constexpr std::size_t k_start = 8640;
    const std::size_t padding = (2880 - 1488 * 2048 * 4 % 2880) % 2880;
    fewer = fewer.substr(0, k_start + 1488 * 2048 * 4) + std::string(padding, '\0') + fewer.substr(12208320);
    write_bytes(folder.path() / k_frame, fewer);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring("HDU 2") && ContainsSubstring("1489 rows")));
}

TEST_CASE("a mask of another shape is refused") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {k_mask});
    write_bytes(folder.path() / k_mask,
                replaced(bytes_of(k_data / k_mask), "MASKROWS=                 1489", "MASKROWS=                 1361"));
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring(k_mask) && ContainsSubstring("1361")));
}

TEST_CASE("a psField without HDU, row or usable values for the band is refused") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {k_psf});
    const auto bytes = bytes_of(k_data / k_psf);
    write_bytes(folder.path() / k_psf, bytes.substr(0, 233280));  // HDU 0 to 5
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), FitsError, MessageMatches(ContainsSubstring(k_psf)));

    auto no_row = bytes;
    const auto table = std::size_t{233280};
    const auto at = no_row.find("NAXIS2  =                    1", table);
    REQUIRE(at != std::string::npos);
    no_row.replace(at, 30, "NAXIS2  =                    0");
    write_bytes(folder.path() / k_psf, no_row);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring(k_psf) && ContainsSubstring("0 rows")));

    // PSF_SIGMA1 of r, 1.48996 = 0x3FBEB723: set to zero as where PHOTO found no PSF.
    auto no_psf = bytes;
    const std::string sigma("\x3f\xbe\xb7\x23", 4);
    const auto value = no_psf.find(sigma, std::size_t{239040});
    REQUIRE(value != std::string::npos);
    no_psf.replace(value, 4, std::string(4, '\0'));
    write_bytes(folder.path() / k_psf, no_psf);
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring("band r") && ContainsSubstring("sigma1 0")));
}

TEST_CASE("a photoField without the field's row is refused") {
    const bliss::test::TemporaryFolder folder;
    link_all_but(folder.path(), {k_table});
    auto file = FitsFile::create(folder.path() / k_table);
    file.write_table("F", {Column{"FIELD", "", "", std::vector<std::int32_t>{11, 13}}});
    file.commit();
    CHECK_THROWS_MATCHES(read_sdss_frame(field_in(folder.path())), DataError,
                         MessageMatches(ContainsSubstring("FIELD = 12")));
}

TEST_CASE("an unknown band is refused") {
    auto field = field_in(k_data);
    field.band = "y";
    CHECK_THROWS_MATCHES(read_sdss_frame(field), DataError, MessageMatches(ContainsSubstring("'y'")));
    field.band = "g";
    CHECK_THROWS_MATCHES(read_sdss_frame(field), FitsError, MessageMatches(ContainsSubstring("frame-g-000094-1-0012")));
}
