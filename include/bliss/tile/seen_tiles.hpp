#pragma once

#include "bliss/core/image.hpp"

#include <cstdint>
#include <vector>

namespace bliss::tile {

/// Which tiles of an image see enough of it: those that hold a valid pixel, and those where at least half is valid of what the detection
/// encoder reads of them on the image, k_padding_px around, as about the core of a saturated star. Of the others nothing is known but the
/// prior; the networks, which have not seen large masks, would take their edges for stars.
/// @param valid (H, W) @param tile_px side of the tiles @return of each tile of the grid, row by row: 1 or 0
[[nodiscard]] std::vector<char> seen_tiles(const Image<std::uint8_t>& valid, std::int64_t tile_px);

}  // namespace bliss::tile
