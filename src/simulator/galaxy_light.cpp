#include "bliss/simulator/galaxy_light.hpp"

#include "bliss/core/check.hpp"
#include "fast_math.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace bliss::simulator {
namespace {

/// One Gaussian of a galaxy profile: its share of the flux, and its width in half-light radii.
struct ProfileComponent {
    double weight;
    double sigma;
};

#include "profile_tables.inc"

/// Clumps of a galaxy, and their lengths against those of the component they lie in.
constexpr int k_fewest_clumps = 2, k_most_clumps = 6;
constexpr double k_clump_size_low = 0.1, k_clump_size_high = 0.5;

void append_profile(double share, double angle_rad, double major_px, double axis_ratio, std::span<const ProfileComponent> profile,
                    GalaxyLight& light) {
    if (share <= 0) return;
    const double cos = std::cos(angle_rad), sin = std::sin(angle_rad);
    for (const auto& [weight, sigma] : profile) {
        const double major = sigma * sigma * major_px * major_px;
        const double minor = major * axis_ratio * axis_ratio;
        light.push_back({share * weight, 0, 0, major * cos * cos + minor * sin * sin, (major - minor) * sin * cos,
                         major * sin * sin + minor * cos * cos});
    }
}

/// A galaxy's components as circles of equal area, in the form that radii are found with.
struct Circles {
    std::vector<float> weight;
    std::vector<float> inverse;   ///< 1 / (2 variance), px^-2
    double least = 1e300, most = 0;   ///< variances, px^2

    explicit Circles(const GalaxyLight& light) {
        for (const auto& c : light) {
            const double variance = area_of(c);
            weight.push_back(static_cast<float>(c.weight));
            inverse.push_back(static_cast<float>(0.5 / variance));
            least = std::min(least, variance);
            most = std::max(most, variance);
        }
    }

    /// Square root of the covariance's determinant.
    static double area_of(const LightComponent& c) { return std::sqrt(std::max(1e-30, c.xx * c.yy - c.xy * c.xy)); }

    [[nodiscard]] float share_outside(double square) const {
        float sum = 0;
        const auto r2 = static_cast<float>(square);
#pragma omp simd reduction(+ : sum)
        for (std::size_t j = 0; j < weight.size(); ++j) sum += weight[j] * fast_exp(-r2 * inverse[j]);
        return sum;
    }

    /// Radius within which a share of the light lies.
    [[nodiscard]] double radius_of(double share) const {
        double low = std::log(0.01 * least), high = std::log(50 * most);
        constexpr int k_halvings = 22;  // to a few parts in a million
        for (int i = 0; i < k_halvings; ++i) {
            const double middle = 0.5 * (low + high);
            (share_outside(std::exp(middle)) > 1 - share ? low : high) = middle;
        }
        return std::exp(0.25 * (low + high));
    }
};

}  // namespace

GalaxyLight light_of(const GalaxyShape& shape) {
    GalaxyLight light;
    light.reserve(k_exponential.size() + k_de_vaucouleurs.size());
    append_profile(shape.disk_fraction, shape.angle_rad, shape.disk_major_px, shape.disk_axis_ratio, k_exponential, light);
    append_profile(1 - shape.disk_fraction, shape.angle_rad, shape.bulge_major_px, shape.bulge_axis_ratio, k_de_vaucouleurs, light);
    double total = 0;
    for (const auto& component : light) total += component.weight;
    for (auto& component : light) component.weight /= total;
    return light;
}

GalaxyLight scaled(GalaxyLight light, double factor) {
    for (auto& component : light) {
        component.x_px *= factor;
        component.y_px *= factor;
        for (double* const moment : {&component.xx, &component.xy, &component.yy}) *moment *= factor * factor;
    }
    return light;
}

GalaxyLight with_clumps(const GalaxyLight& light, double share, RandomStream& random) {
    BLISS_EXPECT(!light.empty() && share >= 0 && share <= 1, "a galaxy's light, and a share of it");
    const int clumps = k_fewest_clumps + static_cast<int>(random.uniform() * (k_most_clumps - k_fewest_clumps + 1));
    GalaxyLight out = light;
    for (LightComponent& component : out) component.weight *= 1 - share;
    double parts = 0;
    for (int k = 0; k < clumps; ++k) {
        double below = random.uniform();
        auto host = light.begin();
        while (host + 1 != light.end() && (below -= host->weight) > 0) ++host;
        const double across = random.normal(), up = random.normal(), size = random.uniform(k_clump_size_low, k_clump_size_high);
        const double sigma = std::sqrt(std::max(1e-30, host->xx)), slope = host->xy / sigma;
        const double above = std::sqrt(std::max(0.0, host->yy - slope * slope));
        out.push_back({.weight = random.uniform(),
                       .x_px = host->x_px + sigma * across,
                       .y_px = host->y_px + slope * across + above * up,
                       .xx = size * size * host->xx,
                       .xy = size * size * host->xy,
                       .yy = size * size * host->yy});
        parts += out.back().weight;
    }
    for (std::size_t k = light.size(); k < out.size(); ++k) out[k].weight *= share / parts;
    return out;
}

double Morphology::axis_ratio() const {
    const double e = std::min(1.0, std::hypot(e1, e2));
    return (1 - e) / (1 + e);
}

double Morphology::angle_rad() const {
    const double angle = 0.5 * std::atan2(e2, e1);
    return angle < 0 ? angle + std::numbers::pi : angle;
}

Morphology morphology_of(const GalaxyLight& light) {
    Morphology out;
    for (const LightComponent& c : light) {
        // With axes a and b: (a - b) / (a + b) = (a^2 - b^2) / (a^2 + b^2 + 2 a b), and a^2 - b^2 turned by twice the angle is this.
        const double sum = c.xx + c.yy + 2 * Circles::area_of(c);
        out.e1 += c.weight * (c.xx - c.yy) / sum;
        out.e2 += c.weight * 2 * c.xy / sum;
    }
    out.half_light_radius_px = Circles{light}.radius_of(0.5);
    return out;
}

double concentration_of(const GalaxyLight& light) {
    const Circles circles{light};
    return 5 * std::log10(circles.radius_of(0.8) / circles.radius_of(0.2));
}

}  // namespace bliss::simulator
