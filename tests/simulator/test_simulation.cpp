#include "bliss/simulator/simulation.hpp"

#include "bliss/core/error.hpp"
#include "bliss/simulator/image_plan.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>

namespace {

using namespace bliss::simulator;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr std::int64_t k_side = 160;

struct Simulated {
    std::vector<float> electrons = std::vector<float>(k_side * k_side);
    std::vector<std::uint8_t> valid = std::vector<std::uint8_t>(k_side * k_side);
    ImageTruth truth{{0, 0, 0, bliss::survey::Psf::from_fwhm(1)}, {}};
};

Simulated simulate_one(const SimulatorConfig& config, std::uint32_t sample) {
    Simulated image;
    image.truth = simulate(config, nullptr, {3, 0, sample}, {{image.electrons.data(), 1, k_side, k_side}, image.valid.data()}).front();
    return image;
}

double distance_off(const Source& s) {
    const auto axis = [](double at) { return std::max(-0.5 - at, at - (k_side - 0.5)); };
    return std::max(axis(s.x_px), axis(s.y_px));
}

}  // namespace

TEST_CASE("faint sources come from near the image, bright ones from as far as they shine into it") {
    SimulatorConfig config;
    config.conditions.sources_per_tile_low = config.conditions.sources_per_tile_high = 0.05;
    int far = 0, near = 0;
    for (std::uint32_t sample = 0; sample < 40; ++sample) {
        for (const Source& source : simulate_one(config, sample).truth.sources) {
            if (distance_off(source) > 16) {
                ++far;
                CHECK(source.flux_e >= 1e5);
                CHECK(distance_off(source) <= 100);
            } else {
                near += source.flux_e < 1e5 ? 1 : 0;
            }
        }
    }
    CHECK(far > 20);
    CHECK(near > 1000);
}

TEST_CASE("planned images, made in one pass, are the simulated ones up to rounding") {
    if (gpu() >= 0) SKIP("NOT TESTED: Kokkos runs on a GPU, whose memory a test of tensors has (tests/apps/test_gpu.py)");
    SimulatorConfig config;
    config.conditions.bright_star_share = 1;
    config.conditions.edge_share = 0.5;
    constexpr std::int64_t images = 3, height = 70, width = 45, pixels = height * width;  // no whole number of quads
    const SampleRange range{11, 4, 7};
    std::vector<float> electrons(images * pixels), expected(images * pixels);
    std::vector<std::uint8_t> valid(images * pixels), expected_valid(images * pixels);
    const auto truths = simulate(config, nullptr, range, {{expected.data(), images, height, width}, expected_valid.data()});
    const std::vector<ImagePlan> plans = plan_images(config, nullptr, range, images, height, width);
    REQUIRE(makes_images(config));
    const PackedPlans packed{plans};
    make_images(packed, packed.bytes().data(), range, {{electrons.data(), images, height, width}, valid.data()});
    REQUIRE(truths.size() == images);
    CHECK(valid == expected_valid);
    CHECK(std::ranges::count(valid, std::uint8_t{0}) > 50);
    double worst = 0;
    int off = 0;  // by more than rounding
    for (std::size_t k = 0; k < electrons.size(); ++k) {
        const double difference = std::abs(static_cast<double>(electrons[k]) - expected[k]);
        worst = std::max(worst, (difference - config.tolerance_e) / expected[k]);
        off += difference > 1e-5 * expected[k] ? 1 : 0;
    }
    CHECK(worst < 1e-4);  // a Gaussian may end one pixel earlier
    CHECK(off < 10);
}

TEST_CASE("images without light and bad pixels are sky and noise, and no image is none") {
    if (gpu() >= 0) SKIP("NOT TESTED: Kokkos runs on a GPU");
    SimulatorConfig config;
    config.conditions.edge_share = config.conditions.bad_pixel_share = 0;
    std::vector<ImagePlan> plans = plan_images(config, nullptr, {1, 2, 0}, 2, 20, 20);
    for (ImagePlan& plan : plans) {
        plan.light.clear();
        plan.bad.clear();
    }
    std::vector<float> electrons(2 * 20 * 20);
    std::vector<std::uint8_t> valid(electrons.size());
    const PackedPlans packed{plans};
    make_images(packed, packed.bytes().data(), {1, 2, 0}, {{electrons.data(), 2, 20, 20}, valid.data()});
    CHECK(std::ranges::count(valid, std::uint8_t{1}) == std::ssize(valid));
    for (std::size_t k = 0; k < electrons.size(); ++k) {
        const double sky = plans[k / 400].truth.conditions.background_e;
        REQUIRE(std::abs(electrons[k] - sky) < 6 * std::sqrt(sky));
    }
    const PackedPlans none{{}};
    make_images(none, none.bytes().data(), {1, 2, 0}, {{electrons.data(), 0, 20, 20}, valid.data()});
}

TEST_CASE("how far PSFs are out of round is drawn last: all else stays") {
    SimulatorConfig config;
    const Conditions plain = conditions_of(config, {3, 1, 4});
    CHECK((plain.ellipticity.e1 == 0 && plain.ellipticity.e2 == 0));
    config.conditions.psf_ellipticity_high = 0.2;
    double most = 0, least = 1, sum = 0;
    for (std::uint32_t k = 0; k < 500; ++k) {
        const PsfEllipticity e = conditions_of(config, {3, 1, k}).ellipticity;
        most = std::max(most, std::hypot(e.e1, e.e2));
        least = std::min(least, std::hypot(e.e1, e.e2));
        sum += e.e1;
    }
    CHECK((most < 0.2 && most > 0.19 && least < 0.01));
    CHECK_THAT(sum / 500, WithinAbs(0, 0.02));
    const Conditions out_of_round = conditions_of(config, {3, 1, 4});
    CHECK(out_of_round.scattered.rays[3].sigma_px == plain.scattered.rays[3].sigma_px);
    CHECK(out_of_round.background_e == plain.background_e);
}

TEST_CASE("bright galaxies may have clumps, and nothing else changes") {
    SimulatorConfig config;
    config.conditions.sources_per_tile_low = config.conditions.sources_per_tile_high = 0.01;
    SimulatorConfig clumpy = config;
    clumpy.conditions.clump_share_high = 0.3;
    const auto bright = [](const Source& s) { return !s.is_star && s.flux_e >= k_clumps_from_e; };
    int same = 0, changed = 0;
    for (std::uint32_t sample = 0; sample < 20; ++sample) {
        const Simulated smooth = simulate_one(config, sample), with_clumps = simulate_one(clumpy, sample);
        REQUIRE(with_clumps.truth.sources.size() == smooth.truth.sources.size());
        if (std::ranges::none_of(smooth.truth.sources, bright)) {
            CHECK(with_clumps.electrons == smooth.electrons);
            ++same;
        } else if (std::ranges::any_of(smooth.truth.sources, [&](const Source& s) { return bright(s) && distance_off(s) < 0; })) {
            CHECK(with_clumps.electrons != smooth.electrons);
            ++changed;
        }
    }
    CHECK(same > 2);
    CHECK(changed > 2);
}

TEST_CASE("what cannot be drawn is said by whoever asked") {
    SimulatorConfig config;
    config.prior.galaxies = GalaxyModel::learnt;
    CHECK_THROWS_AS(plan_images(config, nullptr, {1, 2, 0}, 3, 20, 20), bliss::ConfigError);
}

TEST_CASE("rates are as frequent as a power of theirs, and their mean is what is said") {
    for (const double power : {-2.0, -1.0, 0.0, 1.0}) {
        ConditionsConfig config;
        config.sources_per_tile_power = power;
        const double low = config.sources_per_tile_low, high = config.sources_per_tile_high, middle = std::sqrt(low * high);
        constexpr int draws = 4000;
        double sum = 0, below = 0;
        bliss::RandomStream random{5, bliss::StreamPurpose::conditions, 0, 0};
        for (int k = 0; k < draws; ++k) {
            const double rate = draw_conditions(config, random).sources_per_tile;
            REQUIRE((rate >= low && rate <= high));
            sum += rate;
            below += rate < middle ? 1 : 0;
        }
        const auto share = [&](double to) {  // of rates between the lowest and `to`
            const double p = power + 1;
            return p == 0 ? std::log(to / low) / std::log(high / low)
                          : (std::pow(to, p) - std::pow(low, p)) / (std::pow(high, p) - std::pow(low, p));
        };
        CAPTURE(power);
        CHECK_THAT(below / draws, WithinAbs(share(middle), 0.03));
        CHECK_THAT(sum / draws, WithinRel(mean_rate(config), 0.03));
    }
    ConditionsConfig one;
    one.sources_per_tile_low = one.sources_per_tile_high = 0.01;
    CHECK(mean_rate(one) == 0.01);
}

TEST_CASE("a share of the images gets one very bright star more, and nothing else changes") {
    SimulatorConfig plain, more;
    more.conditions.bright_star_share = 0.5;
    int added = 0;
    for (std::uint32_t sample = 0; sample < 100; ++sample) {
        const ImageTruth other = simulate_one(more, sample).truth, usual = simulate_one(plain, sample).truth;
        CHECK(other.conditions.background_e == usual.conditions.background_e);
        CHECK(other.conditions.psf.fwhm_px() == usual.conditions.psf.fwhm_px());
        auto with = other.sources;
        const auto& without = usual.sources;
        REQUIRE(std::is_sorted(with.begin(), with.end(), [](const Source& a, const Source& b) { return a.flux_e > b.flux_e; }));
        if (with.size() == without.size()) continue;
        REQUIRE(with.size() == without.size() + 1);
        ++added;
        std::size_t k = 0;
        while (k < without.size() && with[k].flux_e == without[k].flux_e) ++k;
        CHECK(with[k].is_star);
        CHECK(with[k].flux_e >= 1e6);
        CHECK(with[k].flux_e <= 1e8);
        CHECK(distance_off(with[k]) <= 50);
        with.erase(with.begin() + static_cast<std::ptrdiff_t>(k));
        CHECK(std::equal(with.begin(), with.end(), without.begin(), [](const Source& a, const Source& b) {
            return a.x_px == b.x_px && a.y_px == b.y_px && a.flux_e == b.flux_e && a.is_star == b.is_star;
        }));
    }
    CHECK(added > 30);
    CHECK(added < 70);
}

TEST_CASE("saturated stars lose their core and a trail of bled charge; what is not valid holds the background") {
    SimulatorConfig config;
    config.prior.star_fraction = 1;
    config.prior.flux_min_e = config.prior.label_flux_min_e = 1e7;
    config.conditions.sources_per_tile_low = config.conditions.sources_per_tile_high = 0.002;
    config.conditions.bad_pixel_share = 0;
    config.conditions.edge_share = 0;
    int saturated = 0, trails = 0;
    for (std::uint32_t sample = 0; sample < 120; ++sample) {
        const Simulated image = simulate_one(config, sample);
        for (std::size_t k = 0; k < image.valid.size(); ++k) {
            if (!image.valid[k]) REQUIRE(image.electrons[k] == static_cast<float>(image.truth.conditions.background_e));
        }
        for (const Source& star : image.truth.sources) {
            const Conditions& conditions = image.truth.conditions;
            const bool well_saturated = star.flux_e * conditions.psf.value(1.5) > conditions.saturation_e;
            if (distance_off(star) > -50 || !well_saturated) continue;
            const auto lost = [&](std::int64_t rows, std::int64_t cols) {
                const auto row = std::lround(star.y_px), col = std::lround(star.x_px);
                std::int64_t count = 0;
                while (count < 40 && !image.valid[static_cast<std::size_t>((row + rows * count) * k_side + col + cols * count)]) ++count;
                return count;
            };
            ++saturated;
            CHECK(lost(1, 0) > 0);
            const double along = static_cast<double>(lost(1, 0) + lost(-1, 0)), across = static_cast<double>(lost(0, 1) + lost(0, -1));
            trails += std::max(along, across) > 1.3 * std::min(along, across) ? 1 : 0;
        }
    }
    CHECK(saturated > 30);
    CHECK(trails > saturated / 2);
}
