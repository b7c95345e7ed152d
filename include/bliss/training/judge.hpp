#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/encoder/model.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace bliss::training {

/// Bins of rank histograms and of reliability.
inline constexpr std::size_t k_rank_bins = 20;
inline constexpr std::size_t k_reliability_bins = 10;

/// How often what was said with a probability came true.
struct Reliability {
    struct Bin {
        double count = 0, said = 0, true_count = 0;   ///< said: sum of the probabilities
    };
    std::array<Bin, k_reliability_bins> bins;

    void add(double p, bool came_true);
    /// Expected calibration error: mean over bins of |said - true share|, weighted by counts; NaN when empty.
    [[nodiscard]] double error() const;
};

/// Where true values lie in their posteriors: the share of the posterior below each, uniform on (0, 1) when the posterior is
/// calibrated. @source Talts et al. 2018, "Validating Bayesian inference algorithms with simulation-based calibration".
struct RankHistogram {
    std::array<double, k_rank_bins> counts{};

    void add(double share_below);
    [[nodiscard]] double total() const;
    /// Share of the true values within the central interval of this probability, which must end between bins.
    [[nodiscard]] double coverage(double probability) const;
    /// p-value of the chi-square test of flatness.
    [[nodiscard]] double p_value() const;
};

/// Parameters of a source whose ranks are taken.
enum class Parameter { x, y, ln_flux, half_light_radius, e1, e2, axis_ratio };
inline constexpr std::array<const char*, 7> k_parameter_names{"x", "y", "ln flux", "half-light radius", "e1", "e2", "axis ratio"};

/// Calibration of some of the sources.
struct SourceCalibration {
    std::array<RankHistogram, k_parameter_names.size()> ranks;
    Reliability star;
    double sources = 0;
};

/// What a model's posteriors are worth on images it has not seen, drawn from its training prior: the joint posterior's factors, each
/// given the true values of what comes before it (tiles of earlier turns, then count, place, flux, type).
struct Judgement {
    double tiles = 0;
    Reliability any_source;          ///< P(n >= 1) of tiles that say at least 5 %
    Reliability any_source_alone;    ///< the same where tiles are told nothing of their neighbours
    double nll = 0;                  ///< -ln q of counts, places and fluxes, nats a tile
    double nll_alone = 0;            ///< the same of independent tiles
    double expected = 0, found = 0;  ///< sources: posterior mean count, true count
    SourceCalibration all;           ///< all sources; places and fluxes of those alone in their tile
    SourceCalibration blended;       ///< those with another labelled source within 2 FWHM of the PSF
};

/// Judges a model on `tiles` simulated tiles, shared over the ranks. @throws DataError when the model does not hold its training's
/// configuration. @collective
[[nodiscard]] Judgement judge(const encoder::Model& model, std::int64_t tiles, std::uint64_t seed, const comm::Communicator& comm);

/// A table for people; and JSON.
[[nodiscard]] std::string to_text(const Judgement& judgement);
[[nodiscard]] std::string to_json(const Judgement& judgement);

}  // namespace bliss::training
