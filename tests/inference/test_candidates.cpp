#include "bliss/inference/candidates.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

/// What one tile says: a Normal of the width given about a place in it.
Candidate candidate(std::int32_t row, std::int32_t col, double p, double x, double y, double sd) {
    Candidate c;
    c.tile = {row, col};
    c.p_source = p;
    c.x_px = {x, sd};
    c.y_px = {y, sd};
    c.ln_flux_e = {7, 0.2};
    c.parts = {{c.tile, p, (x + 0.5) / 4 - col, sd / 4, (y + 0.5) / 4 - row, sd / 4, 7, 0.2}};
    return c;
}

/// Posteriors of tiles with the same widths everywhere, one part a slot.
encoder::TilePosterior posterior(const at::Tensor& counts, double u, double v, double sd, double ln_flux) {
    const std::int64_t n = counts.size(0), slots = encoder::slot_count(counts.size(1) - 1);
    const auto map = [&](double value) { return torch::full({n, slots, 1}, value); };
    encoder::TilePosterior q{torch::log(counts), map(0), map(u), map(sd), map(v), map(sd), map(ln_flux), map(0.3)};
    return q;
}

}  // namespace

TEST_CASE("claims carry the tile posterior's moments in pixels") {
    const TileReader reader{posterior(torch::tensor({{0.98f, 0.02f}, {0.1f, 0.9f}}), 0.5, 0.25, 0.02, 7.2), 4};
    CHECK_THAT(reader.count(0).any, WithinAbs(0.02, 1e-6));
    const std::vector<Candidate> claims = reader.claims(1, {1, 2});
    REQUIRE(claims.size() == 1);
    CHECK(claims[0].tile == TileIndex{1, 2});
    CHECK_THAT(claims[0].p_source, WithinAbs(0.9, 1e-6));
    CHECK_THAT(claims[0].x_px.mean, WithinAbs(4 * 2.5 - 0.5, 1e-3));
    CHECK_THAT(claims[0].y_px.mean, WithinAbs(4 * 1.25 - 0.5, 1e-3));
    CHECK_THAT(claims[0].x_px.sd, WithinRel(0.08, 1e-3));
    CHECK_THAT(claims[0].ln_flux_e.mean, WithinAbs(7.2, 1e-5));
    CHECK_THAT(claims[0].ln_flux_e.sd, WithinRel(0.3, 1e-5));
    // Of tiles half the side, half as many pixels.
    const TileReader small{posterior(torch::tensor({{0.1f, 0.9f}}), 0.5, 0.25, 0.02, 7.2), 2};
    CHECK_THAT(small.claims(0, {1, 2})[0].x_px.mean, WithinAbs(2 * 2.5 - 0.5, 1e-3));
}

TEST_CASE("the parts of one tile are one claim, with the moments of their mixture") {
    encoder::TilePosterior q = posterior(torch::tensor({{0.1f, 0.9f}}), 0, 0, 0, 0);
    const auto two = [](float first, float second) { return torch::tensor({first, second}).view({1, 1, 2}); };
    q.log_weight = torch::log(two(0.75f, 0.25f));
    q.u_mean = two(0.4f, 0.6f);
    q.v_mean = two(0.5f, 0.5f);
    q.u_sd = q.v_sd = two(0.02f, 0.05f);
    q.ln_flux_mean = two(7, 8);
    q.ln_flux_sd = two(0.1f, 0.4f);
    const Candidate c = TileReader{q, 4}.claims(0, {0, 0}).front();
    REQUIRE(c.parts.size() == 2);
    CHECK_THAT(c.parts[0].weight, WithinRel(0.75 * c.p_source, 1e-5));
    CHECK_THAT(c.x_px.mean, WithinAbs(4 * 0.45 - 0.5, 1e-4));
    CHECK_THAT(c.x_px.sd, WithinRel(4 * std::sqrt(0.75 * 0.0004 + 0.25 * 0.0025 + 0.75 * 0.25 * 0.04), 1e-3));
    CHECK_THAT(c.ln_flux_e.mean, WithinAbs(7.25, 1e-5));
    CHECK_THAT(c.ln_flux_e.sd, WithinRel(std::sqrt(0.75 * 0.01 + 0.25 * 0.16 + 0.75 * 0.25), 1e-4));
    const Source source = summarize(c, 4);
    CHECK_FALSE(source.merged);
    CHECK(source.ln_flux_e.median > 7);
    CHECK(source.ln_flux_e.high > 8);
}

TEST_CASE("each count has its own slots, and each slot the probability that the count exceeds it") {
    encoder::TilePosterior q = posterior(torch::tensor({{0.1f, 0.3f, 0.6f}}), 0.5, 0.5, 0.02, 7);
    for (std::int64_t slot = 0; slot < 3; ++slot) q.u_mean[0][slot].fill_(0.2 + 0.3 * static_cast<double>(slot));
    const TileReader reader{q, 4};
    CHECK_THAT(reader.count(0).expected, WithinRel(0.3 + 2 * 0.6, 1e-5));
    CHECK(reader.count(0).likely == 2);
    const auto claims = reader.claims(0, {0, 0});
    REQUIRE(claims.size() == 2);
    CHECK_THAT(claims[0].p_source, WithinRel(0.9, 1e-5));
    CHECK_THAT(claims[1].p_source, WithinRel(0.6, 1e-5));
    CHECK_THAT(claims[0].x_px.mean, WithinAbs(4 * 0.5 - 0.5, 1e-3));
    CHECK_THAT(claims[1].x_px.mean, WithinAbs(4 * 0.8 - 0.5, 1e-3));
    CHECK(claims[0].multiple);
    // Two are the most probable count, yet one or none is more probable than two.
    const TileReader unsure{posterior(torch::tensor({{0.35f, 0.25f, 0.4f}}), 0.5, 0.5, 0.02, 7), 4};
    CHECK(unsure.count(0).likely == 1);
    CHECK(unsure.claims(0, {0, 0}).size() == 1);
}

TEST_CASE("what another tile says is added with the probability that the tiles before it are empty") {
    Candidate one = candidate(3, 3, 0.55, 15.3, 14, 0.15);
    absorb(one, candidate(3, 4, 0.9, 15.65, 14.1, 0.15), 0.45);
    CHECK_THAT(one.p_source, WithinRel(0.55 + 0.45 * 0.9, 1e-12));
    REQUIRE(one.parts.size() == 2);
    CHECK_THAT(one.parts[1].weight, WithinRel(0.45 * 0.9, 1e-12));
    CHECK(one.parts[1].tile == TileIndex{3, 4});
    CHECK(one.tiles == 2);
}

TEST_CASE("claims are on one source where their places agree within their errors") {
    const auto same = [](const Candidate& a, const Candidate& b) { return same_source(a, b, 4); };
    CHECK(same(candidate(3, 3, 0.5, 15.3, 14, 0.1), candidate(3, 4, 0.5, 15.7, 14, 0.1)));
    CHECK_FALSE(same(candidate(3, 3, 0.5, 14.5, 14, 0.1), candidate(3, 4, 0.5, 15.7, 14, 0.1)));
    CHECK(same(candidate(3, 3, 0.5, 14.5, 14, 0.3), candidate(3, 4, 0.5, 15.7, 14, 0.3)));
    CHECK_FALSE(same(candidate(3, 3, 0.5, 12.0, 14, 2), candidate(3, 4, 0.5, 17.0, 14, 2)));  // never more than a tile apart
}

TEST_CASE("a source's estimates are median and central interval of the mixture of its tiles") {
    Candidate claims = candidate(3, 3, 0.55, 15.3, 14, 0.15);
    claims.parts.push_back({{3, 4}, 0.43, 0.02, 0.06, 0.4, 0.2, 7.3, 0.5});
    claims.tiles = 2;
    const Source source = summarize(claims, 4);
    CHECK(source.merged);
    // The mixture's distribution function on a fine grid, from the textbook form of each part.
    const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
    const auto part_below = [&](const TilePart& part, double x) {
        const double t = std::clamp((x + 0.5) / 4 - part.tile.col, 0.0, 1.0), low = phi(-part.u_mean / part.u_sd);
        return part.weight * (phi((t - part.u_mean) / part.u_sd) - low) / (phi((1 - part.u_mean) / part.u_sd) - low);
    };
    const auto quantile = [&](double p) {
        double x = 14;
        while ((part_below(claims.parts[0], x) + part_below(claims.parts[1], x)) / 0.98 < p) x += 1e-4;
        return x;
    };
    CHECK_THAT(source.x_px.median, WithinAbs(quantile(0.5), 3e-4));
    CHECK_THAT(source.x_px.error, WithinAbs(0.5 * (quantile(0.841345) - quantile(0.158655)), 3e-4));
    CHECK_THAT(source.x_px.low, WithinAbs(quantile(0.05), 3e-4));
    CHECK_THAT(source.x_px.high, WithinAbs(quantile(0.95), 3e-4));
    const auto flux_below = [&](double f) { return (0.55 * phi((f - 7) / 0.2) + 0.43 * phi((f - 7.3) / 0.5)) / 0.98; };
    CHECK_THAT(flux_below(source.ln_flux_e.median), WithinAbs(0.5, 1e-3));
    CHECK_THAT(flux_below(source.ln_flux_e.low), WithinAbs(0.05, 1e-3));
    CHECK_THAT(flux_below(source.ln_flux_e.high), WithinAbs(0.95, 1e-3));
    CHECK(source.ln_flux_e.error > 0.2);
    CHECK(source.ln_flux_e.error < 0.5);
}

TEST_CASE("a neighbour's faint claim leaves a certain source's estimates as they are") {
    const Candidate one = candidate(3, 3, 0.97, 14.0, 14, 0.05);
    Candidate two = one;
    two.parts.push_back({{3, 4}, 0.02, 0.5, 0.3, 0.4, 0.2, 5.5, 0.5});
    const Source alone = summarize(one, 4), joined = summarize(two, 4);
    CHECK_THAT(joined.x_px.median, WithinAbs(alone.x_px.median, 0.1 * 0.05));
    CHECK_THAT(joined.x_px.error, WithinRel(alone.x_px.error, 0.1));
    CHECK_THAT(joined.ln_flux_e.median, WithinAbs(alone.ln_flux_e.median, 0.1 * 0.2));
    CHECK_THAT(joined.ln_flux_e.error, WithinRel(alone.ln_flux_e.error, 0.1));
}
