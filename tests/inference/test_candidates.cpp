#include "bliss/inference/candidates.hpp"

#include "bliss/inference/posterior.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

Candidate candidate(std::int32_t row, std::int32_t col, double p, double x, double y, double sd) {
    Candidate c;
    c.tile = {row, col};
    c.p_source = p;
    c.x_px = x;
    c.y_px = y;
    c.x_variance = c.y_variance = sd * sd;
    c.ln_flux_mean = 7;
    c.ln_flux_variance = 0.04;
    return c;
}

}  // namespace

TEST_CASE("candidates carry the tile posterior's moments in pixels") {
    encoder::TilePosterior q;
    q.count_logits = torch::tensor({-9.0f, -9.0f}).view({1, 2, 1, 1}).repeat({1, 1, 2, 3});
    q.count_logits[0][0].fill_(4.0f);
    q.count_logits[0][1].fill_(0.0f);
    q.count_logits[0][1][1][2] = 6.0f;
    const auto map = [](float value) { return torch::full({1, 1, 2, 3}, value); };
    q.u_mean = map(0.5f);
    q.v_mean = map(0.25f);
    q.u_sd = q.v_sd = map(0.02f);
    q.ln_flux_mean = map(7.2f);
    q.ln_flux_sd = map(0.3f);
    const Detections all = list_candidates(q, 1, 0.5);
    REQUIRE(all.candidates.size() == 1);
    const Candidate& c = all.candidates[0];
    CHECK(c.tile == TileIndex{1, 2});
    CHECK_THAT(c.p_source, WithinAbs(1 / (1 + std::exp(-2.0)), 1e-5));
    CHECK_THAT(c.x_px, WithinAbs(4 * 2.5 - 0.5, 1e-3));
    CHECK_THAT(c.y_px, WithinAbs(4 * 1.25 - 0.5, 1e-3));
    CHECK_THAT(std::sqrt(c.x_variance), WithinRel(0.08, 1e-3));
    CHECK_THAT(all.expected_sources, WithinRel(1 / (1 + std::exp(-2.0)) + 5 / (1 + std::exp(4.0)), 1e-4));
    CHECK(list_candidates(q, 1, 0.01).candidates.size() == 6);
}

TEST_CASE("a source on a border is reported once, with the sum of its probabilities") {
    const auto joined = join_across_borders({candidate(3, 4, 0.55, 15.3, 14, 0.15), candidate(3, 5, 0.43, 15.65, 14.1, 0.15)}, 0.05);
    REQUIRE(joined.size() == 1);
    CHECK_THAT(joined[0].p_source, WithinRel(0.98, 1e-9));
    CHECK(joined[0].merged);
    const double w = 0.43 / 0.98;
    CHECK_THAT(joined[0].x_px, WithinAbs(15.3 + w * 0.35, 1e-9));
    CHECK_THAT(joined[0].x_variance, WithinRel(0.15 * 0.15 + w * (1 - w) * 0.35 * 0.35, 1e-9));
}

TEST_CASE("a source on a corner is joined from four tiles") {
    const auto joined = join_across_borders({candidate(3, 4, 0.3, 15.3, 15.3, 0.2), candidate(3, 5, 0.28, 15.7, 15.3, 0.2),
                                             candidate(4, 4, 0.22, 15.3, 15.7, 0.2), candidate(4, 5, 0.18, 15.7, 15.7, 0.2)}, 0.05);
    REQUIRE(joined.size() == 1);
    CHECK_THAT(joined[0].p_source, WithinRel(0.98, 1e-9));
}

TEST_CASE("two certain sources stay two, however close; far ones too") {
    CHECK(join_across_borders({candidate(3, 4, 0.97, 15.0, 14, 0.1), candidate(3, 5, 0.96, 16.0, 14, 0.1)}, 0.05).size() == 2);
    CHECK(join_across_borders({candidate(3, 4, 0.5, 12.5, 14, 0.1), candidate(3, 5, 0.5, 18.5, 14, 0.1)}, 0.05).size() == 2);
    CHECK(join_across_borders({candidate(3, 4, 0.5, 15.3, 14, 0.1), candidate(3, 6, 0.5, 15.6, 14, 0.1)}, 0.05).size() == 2);
}

TEST_CASE("the floor is judged after joining, and the result is in tile order") {
    const auto joined = join_across_borders({candidate(2, 9, 0.9, 37, 9, 0.1), candidate(3, 4, 0.03, 15.3, 14, 0.3),
                                             candidate(3, 5, 0.04, 15.6, 14, 0.3), candidate(7, 0, 0.03, 1, 30, 0.3)}, 0.05);
    REQUIRE(joined.size() == 2);
    CHECK(joined[0].tile == TileIndex{2, 9});
    CHECK(joined[1].tile == TileIndex{3, 5});
}

TEST_CASE("a certain source on a border stays certain at another rate") {
    // Two tiles with odds one each: by itself each would fall to 1/5 at a quarter of the rate; together they are one source.
    encoder::TilePosterior q;
    q.count_logits = torch::zeros({1, 2, 1, 2});
    const auto map = [](float left, float right) { return torch::tensor({left, right}).view({1, 1, 1, 2}); };
    q.u_mean = map(1.0f, 0.0f);
    q.v_mean = map(0.5f, 0.5f);
    q.u_sd = q.v_sd = map(0.05f, 0.05f);
    q.ln_flux_mean = map(9, 9);
    q.ln_flux_sd = map(0.1f, 0.1f);
    const Detections found = find_sources(q, 0.25, 0.05);
    REQUIRE(found.candidates.size() == 1);
    CHECK(found.candidates[0].p_source > 0.99);
    CHECK_THAT(found.candidates[0].x_px, WithinAbs(3.5, 1e-3));
    CHECK_THAT(found.expected_sources, WithinAbs(1, 0.01));
}

TEST_CASE("a lone candidate's odds follow the rate, and the floor is the survey's") {
    CHECK_THAT(retarget(0.5, 0.25), WithinRel(0.2, 1e-12));
    CHECK_THAT(retarget(retarget(0.37, 0.3), 1 / 0.3), WithinRel(0.37, 1e-12));
    CHECK(retarget(1, 0.3) == 1);
}

TEST_CASE("another source rate moves the odds of n sources by the ratio to the power n") {
    const at::Tensor logits = torch::tensor({0.2f, -1.0f, -3.0f}).view({1, 3, 1, 1});
    const at::Tensor p = torch::softmax(logits, 1).flatten(), moved = torch::softmax(retarget_rate(logits, 0.25), 1).flatten();
    const auto odds = [](const at::Tensor& t, int n) { return (t[n] / t[0]).item<double>(); };
    CHECK_THAT(odds(moved, 1), WithinRel(0.25 * odds(p, 1), 1e-5));
    CHECK_THAT(odds(moved, 2), WithinRel(0.0625 * odds(p, 2), 1e-5));
}
