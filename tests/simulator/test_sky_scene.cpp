#include "bliss/simulator/sky_scene.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <map>

namespace {

using namespace bliss::simulator;

/// Places by number.
std::map<std::int64_t, std::pair<double, double>> places(const SkyScene::Contents& contents) {
    std::map<std::int64_t, std::pair<double, double>> out;
    for (std::size_t k = 0; k < contents.ids.size(); ++k) out[contents.ids[k]] = {contents.sources[k].x_px, contents.sources[k].y_px};
    return out;
}

}  // namespace

TEST_CASE("two rectangles that overlap see the same sources") {
    const PriorConfig prior;
    const SkyScene scene{prior, nullptr, 5, [](double, double) { return 0.05; }};
    const SkyScene::Contents left = scene.within({-100, 300, 1000, 500}), right = scene.within({600, 500, 900, 700});
    const auto in_left = places(left), in_right = places(right);
    REQUIRE(in_left.size() == left.ids.size());
    int shared = 0;
    for (const auto& [id, place] : in_left) {
        const auto found = in_right.find(id);
        const bool in_both = place.first >= 600 && place.first < 900 && place.second >= 500 && place.second < 800;
        if (in_both) REQUIRE(found != in_right.end());
        if (found == in_right.end()) continue;
        CHECK(found->second == place);
        ++shared;
    }
    CHECK(shared > 200);
}

TEST_CASE("the density follows the rate, and another seed is another sky") {
    const PriorConfig prior;
    const auto rate = [](double, double y_px) { return y_px < 1024 ? 0.02 : 0.2; };
    const SkyScene scene{prior, nullptr, 5, rate}, other{prior, nullptr, 6, rate};
    const Area area{0, 0, 2047, 2047};
    const auto contents = scene.within(area);
    const auto low = std::ranges::count_if(contents.sources, [](const Source& s) { return s.y_px < 1024; });
    const auto labelled = [&](double tiles, double of_tile) { return of_tile * tiles / labelled_share(prior); };
    const double tiles = 2048.0 * 1024 / 16;
    CHECK(std::abs(static_cast<double>(low) - labelled(tiles, 0.02)) < 5 * std::sqrt(labelled(tiles, 0.02)));
    CHECK(std::abs(static_cast<double>(std::ssize(contents.sources) - low) - labelled(tiles, 0.2)) < 5 * std::sqrt(labelled(tiles, 0.2)));
    CHECK(other.within(area).sources[0].flux_e != contents.sources[0].flux_e);
}
