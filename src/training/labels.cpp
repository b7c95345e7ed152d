#include "bliss/training/labels.hpp"

#include "bliss/tile/grid.hpp"

#include <torch/torch.h>

#include <cmath>

namespace bliss::training {

Labels make_labels(const std::vector<simulator::ImageTruth>& truths, double label_flux_min_e, std::int64_t tiles_per_side,
                   std::int64_t max_sources) {
    const auto images = static_cast<std::int64_t>(truths.size());
    Labels labels{torch::zeros({images, tiles_per_side, tiles_per_side}, torch::kLong), {}};
    auto count = labels.count.accessor<std::int64_t, 3>();
    for (std::int64_t image = 0; image < images; ++image) {
        for (const simulator::Source& source : truths[static_cast<std::size_t>(image)].sources) {
            if (source.flux_e < label_flux_min_e) break;  // brightest first
            const tile::TileLocation at = tile::to_tile(source.x_px - tile::k_padding_px, source.y_px - tile::k_padding_px);
            if (at.tile.row < 0 || at.tile.col < 0 || at.tile.row >= tiles_per_side || at.tile.col >= tiles_per_side) continue;
            std::int64_t& in_tile = count[image][at.tile.row][at.tile.col];
            if (in_tile == max_sources) continue;
            labels.sources.push_back({image, at.tile.row, at.tile.col, in_tile, source.x_px, source.y_px,
                                      static_cast<float>(at.u), static_cast<float>(at.v),
                                      static_cast<float>(std::log(source.flux_e)), source.is_star});
            ++in_tile;
        }
    }
    return labels;
}

}  // namespace bliss::training
