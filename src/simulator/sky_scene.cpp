#include "bliss/simulator/sky_scene.hpp"

#include "bliss/core/check.hpp"
#include "bliss/simulator/reserved_steps.hpp"

#include <cmath>

namespace bliss::simulator {
namespace {

// A source's number: row and column of its cell, one off so that the cells about the origin count, and its place in the cell.
constexpr int k_row_shift = 36, k_col_shift = 16;

}  // namespace

SkyScene::SkyScene(const PriorConfig& prior, const GalaxyDecoder* decoder, std::uint64_t seed, std::function<double(double, double)> rate)
    : prior_{prior}, decoder_{decoder}, seed_{seed}, rate_{std::move(rate)} {}

SkyScene::Contents SkyScene::within(const Area& area) const {
    constexpr double k_side = k_cell_px;
    const auto cell = [](double at) { return static_cast<std::int64_t>(std::floor(at / k_side)); };
    Contents out;
    for (std::int64_t row = cell(area.y_low); row <= cell(area.y_low + area.height); ++row) {
        for (std::int64_t col = cell(area.x_low); col <= cell(area.x_low + area.width); ++col) {
            BLISS_EXPECT(row >= -1 && col >= -1, "the plane begins one cell before its origin");
            const double x_low = static_cast<double>(col) * k_side, y_low = static_cast<double>(row) * k_side;
            RandomStream random{seed_, StreamPurpose::catalog, k_stripe_sky_step, static_cast<std::uint32_t>(row + 1),
                                static_cast<std::uint32_t>(col + 1)};
            const double rate_per_px = rate_(x_low + k_side / 2, y_low + k_side / 2) / (k_rate_tile_px * k_rate_tile_px);
            std::vector<Source> sources = draw_catalog(prior_, decoder_, rate_per_px, {x_low, y_low, k_side, k_side}, random);
            for (std::size_t k = 0; k < sources.size(); ++k) {
                out.ids.push_back((row + 1) << k_row_shift | (col + 1) << k_col_shift | static_cast<std::int64_t>(k));
                out.sources.push_back(std::move(sources[k]));
            }
        }
    }
    return out;
}

}  // namespace bliss::simulator
