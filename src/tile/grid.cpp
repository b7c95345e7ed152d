#include "bliss/tile/grid.hpp"

#include <cmath>

namespace bliss::tile {

TileLocation to_tile(double x_px, double y_px, std::int64_t tile_px) {
    const double col = (x_px + 0.5) / static_cast<double>(tile_px);
    const double row = (y_px + 0.5) / static_cast<double>(tile_px);
    const double whole_col = std::floor(col);
    const double whole_row = std::floor(row);
    return {{static_cast<std::int32_t>(whole_row), static_cast<std::int32_t>(whole_col)}, col - whole_col, row - whole_row};
}

}  // namespace bliss::tile
