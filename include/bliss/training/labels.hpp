#pragma once

#include "bliss/encoder/neighbours.hpp"
#include "bliss/simulator/simulation.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace bliss::training {

/// One labelled source of a batch.
struct LabelledSource {
    std::int64_t image = 0;
    std::int64_t tile = 0;          ///< of all tiles of the batch, image by image and row by row
    std::int64_t slot = 0;          ///< 0 is the tile's brightest
    double x_px = 0, y_px = 0;      ///< on the padded image
    float u = 0, v = 0;             ///< in the tile
    float ln_flux_e = 0;
    bool is_star = false;
};

/// What the networks should say about a batch of B images of T x T labelled tiles.
struct Labels {
    at::Tensor count;                        ///< (B T T) int64, 0 ... M
    std::vector<LabelledSource> sources;     ///< the M brightest of each tile above the label limit
    at::Tensor shape_latents;                ///< (sources, D - 1), 0 for stars; undefined without learnt galaxies
    std::vector<encoder::DrawnTiles> drawn;  ///< the same sources as neighbouring tiles are told of them, one an image
};

/// Which tiles images have and what is said of them.
struct LabelSettings {
    double label_flux_min_e = 0;
    std::int64_t tiles_per_side = 0;   ///< T
    std::int64_t tile_px = 4;
    std::int64_t max_sources = 1;      ///< M
    std::int64_t latents = 0;          ///< D of learnt galaxies; 0: there are none
};

/// Labels of simulated images; their tiles start at the padding, pixel (24, 24).
[[nodiscard]] Labels make_labels(const std::vector<simulator::ImageTruth>& truths, const LabelSettings& settings);

/// What each tile is told of its neighbourhood. @return (B, T T, context_length)
[[nodiscard]] at::Tensor contexts(const Labels& labels, std::int64_t reach, std::int64_t max_sources);

}  // namespace bliss::training
