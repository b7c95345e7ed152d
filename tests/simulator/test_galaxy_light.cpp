#include "bliss/simulator/galaxy_light.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/random.hpp"
#include "bliss/simulator/galaxy_decoder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace {

using namespace bliss;
using namespace bliss::simulator;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

/// A decoder of 2 shape latents and one Gaussian without hidden layers: numbers = weight * latents + bias.
GalaxyDecoder linear_decoder() {
    DenseLayer layer{std::vector<float>(k_mixture_numbers * 2, 0.0f), std::vector<float>(k_mixture_numbers, 0.0f)};
    layer.weight[2 * k_ln_scale_x] = 0.1f;       // the first latent stretches x
    layer.weight[2 * k_shear + 1] = 0.5f;        // the second one shears
    layer.bias[k_centre_x] = 0.7f;
    return {{}, {layer}};
}

}  // namespace

TEST_CASE("one elliptical profile has the morphology it was made with") {
    for (const double disk : {1.0, 0.0}) {
        const GalaxyShape shape{disk, 0.6, 4.0, 0.4, 4.0, 0.4};
        const GalaxyLight light = light_of(shape);
        double total = 0;
        for (const auto& c : light) total += c.weight;
        CHECK_THAT(total, WithinRel(1.0, 1e-12));
        const Morphology m = morphology_of(light);
        // A tenth of a per cent: what the mixtures of Gaussians leave of the profiles' growth curves.
        CHECK_THAT(m.half_light_radius_px, WithinRel(4 * std::sqrt(0.4), disk > 0 ? 2e-3 : 1e-2));
        CHECK_THAT(m.axis_ratio(), WithinRel(0.4, 1e-9));
        CHECK_THAT(m.angle_rad(), WithinRel(0.6, 1e-9));
    }
    // Exponential disk: 1 - (1 + x) exp(-x) is 0.2 at 0.82439 and 0.8 at 2.99431 scale lengths.
    CHECK_THAT(concentration_of(light_of({1.0, 0, 3, 1, 3, 1})), WithinAbs(5 * std::log10(2.99431 / 0.82439), 0.02));
    // De Vaucouleurs: growth curves are incomplete gamma functions of 8 b = 7.66925; radii of 20 % and 80 %.
    CHECK_THAT(concentration_of(light_of({0.0, 0, 3, 1, 3, 1})), WithinAbs(5.26, 0.1));
}

TEST_CASE("clumps take their share of the light, and lie where the light does") {
    const GalaxyLight light = light_of({1.0, 0.6, 6.0, 0.4, 3.0, 0.7});
    const auto moments = [](std::span<const LightComponent> parts) {
        std::array<double, 4> sums{};  // weight; x^2, x y, y^2 of it
        for (const LightComponent& c : parts) {
            const double of[] = {1, c.x_px * c.x_px + c.xx, c.x_px * c.y_px + c.xy, c.y_px * c.y_px + c.yy};
            for (std::size_t k = 0; k < 4; ++k) sums[k] += c.weight * of[k];
        }
        return sums;
    };
    RandomStream random{5, StreamPurpose::clumps, 0, 0};
    std::array<double, 4> all{};
    double x_px = 0;
    constexpr int galaxies = 20'000;
    for (int i = 0; i < galaxies; ++i) {
        const GalaxyLight clumpy = with_clumps(light, 0.3, random);
        const std::size_t clumps = clumpy.size() - light.size();
        REQUIRE((clumps >= 2 && clumps <= 6));
        CHECK_THAT(clumpy.front().weight, WithinRel(0.7 * light.front().weight, 1e-12));
        const auto of = moments(std::span{clumpy}.subspan(light.size()));
        for (std::size_t k = 0; k < 4; ++k) all[k] += of[k] / 0.3 / galaxies;
        for (const LightComponent& c : std::span{clumpy}.subspan(light.size())) x_px += c.weight * c.x_px / galaxies;
    }
    const auto smooth = moments(light);
    CHECK_THAT(all[0], WithinRel(1.0, 1e-9));
    CHECK_THAT(x_px, WithinAbs(0, 0.03));
    // Their places are spread as the light is; their own sizes add the mean of a square between 0.1^2 and 0.5^2.
    for (std::size_t k = 1; k < 4; ++k) CHECK_THAT(all[k], WithinRel(smooth[k] * (1 + (0.125 - 0.001) / 3 / 0.4), 0.04));
}

TEST_CASE("bulge and disk of other flattening mix their ellipticities by flux") {
    const Morphology m = morphology_of(light_of({0.25, 1.2, 3, 0.5, 3, 1.0}));
    CHECK_THAT(std::hypot(m.e1, m.e2), WithinRel(0.25 * (1 - 0.5) / (1 + 0.5), 1e-9));
    CHECK_THAT(m.angle_rad(), WithinRel(1.2, 1e-9));
    const GalaxyLight light = light_of({0.25, 1.2, 3, 0.5, 3, 1.0});
    CHECK_THAT(morphology_of(scaled(light, 2.5)).half_light_radius_px, WithinRel(2.5 * m.half_light_radius_px, 1e-6));
}

TEST_CASE("the decoder's numbers are a mixture's parameters") {
    const GalaxyDecoder decoder = linear_decoder();
    REQUIRE(decoder.latents() == 3);
    REQUIRE(decoder.gaussians() == 1);
    const float v[] = {9.0f, 2.0f, -1.0f};
    const GalaxyLight light = decoder.light(v, 2.0);
    const double first = std::exp(k_ln_scale_centre + k_ln_scale_reach * std::tanh(0.2)), second = std::exp(k_ln_scale_centre);
    CHECK_THAT(light[0].weight, WithinRel(1.0, 1e-12));
    CHECK_THAT(light[0].x_px, WithinAbs(0, 1e-12));  // the centroid, whatever the centre
    CHECK_THAT(light[0].xx, WithinRel(4 * first * first, 1e-6));
    CHECK_THAT(light[0].xy, WithinRel(4 * first * first * -0.5, 1e-6));
    CHECK_THAT(light[0].yy, WithinRel(4 * (0.25 * first * first + second * second), 1e-6));
}

TEST_CASE("a coupling scales and shifts the latents it moves by what it makes of the others") {
    CouplingLayer coupling;
    coupling.moved = {1, 0};
    coupling.hidden = {{9.0f, 2.0f}, {0.5f}};  // the moved latent's weight 9 must not be felt
    coupling.out = {{0.3f, 7.0f, -0.2f, 7.0f}, {0.1f, 7.0f, 0.4f, 7.0f}};
    DenseLayer layer{std::vector<float>(k_mixture_numbers * 2, 0.0f), std::vector<float>(k_mixture_numbers, 0.0f)};
    layer.weight[2 * k_shear] = 1.0f;  // shows the first code
    const GalaxyDecoder decoder{{coupling}, {layer}};
    const float v[] = {0.0f, 1.5f, -0.4f};
    const GalaxyLight light = decoder.light(v, 1.0);
    const double in = 2 * -0.4 + 0.5, hidden = in / (1 + std::exp(-in));
    const double code = 1.5 * std::exp(k_coupling_reach * std::tanh(0.3 * hidden + 0.1)) + (-0.2 * hidden + 0.4);
    CHECK_THAT(light[0].xy / light[0].xx, WithinRel(code, 1e-5));
}

TEST_CASE("many galaxies are decoded as one by one, with the morphologies of their light") {
    RandomStream random{4, StreamPurpose::galaxy, 0, 0};
    const auto numbers = [&](std::size_t count, double scale) {
        std::vector<float> out;
        for (std::size_t k = 0; k < count; ++k) out.push_back(static_cast<float>(scale * random.normal()));
        return out;
    };
    const std::size_t latents = 3, hidden = 10, gaussians = 5;
    const std::size_t outputs = k_mixture_numbers * gaussians;
    const CouplingLayer coupling{{1, 0, 1},
                                 {numbers(hidden * latents, 0.5), numbers(hidden, 0.5)},
                                 {numbers(2 * latents * hidden, 0.3), numbers(2 * latents, 0.3)}};
    const GalaxyDecoder decoder{{coupling},
                                {{numbers(hidden * latents, 0.5), numbers(hidden, 0.5)},
                                 {numbers(outputs * hidden, 0.2), numbers(outputs, 0.2)}}};
    for (const std::size_t n : {1u, 16u, 37u}) {
        const std::vector<float> v = numbers(n * latents, 1);
        std::vector<GalaxyLight> lights(n);
        std::vector<Morphology> shapes(n);
        decoder.lights(v, lights);
        decoder.morphologies(v, shapes);
        for (std::size_t k = 0; k < n; ++k) {
            std::vector<float> alone{0.0f};
            const auto first = v.begin() + static_cast<std::ptrdiff_t>(k * latents);
            alone.insert(alone.end(), first, first + static_cast<std::ptrdiff_t>(latents));
            const GalaxyLight light = decoder.light(alone, 1);
            REQUIRE(lights[k].size() == gaussians);
            for (std::size_t j = 0; j < gaussians; ++j) {
                const auto numbers_of = [](const LightComponent& c) { return std::array{c.weight, c.x_px, c.y_px, c.xx, c.xy, c.yy}; };
                CHECK(numbers_of(lights[k][j]) == numbers_of(light[j]));
            }
            const Morphology expected = morphology_of(light);
            CHECK_THAT(shapes[k].half_light_radius_px, WithinRel(expected.half_light_radius_px, 1e-5));
            CHECK_THAT(shapes[k].e1, WithinAbs(expected.e1, 1e-5));
            CHECK_THAT(shapes[k].e2, WithinAbs(expected.e2, 1e-5));
        }
    }
}

TEST_CASE("layers that do not fit each other are refused") {
    const DenseLayer good{std::vector<float>(12, 0.0f), std::vector<float>(6, 0.0f)};
    const DenseLayer other{std::vector<float>(12, 0.0f), std::vector<float>(4, 0.0f)};
    CHECK_NOTHROW(GalaxyDecoder({}, {good}));
    CHECK_THROWS_AS(GalaxyDecoder({}, {}), DataError);
    CHECK_THROWS_AS(GalaxyDecoder({}, {other}), DataError);        // 4 numbers are no Gaussian
    CHECK_THROWS_AS(GalaxyDecoder({}, {good, good}), DataError);   // 6 numbers into 2 latents
    CHECK_THROWS_AS(GalaxyDecoder({{{1, 0, 1}, good, good}}, {good}), DataError);
}
