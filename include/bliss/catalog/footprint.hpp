#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/survey/wcs.hpp"

#include <array>

namespace bliss::catalog {

/// A place on the sky as a unit vector.
struct Direction {
    double x = 0, y = 0, z = 0;
};

[[nodiscard]] Direction direction_of(survey::SkyPosition sky);

/// Square of the straight distance between two directions; of small angles, the angle's square, rad^2. The same either way round.
[[nodiscard]] double squared_distance(const Direction& a, const Direction& b);

/// Where a field lies on the sky, as /fields says: the centres of its corner pixels, in order around it. NaN for a field that failed or
/// has no place on the sky.
struct FieldCorners {
    std::array<double, 4> ra_deg;
    std::array<double, 4> dec_deg;
    double px_deg;  ///< side of a pixel
};

[[nodiscard]] FieldCorners corners_of(const FieldRow& field);

/// A field on the sky, bounded by great circles through its corners.
class Footprint {
public:
    explicit Footprint(const FieldCorners& corners);

    /// False for a field without a place on the sky: nothing lies in it.
    [[nodiscard]] bool known() const { return known_; }
    [[nodiscard]] const Direction& centre() const { return centre_; }
    /// No point of it is farther from the centre (straight distance).
    [[nodiscard]] double reach() const { return reach_; }
    [[nodiscard]] double px_rad() const { return px_rad_; }

    /// How far inside a place is: distance to the nearest edge, rad (its sine); negative outside.
    [[nodiscard]] double depth(const Direction& at) const;

private:
    bool known_ = false;
    Direction centre_;
    double reach_ = 0;
    double px_rad_ = 0;
    std::array<Direction, 4> inwards_;  ///< normals of the edges' planes
};

}  // namespace bliss::catalog
