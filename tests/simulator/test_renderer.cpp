#include "bliss/simulator/renderer.hpp"

#include "bliss/fits/file.hpp"
#include "bliss/simulator/gaussians.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

namespace {

using namespace bliss;
using namespace bliss::simulator;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr double k_arcsec_per_px = 0.396;

Image<float> render_one(const Source& source, const survey::Psf& psf, std::int64_t height, std::int64_t width, double tolerance_e) {
    Image<float> image{height, width};
    GaussianLists lists;
    append_gaussians(source, psf, tolerance_e, lists.gaussians);
    lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    render(lists, {image.data(), 1, height, width});
    return image;
}

double sum(std::span<const float> pixels) { return std::accumulate(pixels.begin(), pixels.end(), 0.0); }

survey::Psf sdss_psf() {
    return survey::Psf::from_sdss(
        {.sigma1_px = 1.48996, .sigma2_px = 2.99404, .b = 0.04923, .sigma_p_px = 2.89229, .beta = 3.2638, .p0 = 0.0105});
}

std::map<std::int32_t, survey::Psf> read_psfs(fits::FitsFile& file) {
    file.select("PSF");
    const auto id = file.read_column<std::int32_t>("PSF_ID");
    const auto weight = file.read_column<double>("WEIGHT");
    const auto sigma = file.read_column<double>("SIGMA_PX");
    std::map<std::int32_t, std::vector<survey::PsfComponent>> components;
    for (std::size_t i = 0; i < id.size(); ++i) components[id[i]].push_back({weight[i], sigma[i]});
    std::map<std::int32_t, survey::Psf> psfs;
    for (auto& [key, list] : components) psfs.emplace(key, survey::Psf{std::move(list)});
    return psfs;
}

}  // namespace

TEST_CASE("stars and galaxies agree with GalSim") {
    // Tolerance 1e-3: what the mixtures of Gaussians leave of the profiles is 3e-4, the oracle's own error below 1e-4.
    auto file = fits::FitsFile::open(BLISS_TEST_DATA "/golden/galsim_stamps.fits");
    const auto stamps = file.read_cube<float>();
    const auto psfs = read_psfs(file);
    file.select("SOURCES");
    const auto type = file.read_column<std::int32_t>("TYPE");
    const auto psf_id = file.read_column<std::int32_t>("PSF_ID");
    const auto column = [&](const char* name) { return file.read_column<double>(name); };
    const auto flux = column("FLUX_E"), dx = column("DX_PX"), dy = column("DY_PX"), disk = column("DISK_FRACTION");
    const auto a_d = column("A_D_ARCSEC"), q_d = column("Q_D"), a_b = column("A_B_ARCSEC"), q_b = column("Q_B"), beta = column("BETA_RAD");
    const auto stars = std::count(type.begin(), type.end(), 1);
    REQUIRE(stars >= 5);
    REQUIRE(static_cast<std::int64_t>(type.size()) - stars >= 20);

    const auto pixels = static_cast<std::size_t>(stamps.height * stamps.width);
    for (std::size_t i = 0; i < type.size(); ++i) {
        const double centre = static_cast<double>(stamps.width / 2);
        const Source source{centre + dx[i], centre + dy[i], type[i] == 1, flux[i],
                            light_of({disk[i], beta[i], a_d[i] / k_arcsec_per_px, q_d[i], a_b[i] / k_arcsec_per_px, q_b[i]})};
        const Image<float> ours = render_one(source, psfs.at(psf_id[i]), stamps.height, stamps.width, 1e-10 * flux[i]);
        const std::span<const float> golden{stamps.values.data() + i * pixels, pixels};
        const double peak = *std::max_element(golden.begin(), golden.end());
        double worst = 0;
        for (std::size_t k = 0; k < pixels; ++k) worst = std::max(worst, std::abs(static_cast<double>(ours.pixels()[k]) - golden[k]));
        INFO("source " << i << (type[i] ? " (star)" : " (galaxy)"));
        CHECK(worst / peak < (type[i] == 1 ? 1e-4 : 1e-3));
        CHECK(std::abs(sum(ours.pixels()) - sum(golden)) / flux[i] < 1e-3);
    }
}

TEST_CASE("a star is the PSF's closed form at its exact position") {
    const survey::Psf psf = sdss_psf();
    const double flux_e = 2e4;
    const Source star{30.37, 29.81, true, flux_e};
    const Image<float> image = render_one(star, psf, 61, 61, 1e-3);
    for (std::int64_t row = 0; row < 61; ++row) {
        for (std::int64_t col = 0; col < 61; ++col) {
            const double r = std::hypot(static_cast<double>(col) - star.x_px, static_cast<double>(row) - star.y_px);
            REQUIRE_THAT(image(row, col), WithinAbs(flux_e * psf.value(r), 1e-4 * flux_e * psf.value(0)));
        }
    }
}

TEST_CASE("flux is conserved and a galaxy's moments follow its shape") {
    // One elliptical exponential of known second moments: variance per axis is 1.0576 half-light radii squared (3 scale
    // lengths squared, r_half = 1.67835 scale lengths), plus the PSF's.
    const survey::Psf psf = survey::Psf::from_fwhm(3.0);
    const double angle = 0.7;
    const Source galaxy{100.2, 99.6, false, 1e5, light_of({1.0, angle, 5.0, 0.5, 1.0, 1.0})};
    const Image<float> image = render_one(galaxy, psf, 201, 201, 1e-5);
    double total = 0, xx = 0, xy = 0, yy = 0;
    for (std::int64_t row = 0; row < 201; ++row) {
        for (std::int64_t col = 0; col < 201; ++col) {
            const double dx = static_cast<double>(col) - galaxy.x_px, dy = static_cast<double>(row) - galaxy.y_px;
            const double f = image(row, col);
            total += f;
            xx += f * dx * dx;
            xy += f * dx * dy;
            yy += f * dy * dy;
        }
    }
    CHECK_THAT(total, WithinRel(1e5, 1e-4));
    const double psf_variance = std::pow(3.0 / 2.354820045, 2);
    const double scale = 5.0 / 1.67834699;
    const double major = 3 * scale * scale, minor = major * 0.25;
    const double c = std::cos(angle), s = std::sin(angle);
    CHECK_THAT(xx / total, WithinRel(major * c * c + minor * s * s + psf_variance, 0.01));
    CHECK_THAT(yy / total, WithinRel(major * s * s + minor * c * c + psf_variance, 0.01));
    CHECK_THAT(xy / total, WithinRel((major - minor) * s * c, 0.01));
}

TEST_CASE("a PSF out of round keeps its flux and its area, and has the axes that are said") {
    const survey::Psf psf = survey::Psf::from_fwhm(4.0);
    const double e = 0.3, angle = 0.4, variance = std::pow(4.0 / 2.354820045, 2);
    GaussianLists lists;
    append_gaussians({100.2, 99.7, true, 1e5}, psf, 1e-5, lists.gaussians, {e * std::cos(2 * angle), e * std::sin(2 * angle)});
    lists.first.push_back(std::ssize(lists.gaussians));
    Image<float> image{201, 201};
    render(lists, {image.data(), 1, 201, 201});
    double total = 0, along = 0, across = 0, mixed = 0;
    for (std::int64_t row = 0; row < 201; ++row) {
        for (std::int64_t col = 0; col < 201; ++col) {
            const double dx = static_cast<double>(col) - 100.2, dy = static_cast<double>(row) - 99.7, f = image(row, col);
            const double t = dx * std::cos(angle) + dy * std::sin(angle), s = dy * std::cos(angle) - dx * std::sin(angle);
            total += f;
            along += f * t * t;
            across += f * s * s;
            mixed += f * t * s;
        }
    }
    CHECK_THAT(total, WithinRel(1e5, 1e-4));
    CHECK_THAT((along - across) / (along + across), WithinAbs(e, 1e-3));
    CHECK_THAT(std::sqrt(along * across) / total, WithinRel(variance, 1e-3));
    CHECK_THAT(mixed / total, WithinAbs(0, 1e-3));
}

TEST_CASE("scattered light is a halo and two crossed spikes of the shares given") {
    const Source star{150.3, 149.8, true, 1e7};
    const ScatteredLight light{.halo_share = 0.01, .halo_sigma_px = 20, .spike_share = 1e-3, .spike_sigma_px = 30, .angle_rad = 0.6};
    Image<float> image{301, 301};
    GaussianLists lists;
    append_scattered_light(star, light, 1e-4, lists.gaussians);
    lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    render(lists, {image.data(), 1, 301, 301});
    CHECK_THAT(sum(image.pixels()), WithinRel(1e7 * (0.01 + 2 * 1e-3), 1e-3));
    // 40 px out: on a spike, on the other one, and between them.
    const auto at = [&](double angle) {
        return image(std::lround(star.y_px + 40 * std::sin(angle)), std::lround(star.x_px + 40 * std::cos(angle)));
    };
    const double halo = 1e7 * 0.01 / (2 * std::numbers::pi * 400) * std::exp(-0.5 * 4);
    const double spike = 1e7 * 1e-3 / (2 * std::numbers::pi * 30 * 1.5) * std::exp(-0.5 * 16 / 9);
    for (const double turn : {0.0, 0.5, 1.0, 1.5}) {
        CHECK_THAT(at(0.6 + turn * std::numbers::pi), WithinRel(halo + spike, 0.15));  // the nearest pixel is up to half a pixel off
        CHECK_THAT(at(0.6 + (turn + 0.25) * std::numbers::pi), WithinRel(halo, 0.1));
    }
}

TEST_CASE("a ray lies on one side of its star, along its line") {
    const Source star{100, 100, true, 1e7};
    ScatteredLight light;
    light.rays[2] = {.share = 1e-3, .angle_rad = 2.2, .distance_px = 15, .sigma_px = 6};
    Image<float> image{201, 201};
    GaussianLists lists;
    append_scattered_light(star, light, 1e-4, lists.gaussians);
    lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    render(lists, {image.data(), 1, 201, 201});
    double along = 0, across = 0, along_squared = 0;
    for (std::int64_t row = 0; row < 201; ++row) {
        for (std::int64_t col = 0; col < 201; ++col) {
            const double dx = static_cast<double>(col) - 100, dy = static_cast<double>(row) - 100;
            const double t = dx * std::cos(2.2) + dy * std::sin(2.2), s = dy * std::cos(2.2) - dx * std::sin(2.2);
            along += t * image(row, col);
            across += s * image(row, col);
            along_squared += t * t * image(row, col);
        }
    }
    CHECK_THAT(sum(image.pixels()), WithinRel(1e4, 1e-3));
    CHECK_THAT(along / 1e4, WithinRel(15, 1e-3));
    CHECK_THAT(across / 1e4, WithinAbs(0, 1e-2));
    CHECK_THAT(along_squared / 1e4, WithinRel(15 * 15 + 36, 1e-2));
}

TEST_CASE("light that is left out stays below the tolerance") {
    const survey::Psf psf = sdss_psf();
    const Source galaxy{64.3, 63.9, false, 5e4, light_of({0.4, 2.0, 6.0, 0.3, 3.0, 0.8})};
    const Image<float> fine = render_one(galaxy, psf, 128, 128, 1e-6);
    const Image<float> coarse = render_one(galaxy, psf, 128, 128, 0.05);
    double worst = 0;
    for (std::int64_t k = 0; k < fine.size(); ++k)
        worst = std::max(worst, static_cast<double>(std::abs(fine.data()[k] - coarse.data()[k])));
    CHECK(worst > 0);
    CHECK(worst < 2.0);  // a tenth of the noise of the darkest sky, 20 electrons
}

TEST_CASE("a source partly or wholly off the image is rendered without harm") {
    const survey::Psf psf = sdss_psf();
    const Image<float> inside = render_one({40.25, 40.5, true, 1e4}, psf, 80, 80, 1e-4);
    const Image<float> moved = render_one({0.25, 0.5, true, 1e4}, psf, 80, 80, 1e-4);
    for (std::int64_t row = 0; row < 40; ++row) {
        for (std::int64_t col = 0; col < 40; ++col) REQUIRE(moved(row, col) == inside(row + 40, col + 40));
    }
    CHECK(sum(render_one({-500, 2000, true, 1e4}, psf, 80, 80, 1e-4).pixels()) == 0);
}

TEST_CASE("noise has the mean and variance of equation 6 and depends on its sample alone") {
    for (const NoiseKind kind : {NoiseKind::normal, NoiseKind::poisson}) {
        const std::int64_t side = 300;
        Image<float> image{side, side, 900.0f};
        const ImageBlock block{image.data(), 1, side, side};
        add_noise(kind, block, 7, 3, 5);
        const double n = static_cast<double>(image.size());
        const double mean = sum(image.pixels()) / n;
        double square = 0;
        for (const float x : image.pixels()) square += (x - mean) * (x - mean);
        // Five standard errors: 30 / sqrt(n), and 900 sqrt(2 / n).
        CHECK_THAT(mean, WithinAbs(900, 5 * 30 / std::sqrt(n)));
        CHECK_THAT(square / n, WithinAbs(900, 5 * 900 * std::sqrt(2 / n)));

        Image<float> pair{2 * side, side, 900.0f};
        add_noise(kind, {pair.data(), 2, side, side}, 7, 3, 4);
        CHECK(std::equal(image.pixels().begin(), image.pixels().end(), pair.pixels().begin() + side * side));
        CHECK_FALSE(std::equal(image.pixels().begin(), image.pixels().end(), pair.pixels().begin()));
    }
}
