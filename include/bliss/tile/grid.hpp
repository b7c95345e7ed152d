#pragma once

#include "bliss/core/ids.hpp"

#include <cstdint>

namespace bliss::tile {

/// Side of the paper's tile, pixels (section 3: 4 x 4-pixel tiles). It is the total stride of the detection encoder, whose answers may
/// be for tiles of half the side.
inline constexpr std::int64_t k_tile_px = 4;
/// Side of a padded tile, pixels (paper section 3.1). It is the receptive field of the detection encoder.
inline constexpr std::int64_t k_padded_tile_px = 52;
/// Pixels around a tile on each side that belong to its padded tile.
inline constexpr std::int64_t k_padding_px = (k_padded_tile_px - k_tile_px) / 2;

/// The tiles of an image, of `tile_px` pixels a side. Tile (row, col) holds pixel rows tile_px row to tile_px (row + 1) - 1: on the
/// plane, y from tile_px row - 0.5 to tile_px (row + 1) - 0.5. The last rows and columns of tiles may reach over the image's edge: the grid
/// always ends where one of whole 4 x 4-pixel tiles does.
class TileGrid {
public:
    TileGrid(std::int64_t height_px, std::int64_t width_px, std::int64_t tile_px = k_tile_px)
        : rows_{(height_px + k_tile_px - 1) / k_tile_px * (k_tile_px / tile_px)},
          cols_{(width_px + k_tile_px - 1) / k_tile_px * (k_tile_px / tile_px)} {}

    [[nodiscard]] std::int64_t rows() const { return rows_; }
    [[nodiscard]] std::int64_t cols() const { return cols_; }
    [[nodiscard]] std::int64_t size() const { return rows_ * cols_; }

private:
    std::int64_t rows_;
    std::int64_t cols_;
};

/// A tile and a location in it: u along columns, v along rows, both in [0, 1).
struct TileLocation {
    TileIndex tile;
    double u = 0;
    double v = 0;
};

[[nodiscard]] TileLocation to_tile(double x_px, double y_px, std::int64_t tile_px = k_tile_px);

/// Column and row of a location in a tile.
[[nodiscard]] inline double x_of(const TileLocation& at, std::int64_t tile_px = k_tile_px) {
    return static_cast<double>(tile_px) * (at.tile.col + at.u) - 0.5;
}
[[nodiscard]] inline double y_of(const TileLocation& at, std::int64_t tile_px = k_tile_px) {
    return static_cast<double>(tile_px) * (at.tile.row + at.v) - 0.5;
}

}  // namespace bliss::tile
