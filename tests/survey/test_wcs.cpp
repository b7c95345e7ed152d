#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/survey/wcs.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <thread>
#include <vector>

using bliss::DataError;
using bliss::fits::FitsFile;
using bliss::survey::PixelPosition;
using bliss::survey::SkyPosition;
using bliss::survey::Wcs;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Catch::Matchers::WithinAbs;

namespace {

const std::filesystem::path k_folder = std::filesystem::path(BLISS_TEST_DATA) / "sdss-94-1-12";
constexpr double k_radians = std::numbers::pi / 180;

Wcs frame_wcs() {
    auto file = FitsFile::open(k_folder / "frame-r-000094-1-0012.fits.bz2");
    const auto [cards, count] = file.header_cards();
    return Wcs::from_header(cards, count, "frame-r");
}

/// The inverse tangent projection written out (x to the east, y to the north, degrees).
/// @source Calabretta & Greisen 2002, equations 54, 55 and 2.
SkyPosition tangent_plane_sky(SkyPosition centre, double x_deg, double y_deg) {
    const double x = x_deg * k_radians;
    const double y = y_deg * k_radians;
    const double dec0 = centre.dec_deg * k_radians;
    const double below = std::cos(dec0) - y * std::sin(dec0);
    const double ra = centre.ra_deg * k_radians + std::atan2(x, below);
    const double dec = std::atan2(std::sin(dec0) + y * std::cos(dec0), std::hypot(x, below));
    return {ra / k_radians, dec / k_radians};
}

std::string card(const std::string& text) { return text + std::string(80 - text.size(), ' '); }

}  // namespace

TEST_CASE("coordinates that are no right ascension and declination are refused") {
    const auto header = [](const std::string& first, const std::string& second, const std::string& system) {
        return card("CTYPE1  = '" + first + "'") + card("CTYPE2  = '" + second + "'") + card("CRPIX1  = 1.0") + card("CRPIX2  = 1.0") +
               card("CRVAL1  = 10.0") + card("CRVAL2  = 20.0") + card("CDELT1  = -0.0001") + card("CDELT2  = 0.0001") +
               card("RADESYS = '" + system + "'");
    };
    CHECK(std::isfinite(Wcs::from_header(header("RA---TAN", "DEC--TAN", "ICRS"), 9, "good").sky({3, 4}).ra_deg));
    CHECK_THROWS_MATCHES(Wcs::from_header(header("GLON-TAN", "GLAT-TAN", "ICRS"), 9, "galactic"), DataError,
                         MessageMatches(ContainsSubstring("galactic: the header's coordinates are GLON GLAT")));
    CHECK_THROWS_MATCHES(Wcs::from_header(header("RA---TAN", "DEC--TAN", "FK4"), 9, "old"), DataError,
                         MessageMatches(ContainsSubstring("'FK4'")));
}

TEST_CASE("the r frame's header gives the closed form of its tangent projection") {
    const Wcs wcs = frame_wcs();
    // CRPIX, CRVAL and CD as printed in the header; FITS pixels start at 1.
    for (const PixelPosition pixel : {PixelPosition{0, 0}, {1024, 744}, {2047, 1488}, {100.25, 1300.75}}) {
        const double u = pixel.x_px + 1 - 1025;
        const double v = pixel.y_px + 1 - 745;
        const auto want = tangent_plane_sky({336.664257327, -0.931558661381}, -5.38649993335e-8 * u + 0.000109953068982 * v,
                                            0.000109986838864 * u + 6.39997095994e-9 * v);
        const auto got = wcs.sky(pixel);
        CHECK_THAT(got.ra_deg, WithinAbs(want.ra_deg, 1e-9));
        CHECK_THAT(got.dec_deg, WithinAbs(want.dec_deg, 1e-9));
        const auto back = wcs.pixel(got);
        CHECK_THAT(back.x_px, WithinAbs(pixel.x_px, 1e-6));
        CHECK_THAT(back.y_px, WithinAbs(pixel.y_px, 1e-6));
    }
}

TEST_CASE("PHOTO's positions agree: its rows and columns are larger by 0.5") {
    const Wcs wcs = frame_wcs();
    auto catalogue = FitsFile::open(k_folder / "photoObj-000094-1-0012.fits");
    catalogue.select(1);
    const auto ra = catalogue.read_column<double>("RA");
    const auto dec = catalogue.read_column<double>("DEC");
    const auto row = catalogue.read_array_column<double>("ROWC");
    const auto col = catalogue.read_array_column<double>("COLC");
    const auto flux = catalogue.read_array_column<double>("PSFFLUX");
    constexpr std::int64_t k_r = 2;
    int bright = 0;
    double mean_x = 0;
    double mean_y = 0;
    for (std::size_t i = 0; i < ra.size(); ++i) {
        const auto object = static_cast<std::int64_t>(i);
        // Magnitude 15 to 17.5: brighter stars are saturated, and their positions come from another band.
        if (!(flux(object, k_r) > 100 && flux(object, k_r) < 1000)) continue;
        ++bright;
        const auto pixel = wcs.pixel({ra[i], dec[i]});
        CHECK_THAT(pixel.x_px + 0.5, WithinAbs(col(object, k_r), 0.3));  // 0.3 px = 0.12 arcsec
        CHECK_THAT(pixel.y_px + 0.5, WithinAbs(row(object, k_r), 0.3));
        mean_x += pixel.x_px + 0.5 - col(object, k_r);
        mean_y += pixel.y_px + 0.5 - row(object, k_r);
    }
    REQUIRE(bright >= 10);
    // A wrong origin would show as a mean of half a pixel or one.
    CHECK_THAT(mean_x / bright, WithinAbs(0, 0.1));
    CHECK_THAT(mean_y / bright, WithinAbs(0, 0.1));
}

TEST_CASE("a tangent projection has north up, east left and the scale asked for") {
    const Wcs wcs = Wcs::tangent({10, 60}, {99.5, 49.5}, 0.396);
    const auto centre = wcs.sky({99.5, 49.5});
    CHECK_THAT(centre.ra_deg, WithinAbs(10, 1e-10));
    CHECK_THAT(centre.dec_deg, WithinAbs(60, 1e-10));
    const auto north = wcs.sky({99.5, 59.5});
    CHECK_THAT((north.dec_deg - 60) * 3600, WithinAbs(3.96, 1e-6));
    const auto east = wcs.sky({89.5, 49.5});
    CHECK_THAT((east.ra_deg - 10) * 3600 * std::cos(60 * k_radians), WithinAbs(3.96, 1e-4));
}

TEST_CASE("right ascensions stay between 0 and 360 degrees") {
    const Wcs wcs = Wcs::tangent({0, 0}, {10, 10}, 3600);
    CHECK_THAT(wcs.sky({12, 10}).ra_deg, WithinAbs(358, 0.01));
    CHECK_THAT(wcs.sky({8, 10}).ra_deg, WithinAbs(2, 0.01));
    CHECK_THAT(wcs.pixel({358, 0}).x_px, WithinAbs(12, 0.01));
    CHECK_THAT(wcs.pixel({-2, 0}).x_px, WithinAbs(12, 0.01));
}

TEST_CASE("a position on the other side of the sky has no pixel") {
    const auto pixel = Wcs::tangent({10, 20}, {0, 0}, 1).pixel({190, -20});
    CHECK(std::isnan(pixel.x_px));
    CHECK(std::isnan(pixel.y_px));
}

TEST_CASE("header cards give the same transformation back") {
    for (const Wcs& wcs : {frame_wcs(), Wcs::tangent({123.456789, -45.6789}, {511.5, 300.25}, 0.396)}) {
        const std::string cards = wcs.header_cards();
        REQUIRE(cards.size() % 80 == 0);
        const Wcs copy = Wcs::from_header(cards, static_cast<int>(cards.size() / 80), "cards");
        for (const PixelPosition pixel : {PixelPosition{0, 0}, {1500, 1200}}) {
            CHECK_THAT(copy.sky(pixel).ra_deg, WithinAbs(wcs.sky(pixel).ra_deg, 1e-9));
            CHECK_THAT(copy.sky(pixel).dec_deg, WithinAbs(wcs.sky(pixel).dec_deg, 1e-9));
        }
    }
}

TEST_CASE("declination may stand in the first axis") {
    std::string cards;
    for (const char* const text :
         {"NAXIS   =                    2", "CTYPE1  = 'DEC--TAN'", "CTYPE2  = 'RA---TAN'", "CRPIX1  = 1.0", "CRPIX2  = 1.0",
          "CRVAL1  = 30.0", "CRVAL2  = 200.0", "CDELT1  = 0.001", "CDELT2  = 0.001", "CUNIT1  = 'deg'", "CUNIT2  = 'deg'"}) {
        cards += card(text);
    }
    const Wcs wcs = Wcs::from_header(cards, static_cast<int>(cards.size() / 80), "swapped");
    const auto sky = wcs.sky({10, 0});
    CHECK_THAT(sky.dec_deg, WithinAbs(30.01, 1e-6));
    CHECK_THAT(sky.ra_deg, WithinAbs(200, 1e-6));
    CHECK_THAT(wcs.pixel({200, 30.01}).x_px, WithinAbs(10, 1e-3));
}

TEST_CASE("a header without celestial coordinates is refused by name") {
    const std::string none = card("NAXIS   =                    2") + card("OBJECT  = 'none'");
    CHECK_THROWS_MATCHES(Wcs::from_header(none, 2, "plain.fits"), DataError,
                         MessageMatches(ContainsSubstring("plain.fits")));
    const std::string linear =
        card("NAXIS   =                    2") + card("CTYPE1  = 'LINEAR'") + card("CTYPE2  = 'LINEAR'");
    CHECK_THROWS_AS(Wcs::from_header(linear, 3, "linear.fits"), DataError);
}

TEST_CASE("several threads may use one transformation") {
    const Wcs wcs = frame_wcs();
    const auto work = [&wcs](double& worst) {
        worst = 0;
        for (int i = 0; i < 20000; ++i) {
            const PixelPosition pixel{static_cast<double>(i % 2048), static_cast<double>(i % 1489)};
            const auto back = wcs.pixel(wcs.sky(pixel));
            worst = std::max({worst, std::abs(back.x_px - pixel.x_px), std::abs(back.y_px - pixel.y_px)});
        }
    };
    double worst[4] = {1, 1, 1, 1};
    {
        std::vector<std::jthread> threads;
        for (double& one : worst) threads.emplace_back([&] { work(one); });
    }
    for (const double one : worst) CHECK(one < 1e-6);
}
