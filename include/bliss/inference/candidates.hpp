#pragma once

#include "bliss/core/ids.hpp"
#include "bliss/encoder/detection.hpp"

#include <cstdint>
#include <vector>

namespace bliss::inference {

/// One part of what a tile says of a source, and so of the source's posterior. Locations in tiles, the flux as ln(flux / electron).
struct TilePart {
    TileIndex tile;
    double weight = 0;                   ///< the tile's probability times the part's share
    double u_mean = 0, u_sd = 1;         ///< Normals truncated to the tile, in tiles
    double v_mean = 0, v_sd = 1;
    double ln_flux_mean = 0, ln_flux_sd = 1;
};

/// Mean and standard deviation.
struct Moments {
    double mean = 0;
    double sd = 1;
};

/// What tiles say may be one source: a single tile's claim, or several joined.
struct Candidate {
    TileIndex tile;                      ///< the most probable one
    std::int32_t slot = 0;
    double p_source = 0;                 ///< sum over its parts
    double p_apart = 0;                  ///< the same with each part taken to the survey's rate by itself
    Moments x_px, y_px;                  ///< of the most probable tile's claim, which joining compares
    std::vector<TilePart> parts;         ///< of all its tiles
    std::int32_t tiles = 1;
    bool multiple = false;               ///< a tile's most probable count is above 1
};

/// What the tiles of one frame say.
struct Detections {
    std::vector<Candidate> candidates;   ///< in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< posterior mean count of the tiles, at the survey's rate
};

/// A marginal posterior in short. For a Normal, `error` is its standard deviation; unlike moments these numbers are not thrown
/// off by a neighbouring tile's faint claim on a source that is all but certainly elsewhere.
struct Marginal {
    double median = 0;
    double error = 0;   ///< half the central 68.3 % interval
    double low = 0;     ///< 5 % quantile
    double high = 0;    ///< 95 % quantile
};

/// One possible source of a frame with its marginal posterior, the mixture of its tiles' parts.
struct Source {
    TileIndex tile;                      ///< the most probable one
    std::int32_t slot = 0;
    double p_source = 0;
    Marginal x_px, y_px;
    Marginal ln_flux_e;                  ///< ln(flux / electron)
    bool merged = false;                 ///< joined from several tiles
    bool multiple = false;               ///< a tile's most probable count is above 1
};

struct FieldSources {
    std::vector<Source> sources;         ///< in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< posterior mean count of the frame, at the survey's rate
};

/// Moves a probability that there is a source to another source rate: the odds change by `rate_ratio`, the survey's rate
/// against the trained one. @source Bayes' rule; the prior odds of a source are proportional to the rate.
[[nodiscard]] double retarget(double p_source, double rate_ratio);

/// The whole way from tile posteriors to the sources of a frame: candidates, joined over borders, at the survey's rate, of at
/// least `floor`. Joining comes first: that a source lies in one tile *or* the other does not depend on the rate.
[[nodiscard]] FieldSources find_sources(const encoder::TilePosterior& posterior, double rate_ratio, double floor);

/// Slots of all tiles whose probability is at least `floor`, as candidates with their moments, at the trained rate. Tiles are
/// not yet joined. The expected count is that of the tiles by themselves.
[[nodiscard]] Detections list_candidates(const encoder::TilePosterior& posterior, double rate_ratio, double floor);

/// Joins what neighbouring tiles say of one source. A source on a border is seen by two to four tiles, each with the
/// probability that its centre lies on its side: these events exclude one another, so their probabilities add, and the
/// joint posterior is the mixture. Candidates of neighbouring tiles are joined where their locations agree within their
/// errors, the more probable one could itself lie in the other's tile, and their probabilities together do not exceed one source
/// by much; two sources that are both certain stay two, unless they lie within 0.4 px of each other.
/// @return candidates of at least `floor`, in the order of tile rows, columns, slots
[[nodiscard]] std::vector<Candidate> join_across_borders(const std::vector<Candidate>& candidates, double floor);

/// The candidate with its marginals, at the rate it was found at.
[[nodiscard]] Source summarize(const Candidate& candidate);

}  // namespace bliss::inference
