#include "bliss/core/error.hpp"
#include "bliss/survey/psf.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <functional>
#include <numbers>

using bliss::DataError;
using bliss::survey::Psf;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

using Parameters = Psf::SdssParameters;

/// r of 94-1-12 (psField HDU 6).
constexpr Parameters k_r{1.4899639, 2.994038, 0.04922942, 2.8922856, 3.263799, 0.010495156};

double sdss_profile(const Parameters& p, double r) {
    return std::exp(-r * r / (2 * p.sigma1_px * p.sigma1_px)) + p.b * std::exp(-r * r / (2 * p.sigma2_px * p.sigma2_px)) +
           p.p0 * std::pow(1 + r * r / (p.beta * p.sigma_p_px * p.sigma_p_px), -p.beta / 2);
}

/// Integral of 2 pi r f(r) from 0 to `limit`, by the midpoint rule.
double plane_integral(const std::function<double(double)>& profile, double limit) {
    constexpr int k_steps = 200000;
    const double step = limit / k_steps;
    double sum = 0;
    for (int i = 0; i < k_steps; ++i) {
        const double r = (i + 0.5) * step;
        sum += 2 * std::numbers::pi * r * profile(r) * step;
    }
    return sum;
}

void check_components(const Psf& psf) {
    double total = 0;
    for (const auto& [weight, sigma] : psf.components()) {
        CHECK(weight > 0);
        CHECK(sigma > 0);
        total += weight;
    }
    CHECK_THAT(total, WithinAbs(1, 1e-12));
}

}  // namespace

TEST_CASE("convolution with a Gaussian adds variances and keeps the flux") {
    const Psf psf = Psf::from_sdss(k_r), wide = psf.convolved(1.5);
    check_components(wide);
    REQUIRE(wide.components().size() == psf.components().size());
    for (std::size_t k = 0; k < psf.components().size(); ++k) {
        CHECK_THAT(wide.components()[k].weight, WithinRel(psf.components()[k].weight, 1e-14));
        CHECK_THAT(wide.components()[k].sigma_px, WithinRel(std::hypot(psf.components()[k].sigma_px, 1.5), 1e-12));
    }
    CHECK_THAT(psf.convolved(0).value(1), WithinRel(psf.value(1), 1e-12));
}

TEST_CASE("one Gaussian has its closed forms") {
    const auto psf = Psf::from_fwhm(2.3548200450309493 * 1.5);
    REQUIRE(psf.components().size() == 1);
    CHECK_THAT(psf.components()[0].sigma_px, WithinRel(1.5, 1e-12));
    CHECK_THAT(psf.value(0), WithinRel(1 / (2 * std::numbers::pi * 2.25), 1e-12));
    CHECK_THAT(psf.value(3), WithinRel(std::exp(-2.0) / (2 * std::numbers::pi * 2.25), 1e-12));
    CHECK_THAT(psf.fwhm_px(), WithinRel(2.3548200450309493 * 1.5, 1e-12));
    CHECK_THAT(psf.encircled_energy(1.5), WithinRel(1 - std::exp(-0.5), 1e-12));
    CHECK_THAT(psf.radius_of_encircled_energy(0.5), WithinRel(1.5 * std::sqrt(2 * std::numbers::ln2), 1e-12));
    CHECK_THAT(psf.noise_equivalent_area_px(), WithinRel(4 * std::numbers::pi * 2.25, 1e-12));
}

TEST_CASE("weights are scaled to sum 1") {
    const Psf psf({{3, 1}, {1, 2}});
    CHECK_THAT(psf.components()[0].weight, WithinAbs(0.75, 1e-15));
    CHECK_THAT(plane_integral([&](double r) { return psf.value(r); }, 30), WithinAbs(1, 1e-7));
}

TEST_CASE("the encircled energy and its radius are inverse, and agree with the profile") {
    const auto psf = Psf::from_sdss(k_r);
    for (const double share : {0.01, 0.5, 0.9, 0.99}) {
        CHECK_THAT(psf.encircled_energy(psf.radius_of_encircled_energy(share)), WithinAbs(share, 1e-9));
    }
    CHECK_THAT(plane_integral([&](double r) { return psf.value(r); }, 5), WithinAbs(psf.encircled_energy(5), 1e-7));
    const double square = plane_integral([&](double r) { return psf.value(r) * psf.value(r); }, 100);
    CHECK_THAT(psf.noise_equivalent_area_px(), WithinRel(1 / square, 1e-6));
}

TEST_CASE("the SDSS profile is followed to 1e-4 of the peak out to 25 px") {
    const auto parameters = GENERATE(k_r, Parameters{1.6444215, 3.5367863, 0.05718637, 5, 3, 1e-7},  // u of 94-1-12
                                     Parameters{1.6545478, 3.1703002, 0.05153135, 2.9183352, 3.2223449, 0.010598171},
                                     Parameters{1.5936697, 3.3874602, 0.03467857, 4.1757174, 2.474718, 0.0039977697},
                                     Parameters{1.0627759, 1.8700007, 3.3948064, 5.1948996, 10, 0.042958479},  // z
                                     Parameters{1.2, 2.5, 0.1, 3, 2.2, 0.01}, Parameters{1.4, 1, 0, 3, 3.5, 0.05},
                                     Parameters{1.4, 2.8, 0.1, 1, 3, 0});
    const auto psf = Psf::from_sdss(parameters);
    check_components(psf);
    CHECK(psf.components().size() <= 14);
    const double peak = sdss_profile(parameters, 0);
    double worst = 0;
    for (double r = 0; r <= 25; r += 0.05) {
        worst = std::max(worst, std::abs(psf.value(r) / psf.value(0) - sdss_profile(parameters, r) / peak));
    }
    CHECK(worst < 1e-4);
}

TEST_CASE("the r PSF of 94-1-12 holds the flux of SDSS's calibration aperture") {
    const auto psf = Psf::from_sdss(k_r);
    const double aperture_px = 7.43 / 0.396;
    const double flux = plane_integral([](double r) { return sdss_profile(k_r, r); }, aperture_px);
    CHECK_THAT(psf.value(0), WithinRel(sdss_profile(k_r, 0) / flux, 0.01));
    double low = 1;
    double high = 3;
    for (int i = 0; i < 50; ++i) {
        const double middle = 0.5 * (low + high);
        (sdss_profile(k_r, middle) > 0.5 * sdss_profile(k_r, 0) ? low : high) = middle;
    }
    CHECK_THAT(psf.fwhm_px(), WithinRel(2 * low, 2e-4));
}

TEST_CASE("a Moffat profile is followed to 1e-4 of the peak out to 25 px") {
    const double beta = GENERATE(1.5, 2.5, 3.0, 3.5, 4.765, 10.0, 60.0);
    const double fwhm = GENERATE(2.0, 4.0, 9.0);
    const auto psf = Psf::from_moffat(fwhm, beta);
    check_components(psf);
    CHECK(psf.components().size() <= 16);
    const double scale = fwhm / (2 * std::sqrt(std::exp2(1 / beta) - 1));
    double worst = 0;
    for (double r = 0; r <= 25; r += 0.05) {
        const double exact = std::pow(1 + r * r / (scale * scale), -beta);
        worst = std::max(worst, std::abs(psf.value(r) / psf.value(0) - exact));
    }
    CHECK(worst < 1e-4);
    CHECK_THAT(psf.fwhm_px(), WithinRel(fwhm, 1e-3));
    if (beta >= 3) {
        // The flux outside the widest Gaussian is small here, so the peak itself is the closed form's.
        CHECK_THAT(psf.value(0), WithinRel((beta - 1) / (std::numbers::pi * scale * scale), 5e-3));
    }
}

TEST_CASE("parameters that describe no PSF are refused") {
    CHECK_THROWS_AS(Psf({}), DataError);
    CHECK_THROWS_AS(Psf({{1, 0}}), DataError);
    CHECK_THROWS_AS(Psf({{1, 1}, {-0.1, 2}}), DataError);
    CHECK_THROWS_AS(Psf({{std::nan(""), 1}}), DataError);
    CHECK_THROWS_AS(Psf::from_fwhm(0), DataError);
    CHECK_THROWS_AS(Psf::from_moffat(3, 1), DataError);
    CHECK_THROWS_AS(Psf::from_moffat(std::nan(""), 3), DataError);
    Parameters wrong = k_r;
    wrong.sigma1_px = 0;
    CHECK_THROWS_AS(Psf::from_sdss(wrong), DataError);
    wrong = k_r;
    wrong.beta = 2;
    CHECK_THROWS_AS(Psf::from_sdss(wrong), DataError);
    wrong = k_r;
    wrong.p0 = std::nan("");
    CHECK_THROWS_AS(Psf::from_sdss(wrong), DataError);
    CHECK_THROWS_AS(Psf::from_fwhm(2).radius_of_encircled_energy(1), DataError);
}
