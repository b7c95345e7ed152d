#include "bliss/evaluation/field_plane.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"

#include <cmath>
#include <limits>
#include <numbers>

namespace bliss::evaluation {

namespace {

constexpr double k_radians = std::numbers::pi / 180;

}  // namespace

FieldPlane::FieldPlane(const catalog::FieldRow& field) : ra0_deg_{field.ra_deg}, dec0_deg_{field.dec_deg} {
    Plane corner[4];
    for (int i = 0; i < 4; ++i) corner[i] = project(field.corner_ra_deg[i], field.corner_dec_deg[i]);
    // Corners in order (0,0), (0,W-1), (H-1,W-1), (H-1,0): the least-squares affine map of a rectangle is that of its sides.
    const auto fit = [&](double Plane::*axis) {
        const double columns = (corner[1].*axis + corner[2].*axis - corner[0].*axis - corner[3].*axis) / 2;
        const double rows = (corner[2].*axis + corner[3].*axis - corner[0].*axis - corner[1].*axis) / 2;
        const double mean = (corner[0].*axis + corner[1].*axis + corner[2].*axis + corner[3].*axis) / 4;
        per_column_.*axis = columns / static_cast<double>(field.width_px - 1);
        per_row_.*axis = rows / static_cast<double>(field.height_px - 1);
        origin_.*axis = mean - columns / 2 - rows / 2;
    };
    fit(&Plane::xi);
    fit(&Plane::eta);
    determinant_ = per_column_.xi * per_row_.eta - per_row_.xi * per_column_.eta;
    // Corners that are absent (NaN) or coincide.
    if (!std::isfinite(determinant_) || determinant_ == 0)
        throw DataError("field " + to_string(FieldId{field.run, field.camcol, field.field}) +
                        " has no sky coordinates; give the truth's positions in pixels");
}

FieldPlane::Plane FieldPlane::project(double ra_deg, double dec_deg) const {
    const double ra = (ra_deg - ra0_deg_) * k_radians;
    const double dec = dec_deg * k_radians;
    const double dec0 = dec0_deg_ * k_radians;
    const double cosine = std::sin(dec0) * std::sin(dec) + std::cos(dec0) * std::cos(dec) * std::cos(ra);
    if (!(cosine > 0)) return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
    return {std::cos(dec) * std::sin(ra) / cosine,
            (std::cos(dec0) * std::sin(dec) - std::sin(dec0) * std::cos(dec) * std::cos(ra)) / cosine};
}

survey::PixelPosition FieldPlane::pixel(survey::SkyPosition sky) const {
    const Plane at = project(sky.ra_deg, sky.dec_deg);
    const double xi = at.xi - origin_.xi;
    const double eta = at.eta - origin_.eta;
    return {(xi * per_row_.eta - per_row_.xi * eta) / determinant_,
            (per_column_.xi * eta - xi * per_column_.eta) / determinant_};
}

}  // namespace bliss::evaluation
