#include "bliss/survey/healpix.hpp"

#include "bliss/core/check.hpp"

extern "C" {
#include <healpix.h>
}

#include <cmath>
#include <numbers>

namespace bliss::survey {
namespace {

constexpr double k_radians = std::numbers::pi / 180;
constexpr int k_highest_order = 29;
constexpr std::int64_t k_base_pixels = 12;

t_ang angles(SkyPosition sky) { return {(90 - sky.dec_deg) * k_radians, sky.ra_deg * k_radians}; }

/// No point of a pixel is farther than this from its centre: for the pixels of one resolution the farthest corner is at 0.84 / nside for
/// nside 1 and tends to 1.07 / nside (from the corners of pixels at z = 2/3; Gorski et al. 2005, section 5).
double reach_rad(int order) { return 1.1 / static_cast<double>(std::int64_t{1} << order); }

/// Adds the pixels of `order` within pixel `pixel` of order `at` that the cone may touch.
void descend(int order, int at, std::int64_t pixel, const t_vec& centre, double radius_rad, std::vector<PixelRange>& out) {
    const double distance = vec_angle(centre, nest2vec(std::int64_t{1} << at, pixel));
    if (distance > radius_rad + reach_rad(at)) return;
    const int below = 2 * (order - at);
    const bool inside = distance + reach_rad(at) <= radius_rad;
    if (at == order || inside) {
        const PixelRange range{pixel << below, ((pixel + 1) << below) - 1};
        if (!out.empty() && out.back().last + 1 == range.first)
            out.back().last = range.last;
        else
            out.push_back(range);
        return;
    }
    for (std::int64_t child = 4 * pixel; child < 4 * pixel + 4; ++child) descend(order, at + 1, child, centre, radius_rad, out);
}

}  // namespace

std::int64_t healpix_pixel(int order, SkyPosition sky) {
    BLISS_EXPECT(order >= 0 && order <= k_highest_order, "HEALPix has orders 0 to 29");
    if (!std::isfinite(sky.ra_deg) || !std::isfinite(sky.dec_deg)) return -1;
    return ang2nest(std::int64_t{1} << order, angles(sky));
}

std::vector<PixelRange> healpix_cone(int order, SkyPosition centre, double radius_deg) {
    BLISS_EXPECT(order >= 0 && order <= k_highest_order, "HEALPix has orders 0 to 29");
    std::vector<PixelRange> out;
    const t_vec direction = ang2vec(angles(centre));
    for (std::int64_t pixel = 0; pixel < k_base_pixels; ++pixel) descend(order, 0, pixel, direction, radius_deg * k_radians, out);
    return out;
}

}  // namespace bliss::survey
