#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/simulator/prior.hpp"

#include <span>

namespace bliss::inference {

/// The prior of one field: of sources above the model's label limit.
struct FieldPrior {
    double sources_per_tile = 0;   ///< per 4x4-pixel tile
    double star_fraction = 0;      ///< share of stars among them
    double star_alpha = 0;         ///< Pareto exponents of their fluxes
    double galaxy_alpha = 0;
};

/// The training's prior as one of sources above the label limit.
[[nodiscard]] FieldPrior prior_above_limit(const simulator::PriorConfig& trained, double sources_per_tile);

/// ln of the share of a truncated Pareto's density at ln flux, per unit of ln flux, between the label limit and flux_max_e.
[[nodiscard]] at::Tensor log_flux_density(const at::Tensor& ln_flux, double alpha, double ln_low, double ln_high);

/// Moves posteriors from the prior that the networks assume to another, by Bayes' rule: densities are multiplied by the ratio of the
/// priors. A set of n sources changes by the ratio of rates to the power n, and each source by the ratio of its flux's densities; its
/// type by that of the types at its flux.
///
/// Exact for the source rate of a tile by itself. Fluxes are moved before the type is asked for, by the ratio of both types together: exact
/// where the image does not tell the type, as for faint sources; the count of sources that are surely of one type moves too little.
/// Within a chain of tiles each is moved given its neighbours.
class PriorShift {
public:
    /// @param told what the networks assume: the training's, with the source rate they were told
    PriorShift(const simulator::PriorConfig& trained, const FieldPrior& told, const FieldPrior& wanted);

    /// Whether anything moves.
    [[nodiscard]] bool active() const { return rate_ratio_ != 1 || reshapes_; }

    /// Counts, fluxes and shares of parts under the other prior. A part's flux is multiplied by the power law that the ratio of
    /// densities is at its mean.
    [[nodiscard]] encoder::TilePosterior applied(const encoder::TilePosterior& q) const;

    /// P(star) under the other prior, of a source of this flux. @param p_star in [0, 1]
    [[nodiscard]] double star(double p_star, double ln_flux_e) const;

    /// Largest factor, up or down, that the density of stars or galaxies changes by at any flux but the rarest: far from 1 the answer
    /// leans on what the networks learnt of rare sources.
    [[nodiscard]] double largest_factor() const;

private:
    /// ln of the ratio of flux densities, all types together.
    [[nodiscard]] at::Tensor log_ratio(const at::Tensor& ln_flux) const;
    [[nodiscard]] at::Tensor log_density(const FieldPrior& prior, const at::Tensor& ln_flux) const;

    FieldPrior told_, wanted_;
    double rate_ratio_;
    bool reshapes_;   ///< types or fluxes change
    double ln_low_, ln_high_;
};

/// One source's weight in an estimate of the prior.
struct WeighedSource {
    double p_source = 0;
    double p_star = 0;
    double ln_flux_e = 0;   ///< posterior mean
};

/// The prior under which these posterior sources are most probable, given their posteriors (one step of expectation maximisation).
/// @param expected posterior mean count, all candidates together @param tiles 4x4-pixel tiles that see anything of the image
/// @param present the prior the sources were found under: kept where they say too little
[[nodiscard]] FieldPrior estimated_prior(std::span<const WeighedSource> sources, double expected, double tiles,
                                         const simulator::PriorConfig& trained, const FieldPrior& present);

/// The exponent of a Pareto truncated to [low, high] under which values of this mean logarithm are most probable.
/// @param mean_ln mean of ln(flux / low) @param ln_span ln(high / low)
[[nodiscard]] double pareto_exponent(double mean_ln, double ln_span);

}  // namespace bliss::inference
