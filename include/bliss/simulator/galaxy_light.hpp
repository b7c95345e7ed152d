#pragma once

#include "bliss/core/random.hpp"

#include <vector>

namespace bliss::simulator {

/// One elliptical Gaussian of a galaxy's light above the atmosphere.
struct LightComponent {
    double weight = 0;      ///< share of the galaxy's flux
    double x_px = 0;        ///< centre, measured from the galaxy's
    double y_px = 0;
    double xx = 0;          ///< covariance, px^2
    double xy = 0;
    double yy = 0;
};

/// A galaxy's light as a mixture; the weights sum to 1.
using GalaxyLight = std::vector<LightComponent>;

/// Bulge + disk galaxy, both with one position angle. @source paper section 3.2 (the family its VAE is trained on).
struct GalaxyShape {
    double disk_fraction = 0;     ///< share of the flux in the exponential disk; the rest is a de Vaucouleurs bulge
    double angle_rad = 0;         ///< major axis, counter-clockwise from +x (columns) towards +y (rows)
    double disk_major_px = 0;     ///< half-light radius along the major axis
    double disk_axis_ratio = 1;   ///< minor / major, 0 < q <= 1
    double bulge_major_px = 0;
    double bulge_axis_ratio = 1;
};

/// The light of a bulge + disk galaxy.
/// @source multi-Gaussian expansion of exponential and de Vaucouleurs profiles (Hogg and Lang 2013); coefficients by
/// tools/fit_profiles.py.
[[nodiscard]] GalaxyLight light_of(const GalaxyShape& shape);

/// The light with all lengths multiplied by `factor`.
[[nodiscard]] GalaxyLight scaled(GalaxyLight light, double factor);

/// The light with a share of it in two to six clumps, as spiral arms and star-forming regions have theirs: each lies where the light does,
/// has the shape of one of its components and a tenth to half of its lengths.
[[nodiscard]] GalaxyLight with_clumps(const GalaxyLight& light, double share, RandomStream& random);

/// What a catalogue says of a galaxy's shape, above the atmosphere; exact for one elliptical profile.
struct Morphology {
    /// Circularised (geometric mean of the axes): half the light lies within, each component taken as a circle of equal area.
    double half_light_radius_px = 0;
    /// Mean of the components' ellipticities (1 - q) / (1 + q) times (cos 2 angle, sin 2 angle), weighted by flux.
    double e1 = 0;
    double e2 = 0;

    /// q = minor / major of an ellipse of that ellipticity.
    [[nodiscard]] double axis_ratio() const;
    /// Of the major axis, counter-clockwise from +x towards +y, in [0, pi).
    [[nodiscard]] double angle_rad() const;
};

[[nodiscard]] Morphology morphology_of(const GalaxyLight& light);

/// 5 log10(r80 / r20), radii of 80 % and 20 % of the light, circularised. @source Conselice 2003.
[[nodiscard]] double concentration_of(const GalaxyLight& light);

}  // namespace bliss::simulator
