#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace bliss::encoder {

/// Tiles are drawn in four turns, by the colours of a 2 x 2 board: a tile's posterior is told what earlier turns drew around it, so
/// that tiles together say once what lies on their border.
inline constexpr std::int64_t k_colours = 4;

/// Turn 0 ... 3 of a tile; tiles of one turn do not touch. The second turn lies diagonal to the first.
[[nodiscard]] constexpr std::int64_t colour_of(std::int64_t row, std::int64_t col) {
    constexpr std::int64_t turn[2][2] = {{0, 2}, {3, 1}};
    return turn[row & 1][col & 1];
}

/// A source drawn in a tile, as the networks are told it.
struct DrawnSource {
    float u = 0;                    ///< in the tile, along columns, 0 ... 1
    float v = 0;                    ///< along rows
    float ln_flux_above_noise = 0;  ///< ln of flux against the noise of a pixel, electrons both
};

/// What is drawn in the tiles of one image.
class DrawnTiles {
public:
    DrawnTiles(std::int64_t rows, std::int64_t cols, std::int64_t max_sources)
        : rows_{rows}, cols_{cols}, max_sources_{max_sources}, count_(static_cast<std::size_t>(rows * cols)),
          sources_(static_cast<std::size_t>(rows * cols * max_sources)) {}

    [[nodiscard]] std::int64_t rows() const { return rows_; }
    [[nodiscard]] std::int64_t cols() const { return cols_; }
    [[nodiscard]] std::int64_t count(std::int64_t row, std::int64_t col) const { return count_[at(row, col)]; }
    [[nodiscard]] std::span<const DrawnSource> sources(std::int64_t row, std::int64_t col) const {
        return {sources_.data() + at(row, col) * static_cast<std::size_t>(max_sources_), count_[at(row, col)]};
    }

    /// Replaces what a tile holds. @param sources at most max_sources; they are told brightest first, in whatever order they come
    void set(std::int64_t row, std::int64_t col, std::span<const DrawnSource> sources);

private:
    [[nodiscard]] std::size_t at(std::int64_t row, std::int64_t col) const { return static_cast<std::size_t>(row * cols_ + col); }

    std::int64_t rows_, cols_, max_sources_;
    std::vector<std::uint8_t> count_;
    std::vector<DrawnSource> sources_;
};

/// Numbers that tell a tile of its neighbourhood: of each of the (2 reach + 1)^2 - 1 tiles around it whether it is of an earlier turn,
/// and for each of max_sources slots whether there is a source, where, and how bright.
[[nodiscard]] constexpr std::int64_t context_length(std::int64_t reach, std::int64_t max_sources) {
    return ((2 * reach + 1) * (2 * reach + 1) - 1) * (1 + 4 * max_sources);
}

/// Writes those numbers for one tile; all are 0 for tiles off the image and of the same or a later turn.
/// @param out (context_length)
void write_context(const DrawnTiles& drawn, std::int64_t row, std::int64_t col, std::int64_t reach, std::int64_t max_sources, float* out);

}  // namespace bliss::encoder
