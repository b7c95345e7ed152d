#pragma once

#include "bliss/core/ids.hpp"
#include "bliss/encoder/detection.hpp"

#include <cstdint>
#include <limits>
#include <vector>

namespace bliss::inference {

/// One part of what a tile says of a source, and so of the source's posterior. Locations in tiles, the flux as ln(flux / electron).
struct TilePart {
    TileIndex tile;
    double weight = 0;                   ///< the tile's probability times the part's share
    double u_mean = 0, u_sd = 1;         ///< Normals truncated to the tile, in tiles
    double v_mean = 0, v_sd = 1;
    double ln_flux_mean = 0, ln_flux_sd = 1;                                ///< Normal without what lies below
    double ln_flux_low = -std::numeric_limits<double>::infinity();
};

/// Mean and standard deviation.
struct Moments {
    double mean = 0;
    double sd = 1;
};

/// What tiles say may be one source: a single tile's claim, or several joined.
struct Candidate {
    TileIndex tile;                      ///< the most probable one
    std::int32_t slot = 0;               ///< of the tile's sources, given its likely count
    double p_source = 0;
    Moments x_px, y_px, ln_flux_e;       ///< of the leading claim, which joining compares
    std::vector<TilePart> parts;         ///< of all its tiles; the weights sum to p_source
    std::int32_t tiles = 1;
    bool multiple = false;               ///< a tile's likely count is above 1
};

/// A marginal posterior in short. For a Normal, `error` is its standard deviation; unlike moments these numbers are not thrown
/// off by a neighbouring tile's faint claim on a source that is all but certainly elsewhere.
struct Marginal {
    double median = 0;
    double error = 0;   ///< half the central 68.3 % interval
    double low = 0;     ///< 5 % quantile
    double high = 0;    ///< 95 % quantile
};

/// The marginal of drawn values, at least one.
[[nodiscard]] Marginal marginal_of(std::vector<double> values);

/// One possible source of a frame with its marginal posterior, the mixture of its tiles' parts.
struct Source {
    TileIndex tile;                      ///< the most probable one
    std::int32_t slot = 0;
    double p_source = 0;
    Marginal x_px, y_px;
    Marginal ln_flux_e;                  ///< ln(flux / electron)
    Moments tile_x_px, tile_y_px, tile_ln_flux_e;   ///< of the leading tile's claim by itself
    bool merged = false;                 ///< joined from several tiles
    bool multiple = false;               ///< a tile's likely count is above 1
};

/// The count of a tile, from its probabilities.
struct TileCount {
    double expected = 0;
    double any = 0;          ///< P(n >= 1)
    std::int64_t likely = 1; ///< largest n with P(count >= n) of at least one half, at least 1
};

/// Posteriors of a list of tiles, in memory that is quick to read one by one.
class TileReader {
public:
    /// @param tile_px side of a tile
    TileReader(const encoder::TilePosterior& posterior, std::int64_t tile_px);

    /// @param k place in the list
    [[nodiscard]] TileCount count(std::int64_t k) const;

    /// P(n), n = 0 ... M.
    [[nodiscard]] std::vector<double> probabilities(std::int64_t k) const;

    /// The same of all tiles. @return (tiles, M + 1)
    [[nodiscard]] const at::Tensor& count_probabilities() const { return probabilities_; }

    /// Parts of a slot; their weights sum to 1.
    [[nodiscard]] std::vector<TilePart> parts(std::int64_t k, const TileIndex& tile, std::int64_t n, std::int64_t m) const;

    /// Slot m of count n as a claim of this probability.
    [[nodiscard]] Candidate claim(std::int64_t k, const TileIndex& tile, std::int64_t n, std::int64_t m, double p_source) const;

    /// The sources that a tile claims, by its likely count: slot m with the probability that there are more than m.
    [[nodiscard]] std::vector<Candidate> claims(std::int64_t k, const TileIndex& tile) const;

private:
    encoder::TilePosterior q_;
    at::Tensor probabilities_;   ///< (tiles, M + 1)
    std::int64_t tile_px_;
};

/// Whether the places that two claims give agree within their errors.
[[nodiscard]] bool same_source(const Candidate& a, const Candidate& b, std::int64_t tile_px);

/// Adds what another tile says of the same source. @param share probability that none of the tiles before it holds the source
void absorb(Candidate& into, const Candidate& other, double share);

/// The candidate with its marginals.
[[nodiscard]] Source summarize(const Candidate& candidate, std::int64_t tile_px);

}  // namespace bliss::inference
