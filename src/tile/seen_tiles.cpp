#include "bliss/tile/seen_tiles.hpp"

#include "bliss/tile/grid.hpp"

#include <algorithm>

namespace bliss::tile {

std::vector<char> seen_tiles(const Image<std::uint8_t>& valid, std::int64_t tile_px) {
    const std::int64_t height = valid.height(), width = valid.width();
    // Valid pixels above and left of each pixel; modulo 2^32, which differences of counts on an image of any size survive.
    Image<std::uint32_t> sums{height + 1, width + 1};
    for (std::int64_t row = 0; row < height; ++row) {
        const std::uint8_t* const of_row = valid.data() + row * width;
        const std::uint32_t* const above = sums.data() + row * (width + 1) + 1;
        std::uint32_t* const here = sums.data() + (row + 1) * (width + 1) + 1;
        std::uint32_t in_row = 0;
        for (std::int64_t col = 0; col < width; ++col) {
            in_row += of_row[col] != 0 ? 1 : 0;
            here[col] = above[col] + in_row;
        }
    }
    /// Pixels of a tile with so many around it that are on the image, and how many of them are valid.
    struct Pixels {
        std::int64_t all, valid;
    };
    const auto count = [&](std::int64_t row, std::int64_t col, std::int64_t around) {
        const std::int64_t top = std::clamp<std::int64_t>(row * tile_px - around, 0, height);
        const std::int64_t bottom = std::clamp<std::int64_t>((row + 1) * tile_px + around, 0, height);
        const std::int64_t left = std::clamp<std::int64_t>(col * tile_px - around, 0, width);
        const std::int64_t right = std::clamp<std::int64_t>((col + 1) * tile_px + around, 0, width);
        const std::uint32_t inside = sums(bottom, right) - sums(top, right) - sums(bottom, left) + sums(top, left);
        return Pixels{(bottom - top) * (right - left), inside};
    };
    const TileGrid grid{height, width, tile_px};
    std::vector<char> seen(static_cast<std::size_t>(grid.size()));
    for (std::int64_t row = 0; row < grid.rows(); ++row) {
        for (std::int64_t col = 0; col < grid.cols(); ++col) {
            const Pixels padded = count(row, col, k_padding_px);
            const bool sees = count(row, col, 0).valid > 0 || 2 * padded.valid >= padded.all;
            seen[static_cast<std::size_t>(row * grid.cols() + col)] = sees ? 1 : 0;
        }
    }
    return seen;
}

}  // namespace bliss::tile
