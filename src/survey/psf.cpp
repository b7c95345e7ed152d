#include "bliss/survey/psf.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace bliss::survey {
namespace {

constexpr double k_two_pi = 2 * std::numbers::pi;
/// FWHM of a Gaussian in units of its standard deviation: 2 sqrt(2 ln 2).
constexpr double k_fwhm_per_sigma = 2.3548200450309493;

/// A Gaussian by its value at the centre: the form in which profiles are written.
struct Peak {
    double amplitude = 0;
    double sigma_px = 0;
};

/// Largest relative error of the trapezoidal rule with step h for the integral in `power_law`, at any radius:
/// by Poisson's summation formula 2 |Gamma(k + i y)| / Gamma(k) with y = 2 pi / h.
double trapezoid_error(double k, double h) {
    const double y = k_two_pi / h;
    constexpr int k_factors = 400;
    double log_ratio = 0;
    for (int n = 0; n < k_factors; ++n) log_ratio -= 0.5 * std::log1p(y * y / ((k + n) * (k + n)));
    return 2 * std::exp(log_ratio - 0.5 * y * y / (k + k_factors - 0.5));
}

/// (1 + r^2 / scale^2)^-k as a sum of Gaussians, to `tolerance` of its own peak:
/// (1 + u)^-k = 1 / Gamma(k) * integral of s^k exp(-s) exp(-s u) d(ln s), by the trapezoidal rule in ln s, which converges
/// exponentially. Gaussians wider than `widest_px` are folded into one of that width, peak for peak, so that the centre
/// keeps its value while the flux far outside stays finite and local.
std::vector<Peak> power_law(double scale_px, double k, double tolerance, double widest_px) {
    double step = 1.2;
    while (trapezoid_error(k, step) > tolerance) step *= 0.97;
    const auto amplitude = [&](double log_s) { return step * std::exp(k * log_s - std::exp(log_s) - std::lgamma(k)); };
    // Narrow terms hold next to no flux and go early; wide ones are kept further down.
    const double negligible_narrow = 0.5 * tolerance;
    const double negligible_wide = 0.1 * tolerance;
    // The integrand peaks at s = k; walk outwards from there.
    const double log_peak = std::log(k);
    const double log_widest = std::log(scale_px * scale_px / (2 * widest_px * widest_px));
    std::vector<Peak> peaks;
    double folded = 0;
    for (double log_s = log_peak; log_s < log_peak + 50 && amplitude(log_s) > negligible_narrow; log_s += step) {
        if (log_s > log_widest)
            peaks.push_back({amplitude(log_s), scale_px / std::sqrt(2 * std::exp(log_s))});
        else
            folded += amplitude(log_s);
    }
    // Below the peak the terms fall as s^k: to 1e-12 they are all of the sum.
    for (double log_s = log_peak - step; log_s > log_peak - 50 && amplitude(log_s) > 1e-12; log_s -= step) {
        if (log_s <= log_widest)
            folded += amplitude(log_s);
        else if (amplitude(log_s) > negligible_wide)
            peaks.push_back({amplitude(log_s), scale_px / std::sqrt(2 * std::exp(log_s))});
    }
    if (folded > 0) peaks.push_back({folded, widest_px});
    return peaks;
}

std::vector<PsfComponent> components_of(const std::vector<Peak>& peaks) {
    std::vector<PsfComponent> components;
    for (const auto& [amplitude, sigma] : peaks) components.push_back({amplitude * k_two_pi * sigma * sigma, sigma});
    return components;
}

/// The radius where a falling function crosses zero, by bisection from an upper bound found by doubling.
template <class Function>
double root_of_falling(double first_high, Function function) {
    double high = first_high;
    while (function(high) > 0) high *= 2;
    double low = 0;
    constexpr int k_halvings = 60;
    for (int i = 0; i < k_halvings; ++i) {
        const double middle = 0.5 * (low + high);
        (function(middle) > 0 ? low : high) = middle;
    }
    return 0.5 * (low + high);
}

void require(bool condition, const std::string& message) {
    if (!condition) throw DataError("PSF: " + message);
}

}  // namespace

Psf::Psf(std::vector<PsfComponent> components) : components_{std::move(components)} {
    require(!components_.empty(), "the mixture has no component; give at least one weight and width");
    double total = 0;
    for (const auto& [weight, sigma] : components_) {
        require(std::isfinite(weight) && weight > 0 && std::isfinite(sigma) && sigma > 0,
                fmt::format("component with weight {} and width {} px; both must be positive and finite", weight, sigma));
        total += weight;
    }
    require(std::isfinite(total), "the sum of the weights is not finite; scale them down");
    for (auto& component : components_) component.weight /= total;
}

Psf Psf::from_fwhm(double fwhm_px) { return Psf({{1, fwhm_px / k_fwhm_per_sigma}}); }

Psf Psf::from_moffat(double fwhm_px, double beta) {
    require(std::isfinite(fwhm_px) && fwhm_px > 0, fmt::format("a Moffat FWHM of {} px; it must be positive", fwhm_px));
    require(std::isfinite(beta) && beta > 1, fmt::format("a Moffat beta of {}; its flux is finite only above 1", beta));
    // Large beta is a Gaussian in all but name, and Gamma(beta) would overflow.
    constexpr double k_gaussian_beta = 100;
    if (beta > k_gaussian_beta) return from_fwhm(fwhm_px);
    constexpr double k_tolerance = 3e-5;
    constexpr double k_widest_in_fwhm = 8;
    constexpr double k_widest_px = 30;
    const double scale = fwhm_px / (2 * std::sqrt(std::exp2(1 / beta) - 1));
    return Psf(components_of(power_law(scale, beta, k_tolerance, std::max(k_widest_px, k_widest_in_fwhm * fwhm_px))));
}

Psf Psf::from_sdss(const SdssParameters& parameters) {
    const auto& [sigma1, sigma2, b, sigma_p, beta, p0] = parameters;
    const bool usable = std::isfinite(sigma1) && sigma1 > 0 && std::isfinite(b) && b >= 0 && std::isfinite(p0) && p0 >= 0 &&
                        (b == 0 || (std::isfinite(sigma2) && sigma2 > 0)) &&
                        (p0 == 0 || (std::isfinite(sigma_p) && sigma_p > 0 && std::isfinite(beta) && beta > 2));
    require(usable, fmt::format("SDSS parameters sigma1 {} sigma2 {} b {} sigmap {} beta {} p0 {} describe no PSF", sigma1,
                                sigma2, b, sigma_p, beta, p0));
    std::vector<Peak> peaks{{1, sigma1}};
    if (b > 0) peaks.push_back({b, sigma2});
    // SDSS fluxes are calibrated to an aperture of 7.43 arcsec = 18.8 px: what the power law holds far outside is no part
    // of a star's flux. With 15 px as the widest Gaussian the mixture's integral is the closed form's flux within that
    // aperture to 1 %, and out to 25 px it follows the closed form.
    constexpr double k_widest_px = 15;
    constexpr double k_tolerance = 2e-5;
    const double peak = 1 + b + p0;
    if (p0 / peak > 1e-6) {
        for (const auto& [amplitude, sigma] :
             power_law(sigma_p * std::sqrt(beta), 0.5 * beta, std::min(0.1, k_tolerance * peak / p0), k_widest_px)) {
            peaks.push_back({p0 * amplitude, sigma});
        }
    }
    return Psf(components_of(peaks));
}

Psf Psf::convolved(double sigma_px) const {
    std::vector<PsfComponent> components = components_;
    for (auto& component : components) component.sigma_px = std::hypot(component.sigma_px, sigma_px);
    return Psf(std::move(components));
}

double Psf::value(double r_px) const {
    double sum = 0;
    for (const auto& [weight, sigma] : components_) {
        const double inverse = 1 / (sigma * sigma);
        sum += weight * inverse / k_two_pi * std::exp(-0.5 * r_px * r_px * inverse);
    }
    return sum;
}

double Psf::encircled_energy(double r_px) const {
    double sum = 0;
    for (const auto& [weight, sigma] : components_) sum -= weight * std::expm1(-0.5 * r_px * r_px / (sigma * sigma));
    return sum;
}

double Psf::radius_of_encircled_energy(double share) const {
    require(share > 0 && share < 1, fmt::format("a share of {} of the flux; it must lie between 0 and 1", share));
    return root_of_falling(1, [&](double r) { return share - encircled_energy(r); });
}

double Psf::fwhm_px() const {
    const double half = 0.5 * value(0);
    return 2 * root_of_falling(1, [&](double r) { return value(r) - half; });
}

double Psf::noise_equivalent_area_px() const {
    // The product of two centred Gaussians integrates to 1 / (2 pi (s1^2 + s2^2)).
    double square = 0;
    for (const auto& [weight_a, sigma_a] : components_) {
        for (const auto& [weight_b, sigma_b] : components_) {
            square += weight_a * weight_b / (k_two_pi * (sigma_a * sigma_a + sigma_b * sigma_b));
        }
    }
    return 1 / square;
}

}  // namespace bliss::survey
