#pragma once

#include "bliss/inference/config.hpp"
#include "bliss/inference/samples.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/stars/star_sampler.hpp"
#include "bliss/survey/frame.hpp"

#include <vector>

namespace bliss::inference {

/// A crowded field of stars, drawn from the likelihood itself.
struct StarField {
    std::vector<Source> sources;         ///< what the draws have in common, in the order of tile rows, columns, slots
    double expected_sources = 0;         ///< mean count above the label limit, on the frame
    std::vector<std::vector<stars::Star>> draws;   ///< stars of all fluxes of the prior
    Image<float> diffuse_e;              ///< posterior mean of the light that is neither background nor stars
    FieldPrior prior;                    ///< of stars above the label limit: the one given, or the mean of what was drawn
};

/// Begins with the sources that a network found. Density and exponent are drawn with the stars where the configuration leaves them open,
/// or asks for an estimate. @throws DataError where a density above one star a pixel is given.
/// @param prior what the configuration asks for, else the training's @param tile_px side of the network's tiles, which name sources
[[nodiscard]] StarField draw_star_field(const survey::Frame& frame, const std::vector<Source>& found, const FieldPrior& prior,
                                        const simulator::PriorConfig& trained, const CatalogConfig& config, const DrawKey& key,
                                        std::int64_t tile_px);

/// Whether a source of a star field may be brighter than the prior's brightest star: the draws, which hold none brighter, put it at the
/// end.
[[nodiscard]] bool at_end_of_prior(const Source& source, const simulator::PriorConfig& trained);

/// What draws have in common: stars of different draws that stand at one place, with about the same flux, become one source. Its p_source
/// is the share of draws that hold it, its marginals are those of its stars. Greedily, nearest first, draw by draw.
/// @param floor least p_source of what is returned; what fewer than three draws hold is left out, too
/// @source Portillo et al. 2017, "Improved point-source detection in crowded fields using probabilistic cataloging" (condensed catalogue).
[[nodiscard]] std::vector<Source> condense(const std::vector<std::vector<stars::Star>>& draws, std::int64_t tile_px, double floor);

/// The draws of /samples: `samples` of them, evenly spaced; stars above the label limit, on the frame.
[[nodiscard]] std::vector<std::vector<SampledSource>> samples_of(const StarField& field, const survey::Frame& frame, std::int64_t samples,
                                                                 double ln_flux_low, std::int64_t tile_px);

}  // namespace bliss::inference
