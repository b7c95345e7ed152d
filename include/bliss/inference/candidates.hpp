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
    double p_apart = 0;                  ///< sum of its tiles' probabilities, each taken to the survey's rate by itself
    double x_px = 0, y_px = 0;           ///< posterior mean
    double x_variance = 0, y_variance = 0;
    double ln_flux_mean = 0, ln_flux_variance = 0;   ///< of ln(flux / electron)
    bool merged = false;                 ///< joined from several tiles
    bool multiple = false;               ///< its tile's most probable count is above 1
};

/// What the tiles of one frame say.
struct Detections {
    std::vector<Candidate> candidates;   ///< in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< posterior mean count of the frame, at the survey's rate
};

/// Moves a probability that there is a source to another source rate: the odds change by `rate_ratio`, the survey's rate
/// against the trained one. @source Bayes' rule; the prior odds of a source are proportional to the rate.
[[nodiscard]] double retarget(double p_source, double rate_ratio);

/// The whole way from tile posteriors to the sources of a frame: candidates, joined over borders, at the survey's rate, of at
/// least `floor`. Joining comes first: that a source lies in one tile *or* the other does not depend on the rate.
[[nodiscard]] Detections find_sources(const encoder::TilePosterior& posterior, double rate_ratio, double floor);

/// Slots of all tiles whose probability is at least `floor`, as candidates with their moments, at the trained rate. Tiles are
/// not yet joined. The expected count is that of the tiles by themselves.
[[nodiscard]] Detections list_candidates(const encoder::TilePosterior& posterior, double rate_ratio, double floor);

/// Joins what neighbouring tiles say of one source. A source on a border is seen by two to four tiles, each with the
/// probability that its centre lies on its side: these events exclude one another, so their probabilities add, and the
/// joint posterior is the mixture. Candidates of neighbouring tiles are joined where their locations agree within their
/// errors and their probabilities together do not exceed one source by much; two sources that are both certain stay two.
/// @return candidates of at least `floor`, in the order of tile rows, columns, slots
[[nodiscard]] std::vector<Candidate> join_across_borders(const std::vector<Candidate>& candidates, double floor);

}  // namespace bliss::inference
