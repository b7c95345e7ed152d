#include "bliss/catalog/matching.hpp"

#include "bliss/catalog/assignment.hpp"
#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

using namespace bliss;
using catalog::Edge;
using catalog::match_positions;
using Catch::Matchers::WithinAbs;
using survey::PixelPosition;

namespace {

/// Pairs and total cost; more pairs are better, then less cost.
struct Score {
    int pairs = 0;
    double cost = 0;
    [[nodiscard]] bool better_than(const Score& other) const { return pairs > other.pairs || (pairs == other.pairs && cost < other.cost); }
};

/// Tries every matching: left node by left node, each edge or none.
Score best_by_force(std::size_t left, std::size_t left_count, std::set<std::size_t>& used, std::span<const Edge> edges) {
    if (left == left_count) return {};
    Score best = best_by_force(left + 1, left_count, used, edges);
    for (const Edge& edge : edges) {
        if (edge.left != left || used.contains(edge.right)) continue;
        used.insert(edge.right);
        Score with = best_by_force(left + 1, left_count, used, edges);
        used.erase(edge.right);
        with.pairs += 1;
        with.cost += edge.cost;
        if (with.better_than(best)) best = with;
    }
    return best;
}

RandomStream random(std::uint32_t sample) { return {1, StreamPurpose::catalog, 0, sample}; }

}  // namespace

TEST_CASE("the assignment is the best of all matchings") {
    for (std::uint32_t sample = 0; sample < 300; ++sample) {
        auto stream = random(sample);
        const auto left_count = static_cast<std::size_t>(1 + 6 * stream.uniform());
        const auto right_count = static_cast<std::size_t>(1 + 6 * stream.uniform());
        const double density = stream.uniform();
        std::vector<Edge> edges;
        for (std::size_t left = 0; left < left_count; ++left)
            for (std::size_t right = 0; right < right_count; ++right)
                // A few equal costs: ties must not mislead it.
                if (stream.uniform() < density) edges.push_back({left, right, std::round(8 * stream.uniform()) / 8});
        std::set<std::size_t> lefts, rights, used;
        double cost = 0;
        const auto chosen = catalog::assign(left_count, right_count, edges);
        for (const std::size_t e : chosen) {
            lefts.insert(edges[e].left);
            rights.insert(edges[e].right);
            cost += edges[e].cost;
        }
        const Score best = best_by_force(0, left_count, used, edges);
        CHECK(lefts.size() == chosen.size());
        CHECK(rights.size() == chosen.size());
        CHECK(std::ssize(chosen) == best.pairs);
        CHECK_THAT(cost, WithinAbs(best.cost, 1e-9));
    }
}

TEST_CASE("matching whole lists equals the brute force over all pairs within the limit") {
    for (std::uint32_t sample = 0; sample < 100; ++sample) {
        auto stream = random(1000 + sample);
        std::vector<PixelPosition> first(7), second(7);
        for (auto* list : {&first, &second})
            for (PixelPosition& position : *list) position = {stream.uniform(0, 4), stream.uniform(0, 4)};
        std::vector<Edge> edges;
        for (std::size_t i = 0; i < 7; ++i)
            for (std::size_t j = 0; j < 7; ++j) {
                const double dx = first[i].x_px - second[j].x_px;
                const double dy = first[i].y_px - second[j].y_px;
                if (std::abs(dx) < 1 && std::abs(dy) < 1) edges.push_back({i, j, std::sqrt(dx * dx + dy * dy)});
            }
        std::set<std::size_t> used;
        const Score best = best_by_force(0, 7, used, edges);
        const auto pairs = match_positions(first, second);
        double cost = 0;
        for (const auto& pair : pairs) {
            cost += pair.distance_px;
            CHECK(std::abs(first[pair.first].x_px - second[pair.second].x_px) < 1);
            CHECK(std::abs(first[pair.first].y_px - second[pair.second].y_px) < 1);
        }
        CHECK(std::ssize(pairs) == best.pairs);
        CHECK_THAT(cost, WithinAbs(best.cost, 1e-8));
        CHECK(std::ranges::is_sorted(pairs, {}, &catalog::MatchedPair::first));
    }
}

TEST_CASE("more pairs come before less distance") {
    // b is nearest to A, but then a would have none: a-A, b-B is chosen.
    const PixelPosition first[] = {{0, 0}, {0.9, 0}};
    const PixelPosition second[] = {{0.8, 0}, {1.8, 0}};
    const auto pairs = match_positions(first, second);
    REQUIRE(pairs.size() == 2);
    CHECK(pairs[0].second == 0);
    CHECK(pairs[1].second == 1);
}

TEST_CASE("the limit is in x and y, and exclusive; positions that are not finite match nothing") {
    const double nan = std::nan("");
    const PixelPosition origin[] = {{0, 0}};
    const auto matches = [&](double x, double y) {
        const PixelPosition other[] = {{x, y}};
        return match_positions(origin, other).size();
    };
    CHECK(matches(0.99, 0.99) == 1);  // 1.4 px away, but within the square
    CHECK(matches(1.0, 0) == 0);
    CHECK(matches(0, -1.001) == 0);
    CHECK(matches(nan, 0) == 0);
    CHECK(match_positions({}, origin).empty());
    CHECK(match_positions(origin, {}).empty());
}

TEST_CASE("a long chain and a large field are matched in full") {
    // Each left node lies between two right nodes; only a chain of re-pairings gives every one a partner.
    std::vector<PixelPosition> first, second;
    for (int i = 0; i < 200; ++i) {
        first.push_back({i * 1.0, 0});
        second.push_back({i * 1.0 + 0.6, 0});
    }
    second.back() = {-0.3, 0};
    CHECK(match_positions(first, second).size() == 200);

    auto stream = random(9999);
    std::vector<PixelPosition> field;
    for (int i = 0; i < 20000; ++i) field.push_back({stream.uniform(0, 2048), stream.uniform(0, 1489)});
    const auto pairs = match_positions(field, field);
    CHECK(pairs.size() == field.size());
    for (const auto& pair : pairs) CHECK(pair.distance_px == 0);
}

TEST_CASE("a pair that may not match leaves both to others") {
    const PixelPosition first[] = {{10, 10}}, second[] = {{10.1, 10}, {10.5, 10}};
    REQUIRE(match_positions(first, second)[0].second == 0);
    const auto pairs = match_positions(first, second, 1, [](std::size_t, std::size_t j) { return j != 0; });
    REQUIRE(pairs.size() == 1);
    CHECK(pairs[0].second == 1);
    CHECK(match_positions(first, second, 1, [](std::size_t, std::size_t) { return false; }).empty());
}
