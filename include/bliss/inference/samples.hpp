#pragma once

#include "bliss/core/random.hpp"
#include "bliss/inference/single_sources.hpp"
#include "bliss/inference/turns.hpp"

#include <cstdint>
#include <vector>

namespace bliss::inference {

/// One source of one joint draw of a frame's catalogue.
struct SampledSource {
    std::int32_t sample = 0;       ///< 0 ... K - 1
    TileIndex tile;
    std::uint32_t tile_number = 0; ///< row by row
    double x_px = 0, y_px = 0;
    double ln_flux_e = 0;
    bool is_star = false;
    std::vector<float> latents;    ///< v (D) of galaxies, where the model has their encoder
};

/// What makes the draws of a frame: they depend on nothing else, neither ranks nor threads nor other frames.
struct DrawKey {
    std::uint64_t seed = 0;
    std::uint32_t field = 0;       ///< number of the field
};

/// The random numbers of one source, or of one tile (slot 0), of a draw.
[[nodiscard]] RandomStream stream_of(const DrawKey& key, StreamPurpose purpose, std::int32_t sample, std::uint32_t tile,
                                     std::uint32_t slot);

/// Counts, places and fluxes of one joint draw, turn by turn: each tile's from its posterior given what earlier turns drew around it.
/// @return in the order of tile rows, columns, fluxes; types and shapes are not drawn yet
[[nodiscard]] std::vector<std::vector<SampledSource>> draw_sources(const TileChain& chain, const DrawKey& key, std::int64_t samples);

/// Draws the type of each source given its place and flux, then a galaxy's shape latents.
void draw_types_and_shapes(const SourceReader& reader, const DrawKey& key, std::vector<SampledSource>& sources);

}  // namespace bliss::inference
