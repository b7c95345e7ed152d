#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/encoder/neighbours.hpp"
#include "bliss/inference/candidates.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/inference/prior_shift.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace bliss::inference {

/// The tiles of one frame, asked turn by turn (encoder/neighbours.hpp): the posterior of a tile given what earlier turns hold.
class TileChain {
public:
    struct Shape {
        std::int64_t rows = 0, cols = 0;      ///< of tiles
        std::int64_t tile_px = 4;
        std::int64_t max_sources = 1;
        std::int64_t reach = 1;               ///< tiles on each side that one is told of
        double ln_noise = 0;                  ///< ln of a pixel's noise, electrons
    };

    /// @param seen of each tile, row by row, whether it sees anything of the image (tile::seen_tiles); empty: all do
    explicit TileChain(const Shape& shape, std::vector<char> seen = {}) : shape_{shape}, seen_{std::move(seen)} {}
    virtual ~TileChain() = default;

    [[nodiscard]] const Shape& shape() const { return shape_; }

    /// Tiles that see anything of the image: the others are not asked, and hold nothing.
    [[nodiscard]] std::int64_t seen_tiles() const { return seen_.empty() ? shape_.rows * shape_.cols : std::ranges::count(seen_, 1); }

    [[nodiscard]] bool sees(const TileIndex& tile) const {
        return seen_.empty() || seen_[static_cast<std::size_t>(tile.row * shape_.cols + tile.col)] != 0;
    }

    /// Those of a turn, row by row.
    [[nodiscard]] std::vector<TileIndex> tiles_of_turn(std::int64_t turn) const;

    /// Contexts of tiles, to be asked with. @param out (tiles, context_length), appended
    void append_contexts(const std::vector<TileIndex>& tiles, const encoder::DrawnTiles& drawn, std::vector<float>& out) const;

    /// What tiles say when they are told these contexts.
    [[nodiscard]] virtual TileReader ask(const std::vector<TileIndex>& tiles, const std::vector<float>& contexts) const = 0;

    /// What tiles say when they are told what is drawn around them.
    [[nodiscard]] TileReader ask(const std::vector<TileIndex>& tiles, const encoder::DrawnTiles& drawn) const;

    /// A board without sources.
    [[nodiscard]] encoder::DrawnTiles nothing_drawn() const { return {shape_.rows, shape_.cols, shape_.max_sources}; }

private:
    Shape shape_;
    std::vector<char> seen_;
};

/// The chain of a detection encoder on a frame.
class NetworkChain : public TileChain {
public:
    /// @param trunk (rows, cols, hidden + A) see trunk_dense @param shift moves what the network says to the field's prior
    /// @param seen see TileChain
    NetworkChain(encoder::DetectionEncoder network, const encoder::EncoderConfig& config, const encoder::ImageConditions& conditions,
                 at::Tensor trunk, const PriorShift& shift, std::vector<char> seen = {});

    using TileChain::ask;
    [[nodiscard]] TileReader ask(const std::vector<TileIndex>& tiles, const std::vector<float>& contexts) const override;

private:
    encoder::DetectionEncoder network_;
    encoder::ImageConditions conditions_;
    at::Tensor trunk_;
    PriorShift shift_;
};

struct FieldSources {
    std::vector<Source> sources;         ///< in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< posterior mean count of the tiles that see anything
    std::vector<catalog::TileRow> tiles; ///< where asked for: the tiles that see anything, row by row
};

/// The frame's most probable catalogue, with what is uncertain about it.
///
/// Turn by turn, a tile that more probably than not holds a source, given what earlier turns hold, is taken to hold its most probable
/// ones. What tiles say of one source is then joined: "in tile a" or, a being empty, "in tile b" exclude one another, so the
/// probability that one of them holds it is 1 - (1 - p_a)(1 - p_b | a empty) ..., each factor asked of the network, and the source's
/// posterior is the mixture. @param floor least p_source of what is returned @param with_tiles also each tile's count
[[nodiscard]] FieldSources find_sources(const TileChain& chain, double floor, bool with_tiles = false);

}  // namespace bliss::inference
