#include "bliss/survey/healpix.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

using namespace bliss::survey;

namespace {

double separation_deg(SkyPosition a, SkyPosition b) {
    constexpr double k_radians = std::numbers::pi / 180;
    const double sin_dec = std::sin((a.dec_deg - b.dec_deg) * k_radians / 2), sin_ra = std::sin((a.ra_deg - b.ra_deg) * k_radians / 2);
    const double h = sin_dec * sin_dec + std::cos(a.dec_deg * k_radians) * std::cos(b.dec_deg * k_radians) * sin_ra * sin_ra;
    return 2 * std::asin(std::min(1.0, std::sqrt(h))) / k_radians;
}

}  // namespace

// From astropy-healpix 2.0.1: HEALPix(nside=512, order="nested").lonlat_to_healpix.
TEST_CASE("pixels are those of other programs") {
    CHECK(healpix_pixel(9, {0, 0}) == 1245184);
    CHECK(healpix_pixel(9, {335.98148, 0.006567}) == 1217941);
    CHECK(healpix_pixel(9, {12.3, 89.9}) == 262143);
    CHECK(healpix_pixel(9, {200.5, -71.25}) == 2655990);
    CHECK(healpix_pixel(0, {45, 0.1}) == 0);
    CHECK(healpix_pixel(0, {1, 0}) == 4);
    CHECK(healpix_pixel(9, {std::numeric_limits<double>::quiet_NaN(), 0}) == -1);
}

TEST_CASE("a cone's pixels hold every place within it, and little else") {
    constexpr int k_order = 9;
    const double pixel_deg = std::sqrt(4 * std::numbers::pi / 12) / 512 * 180 / std::numbers::pi;
    for (const SkyPosition centre : {SkyPosition{0, 0}, {359.99, 0.3}, {120, 41.8}, {77, 89.99}, {300, -89.5}, {45, -41.81}}) {
        for (const double radius : {0.0, 0.02, 0.4, 5.0}) {
            const std::vector<PixelRange> ranges = healpix_cone(k_order, centre, radius);
            REQUIRE(!ranges.empty());
            double pixels = 0;
            for (std::size_t k = 0; k < ranges.size(); ++k) {
                CHECK(ranges[k].first <= ranges[k].last);
                if (k > 0) CHECK(ranges[k - 1].last + 1 < ranges[k].first);
                pixels += static_cast<double>(ranges[k].last - ranges[k].first + 1);
            }
            const double reached = radius + 2.5 * pixel_deg;
            CHECK(pixels * pixel_deg * pixel_deg < 1.3 * std::numbers::pi * reached * reached);
            int inside = 0;
            for (int i = -40; i <= 40; ++i) {
                for (int j = -40; j <= 40; ++j) {
                    SkyPosition at{centre.ra_deg + radius * i / 40 / std::max(0.02, std::cos(centre.dec_deg * std::numbers::pi / 180)),
                                   std::clamp(centre.dec_deg + radius * j / 40, -90.0, 90.0)};
                    if (separation_deg(centre, at) > radius) continue;
                    ++inside;
                    at.ra_deg = std::fmod(at.ra_deg + 360, 360);
                    const std::int64_t pixel = healpix_pixel(k_order, at);
                    CHECK(std::ranges::any_of(ranges, [&](const PixelRange& r) { return r.first <= pixel && pixel <= r.last; }));
                }
            }
            CHECK(inside > 500);
        }
    }
}
