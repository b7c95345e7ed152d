#pragma once

#include "bliss/simulator/simulation.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace bliss::training {

/// One labelled source of a batch.
struct LabelledSource {
    std::int64_t image = 0;
    std::int64_t tile_row = 0, tile_col = 0;
    std::int64_t slot = 0;          ///< 0 is the tile's brightest
    double x_px = 0, y_px = 0;      ///< on the padded image
    float u = 0, v = 0;             ///< in the tile
    float ln_flux_e = 0;
    bool is_star = false;
};

/// What the networks should say about a batch of B images of T x T labelled tiles.
struct Labels {
    at::Tensor count;                     ///< (B, T, T) int64, 0 ... M
    std::vector<LabelledSource> sources;  ///< the M brightest of each tile above the label limit
};

/// Labels of simulated images; their tiles start at the padding, pixel (24, 24).
[[nodiscard]] Labels make_labels(const std::vector<simulator::ImageTruth>& truths, double label_flux_min_e,
                                 std::int64_t tiles_per_side, std::int64_t max_sources);

}  // namespace bliss::training
