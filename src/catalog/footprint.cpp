#include "bliss/catalog/footprint.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace bliss::catalog {
namespace {

constexpr double k_radians = std::numbers::pi / 180;

double dot(const Direction& a, const Direction& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

Direction cross(const Direction& a, const Direction& b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }

Direction scaled(const Direction& a, double factor) { return {a.x * factor, a.y * factor, a.z * factor}; }

}  // namespace

Direction direction_of(survey::SkyPosition sky) {
    const double ra = sky.ra_deg * k_radians, dec = sky.dec_deg * k_radians;
    return {std::cos(dec) * std::cos(ra), std::cos(dec) * std::sin(ra), std::sin(dec)};
}

double squared_distance(const Direction& a, const Direction& b) {
    const double x = a.x - b.x, y = a.y - b.y, z = a.z - b.z;
    return x * x + y * y + z * z;
}

FieldCorners corners_of(const FieldRow& field) {
    FieldCorners corners{};
    const bool usable = field.status == 0 && field.width_px > 1;
    for (std::size_t k = 0; k < 4; ++k) {
        corners.ra_deg[k] = usable ? field.corner_ra_deg[k] : k_nan;
        corners.dec_deg[k] = usable ? field.corner_dec_deg[k] : k_nan;
    }
    const Direction first = direction_of({corners.ra_deg[0], corners.dec_deg[0]}),
                    second = direction_of({corners.ra_deg[1], corners.dec_deg[1]});
    corners.px_deg =
        std::sqrt(squared_distance(first, second)) / static_cast<double>(std::max<std::int64_t>(field.width_px - 1, 1)) / k_radians;
    return corners;
}

Footprint::Footprint(const FieldCorners& corners) : px_rad_{corners.px_deg * k_radians} {
    std::array<Direction, 4> at;
    Direction sum;
    for (std::size_t k = 0; k < 4; ++k) {
        at[k] = direction_of({corners.ra_deg[k], corners.dec_deg[k]});
        sum = {sum.x + at[k].x, sum.y + at[k].y, sum.z + at[k].z};
    }
    const double length = std::sqrt(dot(sum, sum));
    if (!(std::isfinite(length) && length > 0 && px_rad_ > 0)) return;
    centre_ = scaled(sum, 1 / length);
    known_ = true;
    for (std::size_t k = 0; k < 4; ++k) {
        reach_ = std::max(reach_, std::sqrt(squared_distance(centre_, at[k])));
        const Direction normal = cross(at[k], at[(k + 1) % 4]);
        const double size = std::sqrt(dot(normal, normal));
        // Corners may go round either way: the centre is inside.
        const double side = dot(normal, centre_) < 0 ? -1 : 1;
        known_ = known_ && size > 0;
        inwards_[k] = scaled(normal, side / size);
    }
}

double Footprint::depth(const Direction& at) const {
    if (!known_) return -std::numeric_limits<double>::infinity();
    double least = dot(inwards_[0], at);
    for (std::size_t k = 1; k < 4; ++k) least = std::min(least, dot(inwards_[k], at));
    return least;
}

}  // namespace bliss::catalog
