#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/survey/wcs.hpp"

namespace bliss::evaluation {

/// Sky to pixel for a field whose image is not at hand: from the corners that /fields holds. Exact for a tangent projection
/// about the field's centre; about another point within a degree it is within .05 px for an SDSS frame. No distortion terms.
class FieldPlane {
public:
    /// @throws DataError when the field has no sky coordinates.
    explicit FieldPlane(const catalog::FieldRow& field);

    /// NaN for a position on the far side of the sky.
    [[nodiscard]] survey::PixelPosition pixel(survey::SkyPosition sky) const;

private:
    struct Plane {
        double xi = 0;
        double eta = 0;
    };
    /// Gnomonic projection about the field's centre. @source Calabretta and Greisen 2002, section 5.1.3.
    [[nodiscard]] Plane project(double ra_deg, double dec_deg) const;

    double ra0_deg_;
    double dec0_deg_;
    Plane origin_;  ///< of pixel (0, 0), affine
    Plane per_column_;
    Plane per_row_;
    double determinant_ = 0;
};

}  // namespace bliss::evaluation
