#pragma once

#include "bliss/core/ids.hpp"
#include "bliss/encoder/detection.hpp"

#include <cstdint>
#include <vector>

namespace bliss::inference {

/// One possible source of a frame with its marginal posterior.
struct Candidate {
    TileIndex tile;
    std::int32_t slot = 0;
    double p_source = 0;
    double x_px = 0, y_px = 0;           ///< posterior mean
    double x_variance = 0, y_variance = 0;
    double ln_flux_mean = 0, ln_flux_variance = 0;   ///< of ln(flux / electron)
    bool merged = false;                 ///< joined from several tiles
    bool multiple = false;               ///< its tile's most probable count is above 1
};

/// What the tiles of one frame say.
struct Detections {
    std::vector<Candidate> candidates;   ///< in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< sum over tiles of the posterior mean count
};

/// Slots of all tiles whose probability is at least `floor`, as candidates with their moments. Tiles are not yet joined.
[[nodiscard]] Detections list_candidates(const encoder::TilePosterior& posterior, double floor);

/// Joins what neighbouring tiles say of one source. A source on a border is seen by two to four tiles, each with the
/// probability that its centre lies on its side: these events exclude one another, so their probabilities add, and the
/// joint posterior is the mixture. Candidates of neighbouring tiles are joined where their locations agree within their
/// errors and their probabilities together do not exceed one source by much; two sources that are both certain stay two.
/// @return candidates of at least `floor`, in the order of tile rows, columns, slots
[[nodiscard]] std::vector<Candidate> join_across_borders(const std::vector<Candidate>& candidates, double floor);

}  // namespace bliss::inference
